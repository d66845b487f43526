//! Timers: a set of (timestamp, key) that fires in a fixed order and is part of every snapshot.
//!
//! A timer lives in a place that doesn't change until it is removed. An ordered map from when it fires to
//! its place says what is next; a hash table finds the place of a timer that is registered again or deleted. A snapshot
//! visits the places one after the other, as a [`KeyedTable`](crate::KeyedTable) visits its slots.

mod saved;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

pub use saved::{SavedTimer, saved_timers};
use snapshot::Running;

use crate::hash::mix;
use crate::history;
use crate::saving::Saving;
use crate::table::{OrderedTable, Slot, Tagged};
use crate::{Key, KeyGroups, SectionKind};

/// The timers of an operator instance, of one kind. Timestamps are milliseconds, hashes those of
/// [`hash_key`](crate::hash_key).
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
    epoch: u32,
    /// The snapshot that is being written.
    running: Option<Running>,
    saving: Saving<Due>,
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
    /// The epoch in which it was registered.
    epoch: u32,
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
    /// An empty queue whose snapshots are sections of `kind`, which is that of timers.
    pub fn new(kind: SectionKind, groups: KeyGroups) -> Self {
        Self {
            kind,
            groups,
            order: BTreeMap::new(),
            places: Vec::new(),
            free: Vec::new(),
            index: OrderedTable::default(),
            next_sequence: 0,
            epoch: history::FIRST,
            running: None,
            saving: Saving::new((kind, removals_of(kind)), snapshot::REMOVED_AT_LEAST),
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
        let timer = self.remove(self.slot_of(place)?);
        Some((due.at, timer.hash, timer.key))
    }

    /// The number of timers.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is no timer.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
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

    /// The slot in the index that names this place, which is occupied.
    fn slot_of(&self, place: u32) -> Option<Slot> {
        let Timer { due, hash, .. } = self.timer(place);
        // The index and the order name the same timers, so that there always is one.
        self.index.find(mix(due.at, *hash), |other| other.get() == place).ok()
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

    /// Removes the timer that is in `slot` of the index.
    fn remove(&mut self, slot: Slot) -> Timer<K> {
        let place = self.index.remove(slot).get();
        let timer = self.places[place as usize].take().expect("the index names occupied places");
        self.free.push(place);
        self.order.remove(&timer.due);
        self.is_gone(place, &timer);
        timer
    }
}

/// What the sections are that name timers of this kind that are gone.
fn removals_of(kind: SectionKind) -> SectionKind {
    if kind == SectionKind::EventTimers {
        SectionKind::RemovedEventTimers
    } else {
        SectionKind::RemovedProcessingTimers
    }
}
