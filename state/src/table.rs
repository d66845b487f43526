//! Keyed state in memory, and its snapshot that doesn't stop the data path.
//!
//! An entry carries the epoch of the last snapshot that holds it. A snapshot raises the epoch and then visits the entries
//! bit by bit, in the order of their hashes and so of their key groups; whoever is about to change an entry that was not
//! visited yet writes it first, as it was when the snapshot began. Entries born later carry the new epoch and are skipped.

mod ordered;
mod span;
#[cfg(test)]
mod tests;

use std::any::type_name;
use std::num::NonZeroU32;
use std::ops::Range;

use ordered::TAGS;
pub(crate) use ordered::{OrderedTable, Slot, Tagged};
use span::Span;

use crate::bug::{self, Bug};
use crate::snapshot::{SectionWriter, next_epoch};
use crate::{
    CodecError, Key, KeyGroups, Section, SectionKind, SliceProgress, State, decode, encode, hash_key,
};

/// The state of every key of some key groups. Hashes are passed in, because the caller has them already; they
/// must be those of [`hash_key`].
#[derive(Debug)]
pub struct MemoryTable<K, S> {
    groups: KeyGroups,
    owned: Range<u16>,
    span: Span,
    entries: OrderedTable<Entry<K, S>>,
    epoch: NonZeroU32,
    /// Where the running snapshot is; `None` if none is running.
    cursor: Option<Cursor>,
    sections: SectionWriter,
}

#[derive(Debug)]
struct Entry<K, S> {
    key: K,
    state: S,
    /// The epoch of the last snapshot this entry is in, or in which it was born.
    epoch: NonZeroU32,
    /// The place of its hash among those of the groups owned.
    tag: u32,
}

impl<K, S> Tagged for Entry<K, S> {
    #[inline]
    fn tag(&self) -> u32 {
        self.tag
    }
}

#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// All entries with a lower tag are written.
    tag: u64,
    /// The first group that may still get entries.
    group: u16,
}

impl<K: Key, S: State> MemoryTable<K, S> {
    /// An empty table for the key groups `owned` out of `groups`.
    pub fn new(groups: KeyGroups, owned: Range<u16>) -> Self {
        Self {
            groups,
            span: Span::new(groups, &owned),
            owned,
            entries: OrderedTable::default(),
            epoch: NonZeroU32::MIN,
            cursor: None,
            sections: SectionWriter::new(SectionKind::KeyedState),
        }
    }

    /// The number of keys that have state.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key has state.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for so many keys at once, if there are none yet.
    pub fn reserve(&mut self, keys: usize) {
        self.entries.reserve(keys);
    }

    /// The state of `key`, which becomes `S::default()` if it has none yet, and the key as stored.
    ///
    /// # Panics
    /// If the key's group is not among those owned: a record was routed to the wrong instance, a bug of the engine.
    #[inline]
    pub fn entry(&mut self, hash: u64, key: K) -> (&K, &mut S) {
        let tag = self.tag_of(hash);
        let slot = match self.entries.find(tag, |entry| entry.key == key) {
            Ok(slot) => {
                if self.cursor.is_some() {
                    self.before_change(slot);
                }
                slot
            }
            Err(_) => self.insert_default(tag, key),
        };
        let entry = self.entries.at_mut(slot);
        (&entry.key, &mut entry.state)
    }

