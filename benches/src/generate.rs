//! The records that every engine is given: functions of their number alone.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Key of record `i`, one of `KEYS`. A constant, so that the remainder costs a multiplication and no division.
#[inline]
pub const fn key<const KEYS: u64>(i: u64) -> u64 {
    mix(i) % KEYS
}

/// Value of record `i`.
#[inline]
pub const fn value(i: u64) -> u64 {
    i % 1000
}

/// splitmix64 (Steele, Lea, Flood 2014).
#[inline]
pub const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Words of the text, unless it is to have fewer.
pub const WORDS: u64 = 20_000_000;

/// Writes a text of so many words, ten a line. How often a word comes follows Zipf's law.
///
/// # Errors
/// What keeps the file from being written.
pub fn write_words(file: &Path, words: u64) -> io::Result<()> {
    let mut text = BufWriter::with_capacity(1 << 20, File::create(file)?);
    for j in 0..words {
        let end = if j % 10 == 9 || j + 1 == words { '\n' } else { ' ' };
        write!(text, "w{}{end}", rank(j))?;
    }
    text.flush()
}

/// Rank of word `j` in a vocabulary of 100,000: the n-th word comes 1/n as often as the first.
fn rank(j: u64) -> u64 {
    let uniform = mix(j) as f64 / 2_f64.powi(64);
    (uniform * 100_001_f64.ln()).exp().floor() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mix_begins_as_published() {
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF);
    }

    #[test]
    fn a_text_has_ten_words_a_line_and_ends_with_a_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("words.txt");
        write_words(&file, 25).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let words: Vec<usize> = text.lines().map(|line| line.split(' ').count()).collect();
        assert_eq!((words, text.ends_with('\n')), (vec![10, 10, 5], true));
    }
}
