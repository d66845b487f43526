//! The entries of a table that is over a database: which are in memory, and which go.
//!
//! An entry that is asked for and not there is loaded. When there are as many as may be, a hand goes round, as in the
//! second-chance algorithm: what was used since it came by last stays, the rest goes. What the database does not have
//! yet is written to it then, in batches. Each time round the hand looks at an eighth of the entries only, and at the
//! others the next times: it goes through slots in their order, and would else leave a half of the table empty and the
//! other so full that it takes forever to find anything.
//!
//! As long as everything has room, the database is given nothing, and snapshots are additions to one another as they
//! are in memory. Once it gets entries they cannot be: an older snapshot may have another state of the same key, and
//! would be read over the database. Then each snapshot holds all that the database lacks; so that this is little, what
//! has not changed for a whole snapshot is written to the database even if it stays, a little at a time.

use super::gauge::Gauge;
use super::ordered::TAGS;
use super::snapshot::write_before;
use super::{Entry, KeyedTable, Places, Slot, Stamp, TableKey, TableState};
use crate::bug::{self, Bug};
use crate::database::{Link, SharedBuffer, split_key};
use crate::saving::Saving;
use crate::{CodecError, KeyGroups, Sampler, StateFault, StoreError};

/// What a table knows of the database below it.
#[derive(Debug)]
pub(super) struct Cache {
    buffer: SharedBuffer,
    /// How many entries have room in memory.
    pub(super) gauge: Gauge,
    /// Where the hand is that looks for entries that may go.
    hand: u64,
    /// How often it has been round.
    rounds: u32,
    /// Where the writing of what stays and has not changed is.
    sweep: u64,
    /// The epoch of the snapshot that the sweep writes what is older than; a sweep is over before the next begins.
    sweeps_before: u32,
    /// The epoch in which a state was written to the database last, or 0.
    written: u32,
    /// That of the newest complete snapshot.
    complete: u32,
    /// The keys that the table is being filled with, or 0.
    filling: usize,
    /// How many of them the database was given.
    filled: usize,
    /// For a key in the making.
    key: Vec<u8>,
    /// Which of what the database is given is read back.
    sampler: Sampler,
}

/// Slots that the hand looks at before the next entry is inserted.
const HAND_SLOTS: usize = 256;

/// The classes that entries fall into by their tags, of which the hand looks at one each time round.
const CLASSES: u32 = 8;

/// How often the hand does so for one entry at most.
const ROUNDS_AT_MOST: usize = 64;

/// 2^32 times the golden section: multiples of it are spread evenly (Knuth, The Art of Computer Programming, 6.4).
const SPREAD: u32 = 0x9E37_79B1;

