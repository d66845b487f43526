//! Timers: a set of (timestamp, key) that fires in a fixed order and is part of every snapshot.
//!
//! A timer lives in a place that doesn't change until it is removed. An ordered map from when it fires to
//! its place says what is next; a hash table finds the place of a timer that is registered again or deleted. A snapshot visits the places one after the other, as a
//! [`KeyedTable`](crate::KeyedTable) visits its slots.

#[cfg(test)]
mod tests;

use std::any::type_name;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::bug::{self, Bug};
use crate::hash::mix;
use crate::snapshot::{SectionWriter, next_epoch};
use crate::table::{OrderedTable, Slot, Tagged};
use crate::{CodecError, Key, KeyGroups, Section, SectionKind, SliceProgress, decode, encode, hash_key};

/// The timers of an operator instance, of one kind. Timestamps are milliseconds, hashes those of [`hash_key`].
///
/// Timers fire in the order of their timestamp, then their key group, then their registration; that order survives
/// a snapshot and a change of the parallelism.
#[derive(Debug)]
pub struct TimerQueue<K> {
    kind: SectionKind,
    groups: KeyGroups,
    order: BTreeMap<Due, u32>,
    places: Vec<Option<Timer<K>>>,
    free: Vec<u32>,
    index: OrderedTable<Place>,
    next_sequence: u64,
    epoch: NonZeroU32,
    /// The places the running snapshot has still to visit; `None` if none is running.
    unvisited: Option<std::ops::Range<usize>>,
    sections: SectionWriter,
}

/// When a timer fires, relative to others. The field order is the firing order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: i64,
    group: u16,
    sequence: u64,
}

#[derive(Debug)]
struct Timer<K> {
    due: Due,
    hash: u64,
    /// The epoch of the last snapshot this timer is in, or in which it was registered.
    epoch: NonZeroU32,
    key: K,
}

/// Where a timer lives, in the index. The place is stored plus one, so that a vacant slot needs no bytes.
#[derive(Clone, Copy, Debug)]
struct Place {
    tag: u32,
    plus_one: NonZeroU32,
}

impl Place {
    fn new(tag: u32, place: u32) -> Self {
        Self { tag, plus_one: NonZeroU32::MIN.saturating_add(place) }
    }

    #[inline]
    fn get(self) -> u32 {
        self.plus_one.get() - 1
    }
}

impl Tagged for Place {
    #[inline]
    fn tag(&self) -> u32 {
        self.tag
    }
}

impl<K: Key> TimerQueue<K> {
    /// An empty queue whose snapshots are sections of `kind`.
    pub fn new(kind: SectionKind, groups: KeyGroups) -> Self {
        Self {
            kind,
            groups,
            order: BTreeMap::new(),
            places: Vec::new(),
            free: Vec::new(),
            index: OrderedTable::default(),
            next_sequence: 0,
            epoch: NonZeroU32::MIN,
            unvisited: None,
            sections: SectionWriter::new(kind),
        }
    }

    /// Registers a timer for `key` at `at`. Returns false, and changes nothing, if it is there already.
    pub fn register(&mut self, at: i64, hash: u64, key: &K) -> bool {
        if self.find(at, hash, key).is_some() {
            return false;
        }
        let due = Due { at, group: self.groups.group_of(hash), sequence: self.next_sequence };
        self.next_sequence += 1;
        self.insert(Timer { due, hash, epoch: self.epoch, key: key.clone() });
        true
    }

    /// Deletes the timer of `key` at `at`. Returns false if there was none.
    pub fn delete(&mut self, at: i64, hash: u64, key: &K) -> bool {
        let slot = self.find(at, hash, key);
        if let Some(slot) = slot {
            self.remove(slot);
        }
        slot.is_some()
    }

    /// The timestamp of the timer that fires next.
    pub fn next_at(&self) -> Option<i64> {
        self.order.first_key_value().map(|(due, _)| due.at)
    }

    /// Removes the timer that fires next, if that is at `now` or before, and returns its timestamp, hash and key.
    pub fn pop_due(&mut self, now: i64) -> Option<(i64, u64, K)> {
        let (&due, &place) = self.order.first_key_value()?;
        if due.at > now {
            return None;
        }
        let hash = self.timer(place).hash;
        let slot = self.index.find(mix(due.at, hash), |other| other.get() == place);
        // The index and the order name the same timers, so that there always is a slot.
        let timer = self.remove(slot.ok()?);
        Some((due.at, hash, timer.key))
    }

    /// The number of timers.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is no timer.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Begins a snapshot of the timers as they are now. One that is still running is aborted.
    pub fn begin_snapshot(&mut self) {
        self.abort_snapshot();
        self.epoch = next_epoch(self.epoch);
        self.unvisited = Some(0..self.places.len());
    }