    /// Begins to load what [`entry`](Self::entry) will look at for this hash. Worth it some ten entries ahead, in a table
    /// that is larger than the cache.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.entries.prefetch(self.span.tag(hash));
    }

    /// The state of `key`, if it has any.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    #[inline]
    pub fn get(&self, hash: u64, key: &K) -> Option<&S> {
        let slot = self.entries.find(self.tag_of(hash), |entry| entry.key == *key).ok()?;
        Some(&self.entries.at(slot).state)
    }

    /// The state of `key`, if it has any, to be changed.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &K) -> Option<&mut S> {
        let slot = self.entries.find(self.tag_of(hash), |entry| entry.key == *key).ok()?;
        if self.cursor.is_some() {
            self.before_change(slot);
        }
        Some(&mut self.entries.at_mut(slot).state)
    }

    /// Forgets `key` and returns the state it had.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    pub fn remove(&mut self, hash: u64, key: &K) -> Option<S> {
        let slot = self.entries.find(self.tag_of(hash), |entry| entry.key == *key).ok()?;
        if self.cursor.is_some() {
            self.before_change(slot);
        }
        Some(self.entries.remove(slot).state)
    }

    /// All keys and their states. The order follows from the hashes and the history of changes alone.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.entries.iter().map(|entry| (&entry.key, &entry.state))
    }

    /// Begins a snapshot of the state as it is now. One that is still running is aborted.
    pub fn begin_snapshot(&mut self) {
        self.abort_snapshot();
        self.epoch = next_epoch(self.epoch);
        self.cursor = Some(Cursor { tag: 0, group: self.owned.start });
    }

    /// Visits up to `slots` slots (at least one, and on to the next that is vacant) and writes what was not written yet.
    /// Long entries count for more, so that the time of a slice doesn't depend on the size of a state.
    ///
    /// # Errors
    /// If an entry could not be encoded, now or when it was about to change. The snapshot is over then.
    pub fn snapshot_slice(&mut self, slots: usize) -> Result<SliceProgress, CodecError> {
        let Some(Cursor { tag, mut group }) = self.cursor else {
            return Ok(SliceProgress::Done);
        };
        let Self { entries, sections, groups, epoch, .. } = self;
        let mut budget = slots.max(1);
        let tag = entries.visit(tag, |entry| {
            let cost = entry.map_or(0, |entry| write_once(sections, *epoch, *groups, entry));
            budget = budget.saturating_sub(1 + cost);
            budget > 0
        });
        if let Err(error) = self.sections.check() {
            self.abort_snapshot();
            return Err(error);
        }
        if tag == TAGS {
            self.cursor = None;
            self.sections.close_all();
            return Ok(SliceProgress::Done);
        }
        // The last tag of a group may be the first of the next one, too.
        while tag > self.span.first_tag(self.groups, group + 1) {
            self.sections.close(group);
            group += 1;
        }
        self.cursor = Some(Cursor { tag, group });
        Ok(SliceProgress::More)
    }

    /// What the running snapshot has written and nobody has taken yet, and all of it once the snapshot is done.
    /// A group that is still being written may be held back until its section is large enough.
    pub fn take_sections(&mut self) -> Vec<Section> {
        self.sections.take()
    }

    /// Gives up the running snapshot, if there is one, and what it has written.
    pub fn abort_snapshot(&mut self) {
        self.cursor = None;
        self.sections.clear();
    }

    /// Adds the entries of a section that a snapshot has written. Not to be called while a snapshot is running.
    ///
    /// # Errors
    /// If the section is of another kind or of a group that is not owned, does not decode, holds a key that hashes
    /// into another group, or one that is there already. The table is to be thrown away then.
    pub fn restore(&mut self, section: &Section) -> Result<(), CodecError> {
        let Section { kind, group, entries, ref bytes } = *section;
        if kind != SectionKind::KeyedState {
            return Err(CodecError::WrongKind { expected: SectionKind::KeyedState, found: kind });
        }
        if !self.owned.contains(&group) {
            return Err(CodecError::GroupNotOwned { group });
        }
        let mut input = bytes.as_slice();
        for _ in 0..entries {
            let key: K = decode(&mut input)?;
            let state: S = decode(&mut input)?;
            let hash = hash_key(&key);
            let found = self.groups.group_of(hash);
            if found != group {
                return Err(CodecError::WrongGroup { type_name: type_name::<K>(), expected: group, found });
            }
            let tag = self.tag_of(hash);
            if self.entries.find(tag, |entry| entry.key == key).is_ok() {
                return Err(CodecError::Duplicate { kind, group });
            }
            self.entries.insert(Entry { key, state, epoch: self.epoch, tag });
        }
        if input.is_empty() { Ok(()) } else { Err(CodecError::Trailing { bytes: input.len() }) }
    }

    #[inline]
    fn tag_of(&self, hash: u64) -> u32 {
        if !self.span.contains(hash) {
            self.not_owned(hash);
        }
        self.span.tag(hash)
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
    fn insert_default(&mut self, tag: u32, key: K) -> Slot {
        let epoch = if bug::is(Bug::LaterEntryWritten) { NonZeroU32::MIN } else { self.epoch };
        self.entries.insert(Entry { key, state: S::default(), epoch, tag })
    }

    #[inline(never)]
    fn before_change(&mut self, slot: Slot) {
        if bug::is(Bug::ChangedEntryNotWrittenBefore) {
            return;
        }
        let Self { entries, sections, groups, epoch, .. } = self;
        write_once(sections, *epoch, *groups, entries.at_mut(slot));
    }
}

/// Writes an entry unless this snapshot has it already, and returns what that costs of a slice's budget.
fn write_once<K: Key, S: State>(
    sections: &mut SectionWriter,
    epoch: NonZeroU32,
    groups: KeyGroups,
    entry: &mut Entry<K, S>,
) -> usize {
    if entry.epoch == epoch {
        return 0;
    }
    entry.epoch = epoch;
    sections.write(groups.group_of(hash_key(&entry.key)), |out| {
        encode(&entry.key, out)?;
        encode(&entry.state, out)
    })
}
