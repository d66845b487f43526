//! How values become bytes: `MessagePack` with field names.
//!
//! A struct may gain fields that have `#[serde(default)]`, lose fields and reorder them, and an enum may gain
//! variants and reorder them, and what was written before still loads. The price is the names in the bytes.
//!
//! Three things serde can express don't survive: `Some(None)` of a nested option and `Some(())` come back as
//! `None`, and values nested more than a thousand levels deep can't be written.

#[cfg(test)]
mod tests;

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::CodecError;

/// Appends the encoding of `value` to `out`.
///
/// # Errors
/// If the type's `Serialize` refuses; `out` is then as it was.
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let written = value.serialize(&mut rmp_serde::Serializer::new(&mut *out).with_struct_map());
    written.map_err(|source| {
        out.truncate(start);
        CodecError::Encode { type_name: type_name::<T>(), source }
    })
}

/// Reads one value from the front of `input` and advances `input` past it.
///
/// # Errors
/// If the bytes are no encoding of a `T`; `input` is then somewhere inside the value.
pub fn decode<T: DeserializeOwned>(input: &mut &[u8]) -> Result<T, CodecError> {
    T::deserialize(&mut rmp_serde::Deserializer::new(input))
        .map_err(|source| CodecError::Decode { type_name: type_name::<T>(), source })
}
