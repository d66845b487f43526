//! Snapshots without a running job: reading what operators remember, and writing savepoints to start from.

mod databases;
mod operator;
mod parts;
mod reader;
mod states;
#[cfg(test)]
mod tests;
mod transform;
mod writer;

pub use operator::OperatorWriter;
pub use reader::{SavedOperator, SavedTimer, SavepointReader, SplitPosition};
pub use states::KeyedStates;
pub use writer::SavepointWriter;

use std::any::type_name;

use serde::de::DeserializeOwned;
use watershed_actors::chain_of;
use watershed_state::{CodecError, Key, KeyGroups, KeyedEntry, StoreError, decode, hash_key};

use crate::error::Error;

/// A file of an operator's state cannot be read or written.
fn store_error(operator: &str, error: &StoreError) -> Error {
    Error::state(format!("`{operator}`: {}", chain_of(error)))
}

/// A key, state or timer of an operator cannot be decoded or encoded.
fn codec_error(operator: &str, what: &str, error: &CodecError) -> Error {
    Error::state(format!("{what} of `{operator}`: {}", chain_of(error)))
}

/// Decodes all of the bytes.
fn decoded<T: DeserializeOwned>(operator: &str, what: &str, mut bytes: &[u8]) -> Result<T, Error> {
    let value = decode(&mut bytes).and_then(|value| match bytes.len() {
        0 => Ok(value),
        bytes => Err(CodecError::Trailing { bytes }),
    });
    value.map_err(|error| codec_error(operator, what, &error))
}

/// Decodes a key that was stored in this group.
fn decoded_key<K: Key>(operator: &str, groups: KeyGroups, group: u16, bytes: &[u8]) -> Result<K, Error> {
    let key: K = decoded(operator, "a key", bytes)?;
    match groups.group_of(hash_key(&key)) {
        found if found == group => Ok(key),
        found => {
            let error = CodecError::WrongGroup { type_name: type_name::<K>(), expected: group, found };
            Err(codec_error(operator, "a key", &error))
        }
    }
}

/// Decodes a key and its state.
fn decoded_entry<K: Key, S: DeserializeOwned>(
    operator: &str,
    groups: KeyGroups,
    entry: KeyedEntry<'_>,
) -> Result<(K, S), Error> {
    let key = decoded_key(operator, groups, entry.group, entry.key)?;
    Ok((key, decoded(operator, "a state", entry.state)?))
}
