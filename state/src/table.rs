//! Keyed state in memory, and its snapshot that doesn't stop the data path.
//!
//! There is one small hash table for each key group, so that growing is never more work than one group. An entry
//! carries the epoch of the last snapshot that holds it. A snapshot raises the epoch and then visits
//! the slots bit by bit; whoever is about to change an entry that was not visited yet writes it first, as it was
//! when the snapshot began. Entries born later carry the new epoch and are skipped.

mod slots;
#[cfg(test)]
mod tests;

use std::any::type_name;
use std::num::NonZeroU32;
use std::ops::Range;

pub(crate) use slots::{SlotTable, Tagged};

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
    tables: Vec<SlotTable<Entry<K, S>>>,
    len: usize,
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
    /// The low half of the hash: enough to find the slot again without hashing the key.
    tag: u32,
}

impl<K, S> Tagged for Entry<K, S> {
    #[inline]
    fn tag(&self) -> u32 {
        self.tag
    }
}

/// Everything before it is written: all tables below `table`, and in that one all slots below `slot`.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    table: usize,
    slot: usize,
}

impl<K: Key, S: State> MemoryTable<K, S> {
    /// An empty table for the key groups `owned` out of `groups`.
    pub fn new(groups: KeyGroups, owned: Range<u16>) -> Self {
        let tables = owned.clone().map(|_| SlotTable::default()).collect();
        let sections = SectionWriter::new(SectionKind::KeyedState);
        Self { groups, owned, tables, len: 0, epoch: NonZeroU32::MIN, cursor: None, sections }
    }

    /// The number of keys that have state.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no key has state.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The state of `key`, which becomes `S::default()` if it has none yet, and the key as stored.
    ///
    /// # Panics
    /// If the key's group is not among those owned: a record was routed to the wrong instance, a bug of the engine.
    #[inline]
    pub fn entry(&mut self, hash: u64, key: K) -> (&K, &mut S) {
        let table = self.offset_of(hash);
        let found = self.tables.get(table).map(|slots| slots.find(hash as u32, |entry| entry.key == key));
        let slot = match found {
            Some(Ok(slot)) => {
                if self.cursor.is_some() {
                    self.before_change(table, slot);
                }
                slot
            }
            Some(Err(vacant)) => self.insert_default(table, vacant, hash, key),
            None => self.not_owned(hash),
        };
        let entry = self.tables[table].at_mut(slot);
        (&entry.key, &mut entry.state)
    }

