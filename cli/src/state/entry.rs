//! A key and its state, or what it has in a collection.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use watershed_runtime::remote::AnyValue;
use watershed_state::{CollectionEntry, CollectionKind, CollectionName, KeyedEntry, OperatorPart};

use crate::error::Error;
use crate::snapshot::{Snapshot, SnapshotError, decoded};

/// What a key has, as it is encoded. Entries are in the order in which they are read: the states first, then
/// collections.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) group: u16,
    pub(super) key: Vec<u8>,
    pub(super) value: Stored,
}

/// A state, or a collection.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stored {
    State(Vec<u8>),
    /// Its number, and the items of each of its pages.
    Collection(u32, Vec<Vec<u8>>),
}

/// The collections of an operator by their numbers.
pub(super) type Names = BTreeMap<u32, CollectionName>;

impl From<KeyedEntry<'_>> for Entry {
    fn from(KeyedEntry { group, key, state, .. }: KeyedEntry<'_>) -> Self {
        Self { group, key: key.to_vec(), value: Stored::State(state.to_vec()) }
    }
}

impl Entry {
    /// What it is of: entries of the same key and collection are compared.
    pub(super) fn place(&self) -> (u16, &[u8], Option<u32>) {
        let collection = match self.value {
            Stored::State(_) => None,
            Stored::Collection(id, _) => Some(id),
        };
        (self.group, &self.key, collection)
    }

    /// Group, key and, if it is one, collection, as JSON.
    pub(super) fn head(&self, operator: &str, names: &Names) -> Result<Map<String, Value>, SnapshotError> {
        let key = decoded(&self.key, "a key", operator).map(|AnyValue(key)| key)?;
        let mut head = Map::from_iter([("group".to_string(), json!(self.group)), ("key".to_string(), key)]);
        if let Stored::Collection(id, _) = self.value {
            let name = names.get(&id).map_or_else(|| json!(id), |name| json!(name.name));
            head.insert("collection".to_string(), name);
        }
        Ok(head)
    }

    /// What is in it, with its name: a state, a value, items or entries.
    pub(super) fn content(
        &self,
        operator: &str,
        names: &Names,
    ) -> Result<(&'static str, Value), SnapshotError> {
        let (id, pages) = match &self.value {
            Stored::State(state) => {
                return decoded(state, "a state", operator).map(|AnyValue(state)| ("state", state));
            }
            Stored::Collection(id, pages) => (id, pages),
        };
        let mut items = Vec::new();
        for page in pages {
            let AnyValue(more) = decoded(page, "a collection", operator)?;
            items.extend(if let Value::Array(more) = more { more } else { vec![more] });
        }
        Ok(match names.get(id).map(|name| name.kind) {
            Some(CollectionKind::Value) => ("value", items.into_iter().next().unwrap_or(Value::Null)),
            Some(CollectionKind::Map) => {
                // Where an entry lies depends on what was done with the map, and is nothing of its content.
                items.sort_by_cached_key(Value::to_string);
                ("entries", items.into())
            }
            _ => ("items", items.into()),
        })
    }
}

/// Shows all states of an operator and then all that its keys have in collections, until `visit` fails or has had
/// enough.
pub(super) fn all(
    snapshot: &Snapshot,
    operator: &OperatorPart,
    mut visit: impl FnMut(Entry) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut goes_on = true;
    snapshot.keyed_state(operator, |entry| {
        goes_on = visit(entry.into())?;
        Ok(goes_on)
    })?;
    if !goes_on {
        return Ok(());
    }
    let mut gathered: Option<Entry> = None;
    snapshot.collections(operator, |CollectionEntry { group, key, collection, items, .. }| {
        match &mut gathered {
            Some(Entry { group: at, key: of, value: Stored::Collection(id, pages) })
                if (*at, of.as_slice(), *id) == (group, key, collection) =>
            {
                pages.push(items.to_vec());
            }
            _ => {
                let value = Stored::Collection(collection, vec![items.to_vec()]);
                let before = gathered.replace(Entry { group, key: key.to_vec(), value });
                goes_on = before.map_or(Ok(true), &mut visit)?;
            }
        }
        Ok(goes_on)
    })?;
    if goes_on && let Some(last) = gathered {
        visit(last)?;
    }
    Ok(())
}
