//! Keyed state: in memory, or as much of it as fits over a database.
//!
//! An entry carries the epoch in which it was changed last. A snapshot begins a new epoch and then visits the entries
//! bit by bit, in the order of their hashes and so of their key groups; whoever is about to change an entry that was
//! not visited yet writes it first, as it was when the snapshot began. Entries born later carry the new epoch and are
//! skipped. What has not changed since a snapshot that is part of a complete checkpoint need not be written again.

mod cache;
mod entry;
mod expire;
mod gauge;
mod ordered;
mod peek;
mod restore;
mod snapshot;
mod span;
mod stamp;
#[cfg(test)]
mod tests;
mod timed;

use std::ops::Range;

use cache::Cache;
pub use entry::{TableKey, TableState};
pub use expire::Sweep;
pub(crate) use ordered::{OrderedTable, Slot, Tagged};
use snapshot::Running;
pub use snapshot::SnapshotBegun;
use span::{Places, Span};
use stamp::Stamp;
pub(crate) use timed::split_time;
pub use timed::{Timed, write_time};

use crate::KeyGroups;
use crate::database::SharedBuffer;
use crate::history;
use crate::saving::Saving;

/// The state of every key of some key groups. Hashes are passed in, because the caller has them already; they
/// must be those of [`hash_key`](crate::hash_key).
#[derive(Debug)]
pub struct KeyedTable<K, S> {
    groups: KeyGroups,
    owned: Range<u16>,
    span: Span,
    entries: OrderedTable<Entry<K, S>>,
    epoch: u32,
    /// That of an entry that is changed now.
    touched: Stamp,
    /// Keys that came to be and were nowhere before.
    births: u64,
    /// The snapshot that is being written.
    running: Option<Running>,
    saving: Saving<K>,
    /// Where the keys are that have no room in memory.
    below: Option<Cache>,
}

#[derive(Debug)]
struct Entry<K, S> {
    key: K,
    state: S,
    stamp: Stamp,
    /// The place of its hash among those of the groups owned.
    tag: u32,
}

impl<K, S> Tagged for Entry<K, S> {
    #[inline]
    fn tag(&self) -> u32 {
        self.tag
    }
}

impl<K: TableKey, S: TableState> KeyedTable<K, S> {
    /// An empty table for the key groups `owned` out of `groups`, all of it in memory.
    pub fn new(groups: KeyGroups, owned: Range<u16>) -> Self {
        Self {
            groups,
            span: Span::new(groups, &owned),
            owned,
            entries: OrderedTable::default(),
            epoch: history::FIRST,
            touched: Stamp::changed(history::FIRST),
            births: 0,
            running: None,
            saving: Saving::new(K::KINDS, snapshot::REMOVED_AT_LEAST),
            below: None,
        }
    }

    /// A table over a database: `limit` says how many entries of it are in memory, if one takes so many bytes.
    pub(crate) fn over(
        groups: KeyGroups,
        owned: Range<u16>,
        buffer: SharedBuffer,
        limit: impl Fn(usize) -> usize + Send + 'static,
    ) -> Self {
        let mut table = Self::new(groups, owned);
        let cache = Cache::new(buffer, Box::new(limit), ordered::bytes_for_each::<Entry<K, S>>());
        table.entries.keep_within(cache.limit());
        table.below = Some(cache);
        table
    }

    /// The number of keys whose state is in memory: of a table that is not over a database, of all.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key has state in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys got a state that had none before, since the table was made.
    pub fn births(&self) -> u64 {
        self.births
    }

    /// Makes room for so many keys in all at once, or for as many as may be in memory.
    pub fn reserve(&mut self, keys: usize) {
        self.entries.reserve(self.below.as_ref().map_or(keys, |cache| keys.min(cache.limit())));
    }

    /// The state of `key`, which becomes `S::default()` if it has none yet, and the key as stored.
    ///
    /// # Panics
    /// If the key's group is not among those owned: a record was routed to the wrong instance, a bug of the engine.
    /// With a [`StateFault`](crate::StateFault) if the database below refuses.
    #[inline]
    pub fn entry(&mut self, hash: u64, key: K) -> (&K, &mut S) {
        let tag = self.tag_of(hash);
        let found = self.entries.find(tag, |entry| entry.key == key);
        self.changed_at(tag, found.ok(), || key)
    }

