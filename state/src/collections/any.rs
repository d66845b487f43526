//! What maps, lists and values have in common for those who read and write snapshots.

use super::{CollectionKind, CollectionName, Collections, Declared, ListState, MapState, ValueState};
use crate::{Data, Key};

/// A declared collection: [`MapState`], [`ListState`] or [`ValueState`].
pub trait Collection {
    /// What is in it: pairs, items, or one value.
    type Item: Data;

    /// Its name, as snapshots remember it.
    fn declared_name(&self) -> CollectionName;

    /// Adds items to what a key, with this hash, has.
    fn add<Of: Key>(
        &self,
        collections: &mut Collections<Of>,
        of: (&Of, u64),
        now_ms: impl FnOnce() -> i64,
        items: impl IntoIterator<Item = Self::Item>,
    );
}

fn name_of(declared: &Declared, kind: CollectionKind) -> CollectionName {
    CollectionName { id: declared.id, name: declared.name.clone(), kind }
}

impl<K: Key, V: Data> Collection for MapState<K, V> {
    type Item = (K, V);

    fn declared_name(&self) -> CollectionName {
        name_of(&self.declared, CollectionKind::Map)
    }

    fn add<Of: Key>(
        &self,
        collections: &mut Collections<Of>,
        (key, hash): (&Of, u64),
        now_ms: impl FnOnce() -> i64,
        items: impl IntoIterator<Item = (K, V)>,
    ) {
        let mut map = self.open(collections, key, hash, now_ms);
        for (key, value) in items {
            map.insert(key, value);
        }
    }
}

impl<T: Data> Collection for ListState<T> {
    type Item = T;

    fn declared_name(&self) -> CollectionName {
        name_of(&self.declared, CollectionKind::List)
    }

    fn add<Of: Key>(
        &self,
        collections: &mut Collections<Of>,
        (key, hash): (&Of, u64),
        now_ms: impl FnOnce() -> i64,
        items: impl IntoIterator<Item = T>,
    ) {
        self.open(collections, key, hash, now_ms).extend(items);
    }
}

impl<T: Data> Collection for ValueState<T> {
    type Item = T;

    fn declared_name(&self) -> CollectionName {
        name_of(&self.declared, CollectionKind::Value)
    }

    fn add<Of: Key>(
        &self,
        collections: &mut Collections<Of>,
        (key, hash): (&Of, u64),
        now_ms: impl FnOnce() -> i64,
        items: impl IntoIterator<Item = T>,
    ) {
        let mut value = self.open(collections, key, hash, now_ms);
        items.into_iter().for_each(|item| value.set(item));
    }
}