impl Cache {
    pub(super) fn new(
        buffer: SharedBuffer,
        limit_for: Box<dyn Fn(usize) -> usize + Send>,
        entry_bytes: usize,
    ) -> Self {
        Self {
            buffer,
            gauge: Gauge::new(limit_for, entry_bytes),
            hand: 0,
            rounds: 0,
            sweep: TAGS,
            sweeps_before: 0,
            written: 0,
            complete: 0,
            filling: 0,
            filled: 0,
            key: Vec::new(),
            sampler: Sampler::default(),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.gauge.limit()
    }

    /// The table is about to be filled with so many keys; with none: it has been.
    pub(super) fn fills(&mut self, keys: usize) {
        self.filling = keys;
    }

    /// Whether an entry that the table is filled with is to be in memory: all of them if they have room, else as many
    /// as have, evenly spread.
    pub(super) fn keeps(&self, tag: u32) -> bool {
        // A little room is left, as they are never spread quite evenly.
        let room = self.limit() - self.limit() / 16;
        let share = u64::from(tag.wrapping_mul(SPREAD)) * self.filling as u64;
        self.has_room_for_all() || (share >> 32) < room as u64
    }

    /// Whether all of what the table is filled with may be in memory.
    pub(super) fn has_room_for_all(&self) -> bool {
        self.filling <= self.limit()
    }

    /// Gives the database one that is not to be in memory.
    pub(super) fn fill<K: TableKey, S: TableState>(
        &mut self,
        epoch: u32,
        groups: KeyGroups,
        key: &K,
        state: &S,
    ) {
        self.filled += 1;
        self.put_at(epoch, groups, key, state);
    }

    /// How many keys the database was given that the table was filled with.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Gives the database an entry that has changed, in this epoch.
    fn put_entry<K: TableKey, S: TableState>(&mut self, epoch: u32, places: Places, entry: &Entry<K, S>) {
        let checked = places.check(entry, entry.key.place());
        checked.unwrap_or_else(|error| StateFault::from(error).throw());
        self.put_at(epoch, places.groups, &entry.key, &entry.state);
    }

    /// Gives the database a state in this epoch.
    pub(super) fn put_at<K: TableKey, S: TableState>(
        &mut self,
        epoch: u32,
        groups: KeyGroups,
        key: &K,
        state: &S,
    ) {
        self.written = epoch;
        self.put(groups, key, Some(state));
    }

    /// Calls `found` with the state that a key has below the table, if it has any.
    fn look_up<K: TableKey>(&mut self, groups: KeyGroups, key: &K, found: &mut dyn FnMut(&[u8])) {
        let buffer = self.buffer.lock();
        if buffer.has_nothing() {
            return;
        }
        let looked = database_key(groups, key, &mut self.key)
            .map_err(StateFault::from)
            .and_then(|()| Ok(buffer.get(&self.key, found)?));
        drop(buffer);
        looked.unwrap_or_else(|fault| fault.throw());
    }

    /// Calls `found` with the state that a key, as the database has it, has below the table.
    pub(super) fn stored(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        self.buffer.lock().get(key, found)
    }
}

/// A key as the database has it: its group, so that groups lie together, its table, and its encoding.
pub(crate) fn database_key<K: TableKey>(
    groups: KeyGroups,
    key: &K,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    out.clear();
    out.extend_from_slice(&groups.group_of(key.place()).to_be_bytes());
    out.push(K::SPACE);
    key.write(out)
}

/// Where the encoding of the key begins in a [`database_key`].
const KEY_AT: usize = 3;

impl<K: TableKey, S: TableState> KeyedTable<K, S> {
    /// Brings a key that is not in memory there, if the database has it.
    pub(super) fn load(&mut self, tag: u32, key: &K) -> Option<Slot> {
        self.make_room(1);
        let cache = self.below.as_mut()?;
        let mut state: Option<Result<S, CodecError>> = None;
        let mut bytes_read = 0;
        cache.look_up(self.groups, key, &mut |mut bytes| {
            bytes_read = bytes.len();
            state = Some(S::read(&mut bytes));
        });
        let state = state?.unwrap_or_else(|error| StateFault::from(error).throw());
        cache.gauge.measured::<K, S>(cache.key.len() + bytes_read);
        Some(self.entries.insert(Entry { key: key.clone(), state, stamp: Stamp::loaded(), tag }))
    }

    /// Whether the database has a key.
    pub(super) fn is_below(&mut self, key: &K) -> bool {
        let Some(cache) = &mut self.below else { return false };
        let mut is_there = false;
        cache.look_up(self.groups, key, &mut |_| is_there = true);
        is_there
    }

    /// Gives the key another state in the database, or none.
    pub(super) fn put_below(&mut self, key: &K, state: Option<&S>) {
        if let Some(cache) = &mut self.below
            && (state.is_some() || !cache.buffer.lock().has_nothing())
        {
            cache.put(self.groups, key, state);
        }
    }

    /// The copy of the database that belongs to the snapshot that begins now.
    pub(super) fn begin_link(&mut self, checkpoint: u64) -> Option<Link> {
        let cache = self.below.as_mut()?;
        // What the database lacks at this moment the snapshot has to hold: best if that are only entries in memory.
        let mut buffer = cache.buffer.lock();
        if let Err(error) = buffer.flush() {
            drop(buffer);
            StateFault::from(error).throw();
        }
        let Saving { sections, removals, .. } = &mut self.saving;
        for (key, state) in buffer.waiting() {
            let Some((group, space, key)) = split_key(key) else { continue };
            if space != K::SPACE {
                continue;
            }
            match state {
                Some(state) => sections.write(group, |out| {
                    out.extend_from_slice(key);
                    out.extend_from_slice(state);
                    Ok(())
                }),
                None => removals.write(group, |out| {
                    out.extend_from_slice(key);
                    Ok(())
                }),
            };
        }
        // One that has begun goes on until it is over: else what it comes to last would never be written.
        if cache.sweep == TAGS || cache.sweep == 0 {
            cache.sweep = 0;
            cache.sweeps_before = self.epoch - 1;
        }
        buffer.link(checkpoint)
    }

