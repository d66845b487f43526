//! How values become bytes: `MessagePack` with field names.
//!
//! A struct may gain fields that have `#[serde(default)]`, lose fields and reorder them, and an enum may gain
//! variants and reorder them, and what was written before still loads. The price is the names in the bytes.
//!
//! What `MessagePack` cannot tell apart the [`mark`]s do, each two bytes that no value of it begins with:
//!
//! - `c1 68` (`h`) before a value: its `Serialize` asked whether the format is for people, and was told that it is. So
//!   such types (addresses, UUIDs, times) are text, as they are in JSON, and as serde reads them below `untagged`, `tag
//!   = …` and `flatten`. Where nobody has asked there is no mark, nor is there one before what older versions have
//!   written, which said that it is not: who asks when such a value is read is told that, too. So each value says
//!   itself how it is to be read, wherever it comes from: a part file, a database that was copied, a dead letter.
//! - `c1 73` (`s`) before what is in a `Some` and begins as `None` does: `Some(None)`, `Some(())` and whatever nests
//!   more of them.
//!
//! Values nested more than [`MAX_DEPTH`] levels deep are refused when they are written. What a `Serialize` writes and
//! its `Deserialize` cannot read is found by [`read_back`], which those who write snapshots call for the first values
//! and for some of the later ones. 128-bit integers below `untagged`, `tag = …` and `flatten` are of that kind: serde's
//! buffer for those has none.

mod levels;
mod mark;
mod read;
mod same;
mod sample;
mod stack;
#[cfg(test)]
mod tests;
mod write;

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use levels::{SHOWN_LEVELS, levels};
pub(crate) use mark::RESERVED;
pub use sample::Sampler;

use crate::bug::{self, Bug};
use crate::{CodecError, Data};

/// So many levels may be nested in one another: structs, sequences, maps, and variants of enums that hold something.
pub const MAX_DEPTH: u16 = 1024;

/// Appends the encoding of `value` to `out`.
///
/// # Errors
/// If the type's `Serialize` refuses, or the value is nested more than [`MAX_DEPTH`] levels deep; `out` is then as it
/// was.
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let mut writer = write::Writer::new(out);
    match value.serialize(&mut writer) {
        Ok(()) => {
            if writer.was_asked() {
                mark::insert(mark::FOR_PEOPLE, start, out);
            }
            Ok(())
        }
        Err(source) => {
            out.truncate(start);
            Err(CodecError::Encode { type_name: type_name::<T>(), source })
        }
    }
}

/// Reads one value from the front of `input` and advances `input` past it.
///
/// # Errors
/// If the bytes are no encoding of a `T`; `input` is then somewhere inside the value.
pub fn decode<T: DeserializeOwned>(input: &mut &[u8]) -> Result<T, CodecError> {
    let mut reader = read::Reader::new(input);
    let read = T::deserialize(&mut reader);
    *input = reader.rest();
    read.map_err(|source| CodecError::Decode { type_name: type_name::<T>(), source })
}

/// Checks that `bytes`, which [`encode`] has made of `value`, can be read back, and are this value then: encoded again
/// it is the same, up to the order of what is in maps and sequences, which a set or map of the standard library
/// changes.
///
/// # Errors
/// If it cannot, or is not.
pub fn read_back<T: Data>(value: &T, bytes: &[u8]) -> Result<(), CodecError> {
    read_back_with(value, bytes, decode, encode)
}

/// As [`encode`], with what [`read_back`] checks for the values that are due by `sampler`.
///
/// # Errors
/// As these two. `out` is then as it was.
pub fn encode_for_keeps<T: Data>(
    value: &T,
    out: &mut Vec<u8>,
    sampler: &mut Sampler,
) -> Result<(), CodecError> {
    let start = out.len();
    encode(value, out)?;
    if sampler.is_due() && !bug::is(Bug::UnreadableStateSaved) {
        if let Err(error) = read_back(value, &out[start..]) {
            out.truncate(start);
            sampler.failed();
            return Err(error);
        }
        sampler.passed();
    }
    Ok(())
}

/// As [`read_back`], for what is read and written in this way.
pub(crate) fn read_back_with<T>(
    value: &T,
    bytes: &[u8],
    read: impl Fn(&mut &[u8]) -> Result<T, CodecError>,
    write: impl Fn(&T, &mut Vec<u8>) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let again = fully(bytes, read)?;
    let mut rewritten = Vec::with_capacity(bytes.len());
    write(&again, &mut rewritten)?;
    if same::are_the_same(bytes, &rewritten) {
        return Ok(());
    }
    // What is written as the time that has passed, say, is never the same twice: then there is nothing to compare with.
    rewritten.clear();
    write(value, &mut rewritten)?;
    if same::are_the_same(bytes, &rewritten) {
        Err(CodecError::Changed { type_name: type_name::<T>() })
    } else {
        Ok(())
    }
}

/// Reads all of `bytes`, which were written by this process.
pub(crate) fn fully<T>(
    bytes: &[u8],
    read: impl Fn(&mut &[u8]) -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    let mut input = bytes;
    match read(&mut input) {
        Ok(value) if input.is_empty() => Ok(value),
        Ok(_) => Err(CodecError::Changed { type_name: type_name::<T>() }),
        Err(CodecError::Decode { type_name, source }) => Err(CodecError::Unreadable { type_name, source }),
        Err(other) => Err(other),
    }
}