    /// Visits up to `timers` places of timers (at least one) and writes those not written yet.
    ///
    /// # Errors
    /// If a key could not be encoded, now or when its timer was removed. The snapshot is over then.
    pub fn snapshot_slice(&mut self, timers: usize) -> Result<SliceProgress, CodecError> {
        let Some(unvisited) = self.unvisited.clone() else {
            return Ok(SliceProgress::Done);
        };
        let mut budget = timers.max(1);
        let mut next = unvisited.start;
        while budget > 0 && next < unvisited.end {
            let cost = match &mut self.places[next] {
                Some(timer) => write_once(&mut self.sections, self.epoch, timer),
                None => 0,
            };
            next += 1;
            budget = budget.saturating_sub(1 + cost);
        }
        if let Err(error) = self.sections.check() {
            self.abort_snapshot();
            return Err(error);
        }
        if next < unvisited.end {
            self.unvisited = Some(next..unvisited.end);
            return Ok(SliceProgress::More);
        }
        self.unvisited = None;
        self.sections.close_all();
        Ok(SliceProgress::Done)
    }

    /// What the running snapshot has written and nobody has taken yet, and all of it once the snapshot is done.
    /// Sections that may still grow are held back until then.
    pub fn take_sections(&mut self) -> Vec<Section> {
        self.sections.take()
    }

    /// Gives up the running snapshot, if there is one, and what it has written.
    pub fn abort_snapshot(&mut self) {
        self.unvisited = None;
        self.sections.clear();
    }

    /// Adds the timers of a section that a snapshot has written. Not to be called while a snapshot is running.
    ///
    /// # Errors
    /// If the section is of another kind or of a group that doesn't exist, does not decode, or holds a timer whose
    /// key hashes into another group or that is there already. The queue is to be thrown away then.
    pub fn restore(&mut self, section: &Section) -> Result<(), CodecError> {
        let Section { kind, group, entries, ref bytes } = *section;
        if kind != self.kind {
            return Err(CodecError::WrongKind { expected: self.kind, found: kind });
        }
        if group >= self.groups.count() {
            return Err(CodecError::GroupNotOwned { group });
        }
        let mut input = bytes.as_slice();
        for _ in 0..entries {
            let (at, sequence): (i64, u64) = decode(&mut input)?;
            let key: K = decode(&mut input)?;
            let hash = hash_key(&key);
            let found = self.groups.group_of(hash);
            if found != group {
                return Err(CodecError::WrongGroup { type_name: type_name::<K>(), expected: group, found });
            }
            let due = Due { at, group, sequence };
            if self.order.contains_key(&due) || self.find(at, hash, &key).is_some() {
                return Err(CodecError::Duplicate { kind, group });
            }
            self.insert(Timer { due, hash, epoch: self.epoch, key });
            self.next_sequence = self.next_sequence.max(sequence.saturating_add(1));
        }
        if input.is_empty() { Ok(()) } else { Err(CodecError::Trailing { bytes: input.len() }) }
    }

    /// The slot of a timer in the index, if it is there.
    #[inline]
    fn find(&self, at: i64, hash: u64, key: &K) -> Option<Slot> {
        let found = self.index.find(mix(at, hash), |place| {
            let timer = self.timer(place.get());
            timer.due.at == at && timer.hash == hash && timer.key == *key
        });
        found.ok()
    }

    #[inline]
    fn timer(&self, place: u32) -> &Timer<K> {
        self.places[place as usize].as_ref().expect("the index and the order name occupied places")
    }

    fn insert(&mut self, timer: Timer<K>) {
        let due = timer.due;
        let tag = mix(due.at, timer.hash);
        let place = if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(timer);
            place
        } else {
            let place = u32::try_from(self.places.len()).expect("an instance has fewer than 2^32 timers");
            self.places.push(Some(timer));
            place
        };
        self.index.insert(Place::new(tag, place));
        self.order.insert(due, place);
    }

    /// Removes the timer that is in `slot` of the index, and writes it first if a running snapshot doesn't have it yet.
    fn remove(&mut self, slot: Slot) -> Timer<K> {
        let place = self.index.remove(slot).get();
        let mut timer = self.places[place as usize].take().expect("the index names occupied places");
        self.free.push(place);
        self.order.remove(&timer.due);
        if self.unvisited.is_some() && !bug::is(Bug::RemovedTimerNotWrittenBefore) {
            write_once(&mut self.sections, self.epoch, &mut timer);
        }
        timer
    }
}

/// Writes a timer unless this snapshot has it already, and returns what that costs of a slice's budget.
fn write_once<K: Key>(sections: &mut SectionWriter, epoch: NonZeroU32, timer: &mut Timer<K>) -> usize {
    if timer.epoch == epoch {
        return 0;
    }
    timer.epoch = epoch;
    sections.write(timer.due.group, |out| {
        encode(&(timer.due.at, timer.due.sequence), out)?;
        encode(&timer.key, out)
    })
}