    /// Whether a snapshot may be an addition to the newest complete one: the database has got nothing since that.
    pub(super) fn can_be_added_to(&self) -> bool {
        self.below.as_ref().is_none_or(|cache| cache.written < cache.complete || cache.written == 0)
    }

    /// The snapshot that began this epoch is complete.
    pub(super) fn completed_below(&mut self, epoch: u32) {
        if let Some(cache) = &mut self.below {
            cache.complete = epoch;
        }
    }

    pub(super) fn save_all_below(&mut self) {
        if let Some(cache) = &mut self.below {
            cache.buffer.lock().save_all();
        }
    }

    pub(super) fn complete_below(&mut self, checkpoint: u64) {
        if let Some(cache) = &mut self.below {
            cache.buffer.lock().complete(checkpoint);
        }
    }

    /// Sees to it that what is in memory has room there, and writes to the database what has not changed for a while,
    /// looking at up to `slots` slots. Returns whether there is more to look at. To be called between batches.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    pub fn write_back(&mut self, slots: usize) -> bool {
        self.gauge();
        self.make_room(0);
        let places = self.places();
        let Self { below, entries, running, saving, epoch, .. } = self;
        let Some(cache) = below else { return false };
        // As long as all has room, nothing has to be written.
        if cache.sweep == TAGS || !cache.buffer.lock().may_write_back() {
            return false;
        }
        let mut budget = slots.max(1);
        let from = cache.sweep;
        cache.sweep = entries.visit(from, |entry| {
            budget = budget.saturating_sub(1);
            if let Some(entry) = entry
                && entry.stamp.is_dirty()
                && entry.stamp.epoch() < cache.sweeps_before
            {
                write_before(running.as_ref(), &mut saving.sections, places, *epoch, entry);
                cache.put_entry(*epoch, places, entry);
                entry.stamp = entry.stamp.written();
                budget = budget.saturating_sub(WRITE_COST);
            }
            budget > 0
        });
        cache.sweep < TAGS
    }

    /// Sees to it that so many entries may come.
    pub(super) fn make_room(&mut self, more: usize) {
        let places = self.places();
        let Self { below, entries, running, saving, epoch, .. } = self;
        let Some(cache) = below else { return };
        // Where suddenly less has room, the table gets there bit by bit.
        let mut rounds = 0;
        while entries.len() + more > cache.limit() && rounds < ROUNDS_AT_MOST {
            rounds += 1;
            let (hand, class) = (cache.hand, cache.rounds % CLASSES);
            let may_go = |entry: &mut Entry<K, S>| {
                if entry.tag % CLASSES != class {
                    return false;
                }
                let goes = !entry.stamp.is_used();
                entry.stamp = entry.stamp.unused();
                goes
            };
            let gone = |entry: Entry<K, S>| {
                if entry.stamp.is_dirty() {
                    if !bug::is(Bug::EvictedEntryNotWrittenBefore) {
                        write_before(running.as_ref(), &mut saving.sections, places, *epoch, &entry);
                    }
                    cache.put_entry(*epoch, places, &entry);
                }
            };
            let next = entries.remove_some(hand, HAND_SLOTS, may_go, gone);
            cache.hand = next;
            if next == TAGS {
                cache.hand = 0;
                cache.rounds = cache.rounds.wrapping_add(1);
            }
        }
    }
}

/// Writing an entry takes as long as looking at so many slots.
const WRITE_COST: usize = 64;

impl Cache {
    fn put<K: TableKey, S: TableState>(&mut self, groups: KeyGroups, key: &K, state: Option<&S>) {
        let mut encoded = Vec::new();
        let is_due = self.sampler.is_due() && !bug::is(Bug::UnreadableStateSaved);
        let put = database_key(groups, key, &mut self.key).and_then(|()| {
            let Some(state) = state else { return Ok(()) };
            state.write(&mut encoded)?;
            if is_due {
                key.read_back(&self.key[KEY_AT..])?;
                state.read_back(&encoded)?;
            }
            Ok(())
        });
        self.gauge.measured::<K, S>(self.key.len() + encoded.len());
        let put = put
            .map_err(StateFault::from)
            .and_then(|()| Ok(self.buffer.lock().put(&self.key, state.is_some().then_some(encoded))?));
        put.unwrap_or_else(|fault| fault.throw());
    }
}
