//! W4: counts the words of a text.

use compact_str::CompactString;
use watershed::prelude::*;

use crate::rows::{Measured, Setup};
use crate::tally::Total;

/// Small pieces, so that all instances have the same share of the text.
const SPLIT_BYTES: u64 = 4 << 20;

/// Lines of a file → words → by word → running count → sink.
pub(crate) fn w4(setup: Setup) -> watershed::Result<Measured> {
    let (topology, total, words) = (Topology::new("w4"), Total::default(), Total::default());
    let (sink, seen) = (total.clone(), words.clone());
    topology
        .source("lines", Lines::from_file(setup.words).split_bytes(SPLIT_BYTES))
        .flat_map(Words::of)
        .key_by(CompactString::clone)
        .actor("count", Count)
        .for_each_instance(move |_| {
            let (mut share, mut seen) = (sink.share(), seen.share());
            move |(_, count)| {
                share.add(count);
                seen.add(1);
            }
        });
    let outcome = topology.run(setup.config)?;
    Ok(Measured::new(words.get(), total.get(), &outcome))
}

/// The words of a line, made as they are asked for. Words this short need no memory of their own.
struct Words {
    line: String,
    at: usize,
}

impl Words {
    fn of(line: String) -> Self {
        Self { line, at: 0 }
    }
}

impl Iterator for Words {
    type Item = CompactString;

    fn next(&mut self) -> Option<CompactString> {
        let is_space = |byte: &u8| byte.is_ascii_whitespace();
        let rest = &self.line.as_bytes()[self.at..];
        let start = self.at + rest.iter().position(|byte| !is_space(byte))?;
        let length = self.line.as_bytes()[start..].iter().position(is_space);
        let end = length.map_or(self.line.len(), |length| start + length);
        self.at = end;
        Some(CompactString::from(&self.line[start..end]))
    }
}

/// How often each word has come so far.
struct Count;

impl Process for Count {
    type Key = CompactString;
    type In = CompactString;
    type Out = (CompactString, u64);
    type State = u64;

    fn on_record(&self, word: CompactString, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.emit((word, *count));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_stands_between_white_space() {
        let words: Vec<_> = Words::of(" one\ttwo  three ".to_string()).collect();
        assert_eq!(words, ["one", "two", "three"]);
        assert_eq!(Words::of(String::new()).next(), None);
    }
}
