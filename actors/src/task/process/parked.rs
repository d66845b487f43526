//! Keys that wait for a dead letter: their records and timers queue up, so that their order stays whole.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use watershed_state::{
    CodecError, Data, Key, KeyGroups, Sampler, Section, SectionKind, decode, encode_for_keeps,
};

use crate::process::TimerKind;

/// What waits, by the hash of its key. (Should two keys have one hash, the other one waits too: nothing is lost.)
#[derive(Debug)]
pub(super) struct Parked<T, K> {
    keys: BTreeMap<u64, ParkedKey<T, K>>,
    waiting: usize,
}

/// The queue of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "T: Data, K: Key")]
struct ParkedKey<T, K> {
    hash: u64,
    /// The letter that it waits for.
    letter: String,
    queue: VecDeque<Waiting<T, K>>,
}

/// Something that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "T: Data, K: Key")]
pub(super) enum Waiting<T, K> {
    /// A record with its event time.
    Record { record: T, at: i64 },
    /// A timer that has come due.
    Timer { key: K, kind: TimerKind, at: i64 },
}

impl<T: Data, K: Key> Parked<T, K> {
    pub(super) fn new() -> Self {
        Self { keys: BTreeMap::new(), waiting: 0 }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Records and timers of all keys.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.keys.contains_key(&hash)
    }

    /// Lets a key wait for this letter; one that waits already waits for this one instead.
    pub(super) fn park(&mut self, hash: u64, letter: String) {
        let fresh = || ParkedKey { hash, letter: String::new(), queue: VecDeque::new() };
        self.keys.entry(hash).or_insert_with(fresh).letter = letter;
    }

    /// Adds to the queue of a key.
    pub(super) fn push(&mut self, hash: u64, waiting: Waiting<T, K>) {
        if let Some(key) = self.keys.get_mut(&hash) {
            key.queue.push_back(waiting);
            self.waiting += 1;
        }
    }

    /// Whether a key waits for this letter.
    pub(super) fn waits_for(&self, hash: u64, letter: &str) -> bool {
        self.keys.get(&hash).is_some_and(|key| key.letter == letter)
    }

    /// The letter that a key waits for.
    pub(super) fn letter_of(&self, hash: u64) -> Option<&str> {
        self.keys.get(&hash).map(|key| &*key.letter)
    }

    /// The keys that wait for letters of which `is_done` says that they are done.
    pub(super) fn waiting_for(&self, is_done: impl Fn(&str) -> bool) -> impl Iterator<Item = u64> {
        self.keys.values().filter(move |key| is_done(&key.letter)).map(|key| key.hash)
    }

    /// Takes the first of the queue of a key; with the last one gone, the key no longer waits.
    pub(super) fn pop(&mut self, hash: u64) -> Option<Waiting<T, K>> {
        let next = self.keys.get_mut(&hash)?.queue.pop_front();
        match next {
            Some(_) => self.waiting -= 1,
            None => {
                self.keys.remove(&hash);
            }
        }
        next
    }

    /// One section for each key group that has a key waiting.
    pub(super) fn save(&self, groups: KeyGroups) -> Result<Vec<Section>, CodecError> {
        let mut sections: BTreeMap<u16, Section> = BTreeMap::new();
        let mut sampler = Sampler::default();
        for key in self.keys.values() {
            let group = groups.group_of(key.hash);
            let fresh = || Section { kind: SectionKind::Parked, group, entries: 0, bytes: Vec::new() };
            let section = sections.entry(group).or_insert_with(fresh);
            section.entries += 1;
            encode_for_keeps(key, &mut section.bytes, &mut sampler)?;
        }
        Ok(sections.into_values().collect())
    }

    pub(super) fn restore(&mut self, section: &Section) -> Result<(), CodecError> {
        let mut bytes = section.bytes.as_slice();
        for _ in 0..section.entries {
            let key: ParkedKey<T, K> = decode(&mut bytes)?;
            self.waiting += key.queue.len();
            self.keys.insert(key.hash, key);
        }
        Ok(())
    }
}