    /// Begins to load what [`entry`](Self::entry) will look at for this hash. Worth it some ten entries ahead, in a table
    /// that is larger than the cache.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(slots) = self.tables.get(self.offset_of(hash)) {
            slots.prefetch(hash as u32);
        }
    }

    /// The state of `key`, if it has any.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    #[inline]
    pub fn get(&self, hash: u64, key: &K) -> Option<&S> {
        let table = &self.tables[self.table_of(hash)];
        let slot = table.find(hash as u32, |entry| entry.key == *key).ok()?;
        Some(&table.at(slot).state)
    }

    /// The state of `key`, if it has any, to be changed.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &K) -> Option<&mut S> {
        let table = self.table_of(hash);
        let slot = self.tables[table].find(hash as u32, |entry| entry.key == *key).ok()?;
        if self.cursor.is_some() {
            self.before_change(table, slot);
        }
        Some(&mut self.tables[table].at_mut(slot).state)
    }

    /// Forgets `key` and returns the state it had.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    pub fn remove(&mut self, hash: u64, key: &K) -> Option<S> {
        let table = self.table_of(hash);
        let slot = self.tables[table].find(hash as u32, |entry| entry.key == *key).ok()?;
        if self.cursor.is_some() {
            self.before_change(table, slot);
        }

        // Closing the gap moves entries to lower slots. One that thereby gets behind the cursor is written first.
        let group = self.group_at(table);
        let Self { tables, sections, epoch, .. } = self;
        let passed = self.cursor.filter(|cursor| cursor.table == table).map_or(0, |cursor| cursor.slot);
        let removed = tables[table].remove(slot, |entry, to| {
            if to < passed {
                write_once(sections, *epoch, group, entry);
            }
        });
        self.len -= 1;
        if self.tables[table].shrink() {
            self.restart_slots(table);
        }
        Some(removed.state)
    }

    /// All keys and their states. The order follows from the hashes and the history of changes alone.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.tables.iter().flat_map(SlotTable::iter).map(|entry| (&entry.key, &entry.state))
    }

    /// Begins a snapshot of the state as it is now. One that is still running is aborted.
    pub fn begin_snapshot(&mut self) {
        self.abort_snapshot();
        self.epoch = next_epoch(self.epoch);
        self.cursor = Some(Cursor { table: 0, slot: 0 });
    }

    /// Visits up to `slots` slots (at least one) and writes what was not written yet. Long entries count for more,
    /// so that the time of a slice doesn't depend on the size of a state.
    ///
    /// # Errors
    /// If an entry could not be encoded, now or when it was about to change. The snapshot is over then.
    pub fn snapshot_slice(&mut self, slots: usize) -> Result<SliceProgress, CodecError> {
        let Some(mut cursor) = self.cursor else {
            return Ok(SliceProgress::Done);
        };
        let mut budget = slots.max(1);
        while budget > 0 && cursor.table < self.tables.len() {
            let group = self.group_at(cursor.table);
            let (visited, cost) = self.visit(cursor, budget);
            cursor.slot += visited;
            if cursor.slot == self.tables[cursor.table].slots() {
                self.sections.close(group);
                cursor = Cursor { table: cursor.table + 1, slot: 0 };
            }
            budget = budget.saturating_sub(cost.max(1));
        }
        if let Err(error) = self.sections.check() {
            self.abort_snapshot();
            return Err(error);
        }
        if cursor.table < self.tables.len() {
            self.cursor = Some(cursor);
            return Ok(SliceProgress::More);
        }
        self.cursor = None;
        self.sections.close_all();
        Ok(SliceProgress::Done)
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
        let table = usize::from(group - self.owned.start);
        let mut input = bytes.as_slice();
        for _ in 0..entries {
            let key: K = decode(&mut input)?;
            let state: S = decode(&mut input)?;
            let hash = hash_key(&key);
            let found = self.groups.group_of(hash);
            if found != group {
                return Err(CodecError::WrongGroup { type_name: type_name::<K>(), expected: group, found });
            }
            match self.tables[table].find(hash as u32, |entry| entry.key == key) {
                Ok(_) => return Err(CodecError::Duplicate { kind, group }),
                Err(vacant) => {
                    let entry = Entry { key, state, epoch: self.epoch, tag: hash as u32 };
                    self.insert(table, vacant, entry)
                }
            };
        }
        if input.is_empty() { Ok(()) } else { Err(CodecError::Trailing { bytes: input.len() }) }
    }

    #[inline]
    fn offset_of(&self, hash: u64) -> usize {
        usize::from(self.groups.group_of(hash)).wrapping_sub(usize::from(self.owned.start))
    }

    #[inline]
    fn table_of(&self, hash: u64) -> usize {
        let table = self.offset_of(hash);
        if table >= self.tables.len() {
            self.not_owned(hash);
        }
        table
    }

    #[cold]
    fn not_owned(&self, hash: u64) -> ! {
        panic!(
            "key group {} is not among the groups {:?} of this instance: a record was routed to the wrong instance",
            self.groups.group_of(hash),
            self.owned
        );
    }

    fn group_at(&self, table: usize) -> u16 {
        self.owned.start + table as u16
    }

    #[inline(never)]
    fn insert_default(&mut self, table: usize, vacant: usize, hash: u64, key: K) -> usize {
        let entry = Entry { key, state: S::default(), epoch: self.epoch, tag: hash as u32 };
        self.insert(table, vacant, entry)
    }

    fn insert(&mut self, table: usize, vacant: usize, entry: Entry<K, S>) -> usize {
        let (slot, grown) = self.tables[table].insert(vacant, entry);
        self.len += 1;
        if grown {
            self.restart_slots(table);
        }
        slot
    }

    /// After the entries of a table have moved, the running snapshot visits that table anew. Entries that
    /// are written already say so by their epoch.
    fn restart_slots(&mut self, table: usize) {
        if let Some(cursor) = &mut self.cursor
            && cursor.table == table
        {
            cursor.slot = 0;
        }
    }

    #[inline(never)]
    fn before_change(&mut self, table: usize, slot: usize) {
        let group = self.group_at(table);
        write_once(&mut self.sections, self.epoch, group, self.tables[table].at_mut(slot));
    }

    /// Writes from the cursor on in one table, until the budget is used up. Returns the slots visited and their cost.
    fn visit(&mut self, cursor: Cursor, budget: usize) -> (usize, usize) {
        let group = self.group_at(cursor.table);
        let (mut visited, mut cost) = (0, 0);
        for slot in self.tables[cursor.table].slots_from(cursor.slot) {
            if cost >= budget {
                break;
            }
            visited += 1;
            cost += 1;
            if let Some(entry) = slot {
                cost += write_once(&mut self.sections, self.epoch, group, entry);
            }
        }
        (visited, cost)
    }
}

/// Writes an entry unless this snapshot has it already, and returns what that costs of a slice's budget.
fn write_once<K: Key, S: State>(
    sections: &mut SectionWriter,
    epoch: NonZeroU32,
    group: u16,
    entry: &mut Entry<K, S>,
) -> usize {
    if entry.epoch == epoch {
        return 0;
    }
    entry.epoch = epoch;
    sections.write(group, |out| {
        encode(&entry.key, out)?;
        encode(&entry.state, out)
    })
}
