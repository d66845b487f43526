//! How deep an encoded value is nested.

use super::read::Reader;
use crate::CodecError;

/// What is nested deeper is not shown as JSON, as those who read that have limits of their own.
pub const SHOWN_LEVELS: usize = 100;

/// How many levels are nested in one another in the first value of `bytes`: 0 if it has no parts. It takes no stack,
/// however many those are.
///
/// # Errors
/// If the bytes are no encoding.
pub fn levels(bytes: &[u8]) -> Result<usize, CodecError> {
    let mut reader = Reader::bare(bytes);
    // For each level that is open, how many values of it are left.
    let mut open = vec![1_u64];
    let mut deepest = 0;
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        let parts =
            reader.skip_head().map_err(|source| CodecError::Decode { type_name: "any value", source })?;
        if parts > 0 {
            open.push(parts);
            deepest = deepest.max(open.len() - 1);
        }
    }
    Ok(deepest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;

    fn levels_of<T: serde::Serialize>(value: &T) -> usize {
        let mut bytes = Vec::new();
        encode(value, &mut bytes).unwrap();
        levels(&bytes).unwrap()
    }

    #[test]
    fn levels_are_counted_where_there_are_most() {
        assert_eq!(levels_of(&7), 0);
        assert_eq!(levels_of(&Vec::<u8>::new()), 0);
        assert_eq!(levels_of(&(1, [2, 3])), 2);
        assert_eq!(levels_of(&([[1]], [[[2]]], 5)), 4);
        assert!(levels(&[0x91].repeat(1_000_000)).is_err());
        assert_eq!(levels(&[vec![0x91; 1_000_000], vec![1]].concat()).unwrap(), 1_000_000);
    }
}
