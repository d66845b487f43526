//! A key and its state.

use serde_json::Value;
use watershed_runtime::remote::AnyValue;
use watershed_state::KeyedEntry;

use crate::snapshot::{SnapshotError, decoded};

/// A key and its state, as they are encoded. Entries are in the order in which they are read.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) group: u16,
    pub(super) key: Vec<u8>,
    pub(super) state: Vec<u8>,
}

impl From<KeyedEntry<'_>> for Entry {
    fn from(KeyedEntry { group, key, state }: KeyedEntry<'_>) -> Self {
        Self { group, key: key.to_vec(), state: state.to_vec() }
    }
}

/// The key of an operator, as JSON.
pub(super) fn key_of(operator: &str, key: &[u8]) -> Result<Value, SnapshotError> {
    decoded(key, "a key", operator).map(|AnyValue(value)| value)
}

/// The state of a key of an operator, as JSON.
pub(super) fn state_of(operator: &str, state: &[u8]) -> Result<Value, SnapshotError> {
    decoded(state, "a state", operator).map(|AnyValue(value)| value)
}
