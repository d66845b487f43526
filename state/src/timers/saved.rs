//! Timers as snapshots have them.
//!
//! One is its timestamp and the number of its registration, which with its key group tell it from all others, and its
//! key; one that is gone has no key.

use std::any::type_name;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::{Due, Timer, TimerQueue, removals_of};
use crate::{CodecError, Key, SavedInstance, Section, SectionKind, decode, encode, hash_key};

impl<K: Key> TimerQueue<K> {
    /// Adds the timers that instances have saved. `takes` says whether those of a key group are wanted, of the instance
    /// with this number. Not to be called after a snapshot was begun.
    ///
    /// # Errors
    /// If a section is of a group that doesn't exist, does not decode, or holds a timer whose key hashes into another
    /// group or that is there already. The queue is to be thrown away then.
    pub fn restore(
        &mut self,
        saved: &[SavedInstance],
        takes: impl Fn(usize, u16) -> bool,
    ) -> Result<(), CodecError> {
        let kind = self.kind;
        for (writer, saved) in saved.iter().enumerate() {
            for layer in saved.layers() {
                let mine = || layer.iter().filter(|section| takes(writer, section.group));
                for section in mine().filter(|section| section.kind == removals_of(kind)) {
                    self.restore_removed(section)?;
                }
                for section in mine().filter(|section| section.kind == kind) {
                    self.restore_section(section)?;
                }
            }
        }
        Ok(())
    }

    fn restore_section(&mut self, section: &Section) -> Result<(), CodecError> {
        let Section { kind, group, entries, ref bytes } = *section;
        if group >= self.groups.count() {
            return Err(CodecError::GroupNotOwned { group });
        }
        let mut input = bytes.as_slice();
        for _ in 0..entries {
            let due = read_due(group, &mut input)?;
            let key: K = decode(&mut input)?;
            let hash = hash_key(&key);
            let found = self.groups.group_of(hash);
            if found != group {
                return Err(CodecError::WrongGroup { type_name: type_name::<K>(), expected: group, found });
            }
            if self.order.contains_key(&due) || self.find(due.at, hash, &key).is_some() {
                return Err(CodecError::Duplicate { kind, group });
            }
            self.insert(Timer { due, hash, epoch: self.epoch, key });
            self.next_sequence = self.next_sequence.max(due.sequence.saturating_add(1));
        }
        at_end(input)
    }

    /// Removes those of a section. One that is not there was registered and removed between two snapshots.
    fn restore_removed(&mut self, section: &Section) -> Result<(), CodecError> {
        let mut input = section.bytes.as_slice();
        for _ in 0..section.entries {
            let due = read_due(section.group, &mut input)?;
            if let Some(&place) = self.order.get(&due)
                && let Some(slot) = self.slot_of(place)
            {
                self.remove(slot);
            }
        }
        at_end(input)
    }
}

/// A timer of a snapshot, with its key as it is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedTimer {
    /// When it fires, in milliseconds.
    pub at: i64,
    /// The key group of its key.
    pub group: u16,
    /// The number of its registration: of those of a key group at the same time, the lowest fires first.
    pub sequence: u64,
    /// The encoded key.
    pub key: Vec<u8>,
}

impl SavedTimer {
    /// As an entry of a section.
    ///
    /// # Errors
    /// None that are known.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        encode(&(self.at, self.sequence), out)?;
        out.extend_from_slice(&self.key);
        Ok(())
    }
}

/// The timers of a kind that an instance has saved, in the order in which they fire.
///
/// # Errors
/// If a section does not decode.
pub fn saved_timers(saved: &SavedInstance, kind: SectionKind) -> Result<Vec<SavedTimer>, CodecError> {
    let mut timers = BTreeMap::new();
    for layer in saved.layers() {
        for section in layer.iter().filter(|section| section.kind == removals_of(kind)) {
            let mut input = section.bytes.as_slice();
            for _ in 0..section.entries {
                timers.remove(&read_due(section.group, &mut input)?);
            }
            at_end(input)?;
        }
        for section in layer.iter().filter(|section| section.kind == kind) {
            let mut input = section.bytes.as_slice();
            for _ in 0..section.entries {
                let due = read_due(section.group, &mut input)?;
                let before = input;
                decode::<IgnoredAny>(&mut input)?;
                timers.insert(due, before[..before.len() - input.len()].to_vec());
            }
            at_end(input)?;
        }
    }
    let timer = |(Due { at, group, sequence }, key)| SavedTimer { at, group, sequence, key };
    Ok(timers.into_iter().map(timer).collect())
}

/// Writes what tells a timer from all others: all that there is of one that is gone.
pub(super) fn write_due(at: i64, sequence: u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
    encode(&(at, sequence), out)
}

fn read_due(group: u16, input: &mut &[u8]) -> Result<Due, CodecError> {
    let (at, sequence) = decode(input)?;
    Ok(Due { at, group, sequence })
}

fn at_end(input: &[u8]) -> Result<(), CodecError> {
    if input.is_empty() { Ok(()) } else { Err(CodecError::Trailing { bytes: input.len() }) }
}