    /// As [`entry`](Self::entry), for a key that is only made if it is not in memory.
    #[inline]
    pub(crate) fn entry_by(
        &mut self,
        place: u64,
        is: impl Fn(&K) -> bool,
        make: impl FnOnce() -> K,
    ) -> (&K, &mut S) {
        let tag = self.tag_of(place);
        let found = self.entries.find(tag, |entry| is(&entry.key));
        self.changed_at(tag, found.ok(), make)
    }

    #[inline]
    fn changed_at(&mut self, tag: u32, found: Option<Slot>, make: impl FnOnce() -> K) -> (&K, &mut S) {
        let slot = match found {
            Some(slot) => {
                if self.running.is_some() {
                    self.before_change(slot);
                }
                slot
            }
            None => self.load_or_insert(tag, make()),
        };
        let touched = self.touched;
        let entry = self.entries.at_mut(slot);
        entry.stamp = touched;
        (&entry.key, &mut entry.state)
    }

    /// As [`get`](Self::get), for a key that is only made if it is not in memory. What is changed in the state this way
    /// must not change how it is encoded.
    #[inline]
    pub(crate) fn get_by(
        &mut self,
        place: u64,
        is: impl Fn(&K) -> bool,
        make: impl FnOnce() -> K,
    ) -> Option<&mut S> {
        let tag = self.tag_of(place);
        let slot = match self.entries.find(tag, |entry| is(&entry.key)) {
            Ok(slot) => slot,
            Err(_) if self.below.is_none() => return None,
            Err(_) => self.load(tag, &make())?,
        };
        Some(&mut self.entries.at_mut(slot).state)
    }

    /// Begins to load what [`entry`](Self::entry) will look at for this hash. Worth it some ten entries ahead, in a
    /// table that is larger than the cache of the processor.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.entries.prefetch(self.places().tag::<K>(hash));
    }

    /// The state of `key`, if it has any.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    #[inline]
    pub fn get(&mut self, hash: u64, key: &K) -> Option<&S> {
        let slot = self.find_or_load(hash, key)?;
        Some(&self.entries.at(slot).state)
    }

    /// The state of `key`, if it has any, to be changed.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &K) -> Option<&mut S> {
        let slot = self.find_or_load(hash, key)?;
        if self.running.is_some() {
            self.before_change(slot);
        }
        let touched = self.touched;
        let entry = self.entries.at_mut(slot);
        entry.stamp = touched;
        Some(&mut entry.state)
    }

    /// Forgets `key` and returns the state it had.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    pub fn remove(&mut self, hash: u64, key: &K) -> Option<S> {
        let slot = self.find_or_load(hash, key)?;
        if self.running.is_some() {
            self.before_change(slot);
        }
        if self.below.is_some() {
            let Entry { key, state, .. } = self.entries.remove_in_place(slot);
            self.put_below(&key, None);
            if self.saving.needs_removals(self.can_be_added_to()) {
                self.note_removal(key);
            }
            return Some(state);
        }
        let Entry { key, state, .. } = self.entries.remove(slot);
        if self.saving.needs_removals(true) {
            self.note_removal(key);
        }
        Some(state)
    }

    /// All keys in memory and their states. The order follows from the hashes and the history of changes alone.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.entries.iter().map(|entry| (&entry.key, &entry.state))
    }

    #[inline]
    fn find_or_load(&mut self, hash: u64, key: &K) -> Option<Slot> {
        let tag = self.tag_of(hash);
        match self.entries.find(tag, |entry| entry.key == *key) {
            Ok(slot) => Some(slot),
            Err(_) if self.below.is_none() => None,
            Err(_) => self.load(tag, key),
        }
    }

    #[inline]
    fn tag_of(&self, hash: u64) -> u32 {
        if !self.span.contains(hash) {
            self.not_owned(hash);
        }
        self.places().tag::<K>(hash)
    }

    #[inline]
    fn places(&self) -> Places {
        Places { groups: self.groups, span: self.span }
    }

    #[cold]
    fn not_owned(&self, hash: u64) -> ! {
        panic!(
            "key group {} is not among the groups {:?} of this instance: a record was routed to the wrong instance",
            self.groups.group_of(hash),
            self.owned
        );
    }

    #[inline(never)]
    fn load_or_insert(&mut self, tag: u32, key: K) -> Slot {
        if self.below.is_some()
            && let Some(slot) = self.load(tag, &key)
        {
            return slot;
        }
        self.births += 1;
        self.entries.insert(Entry { key, state: S::default(), stamp: self.touched, tag })
    }
}
