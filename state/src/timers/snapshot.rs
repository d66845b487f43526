//! Writing timers out while they come and go.
//!
//! A timer never changes, so that a snapshot has to hold those that were registered before it began, and an addition
//! only those that were registered since the snapshot that it adds to, and which ones are gone.

use std::any::type_name;
use std::ops::Range;

use super::{Timer, TimerQueue, saved};
use crate::bug::{self, Bug};
use crate::history::Additions;
use crate::snapshot::SectionWriter;
use crate::{CodecError, Key, Section, SliceProgress, TableKey, encode, hash_key};

/// So many timers that are gone are told one by one in any case, before that takes too much memory: a timer that fires
/// is nothing unusual, and a full snapshot is one of all keys, not only of timers.
pub(super) const REMOVED_AT_LEAST: usize = 1024 * 1024;

/// How far a snapshot is, and what it holds.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// The places that it has not visited.
    places: Range<usize>,
    /// It holds those that were registered in this epoch or later.
    since: u32,
    /// Those that are gone and not written yet.
    removed: Range<usize>,
}

impl Running {
    /// Whether a timer is part of the snapshot that began with `epoch` and was not written yet.
    fn lacks<K>(&self, place: usize, timer: &Timer<K>, epoch: u32) -> bool {
        place >= self.places.start && timer.epoch >= self.since && timer.epoch < epoch
    }
}

impl<K: Key> TimerQueue<K> {
    /// What the next snapshot could add to; `None` if it has to hold everything.
    pub fn additions(&self) -> Option<Additions> {
        self.saving.additions()
    }

    /// Begins a snapshot of the timers as they are now, for this checkpoint; of all of them if `all` says so. One that
    /// is still running is aborted. Returns the checkpoint whose snapshot it is an addition to; `None` if it is
    /// complete in itself.
    pub fn begin_snapshot(&mut self, checkpoint: u64, all: bool) -> Option<u64> {
        self.abort_snapshot();
        self.epoch += 1;
        let (extent, removed) = self.saving.begin(checkpoint, self.epoch, all);
        self.running = Some(Running { places: 0..self.places.len(), since: extent.since, removed });
        extent.base
    }

    /// Visits up to `timers` places of timers (at least one) and writes those not written yet.
    ///
    /// # Errors
    /// If a key could not be encoded, now or when its timer was removed. The snapshot is over then.
    pub fn snapshot_slice(&mut self, timers: usize) -> Result<SliceProgress, CodecError> {
        let Some(mut running) = self.running.take() else { return Ok(SliceProgress::Done) };
        let mut budget = timers.max(1);
        self.saving.write_removed(&mut running.removed, &mut budget, |removals, due| {
            removals.write(due.group, |out| saved::write_due(due.at, due.sequence, out))
        });
        while budget > 0 && running.places.start < running.places.end {
            let place = running.places.start;
            let cost = match &self.places[place] {
                Some(timer) if running.lacks(place, timer, self.epoch) => {
                    write(&mut self.saving.sections, timer)
                }
                _ => 0,
            };
            running.places.start += 1;
            budget = budget.saturating_sub(1 + cost);
        }
        let is_done = running.removed.is_empty() && running.places.is_empty();
        self.running = Some(running);
        if let Err(error) = self.saving.check() {
            self.abort_snapshot();
            return Err(error);
        }
        if !is_done {
            return Ok(SliceProgress::More);
        }
        self.running = None;
        self.saving.close_all();
        Ok(SliceProgress::Done)
    }

    /// What the running snapshot has written and nobody has taken yet, and all of it once the snapshot is done.
    /// Sections that may still grow are held back until then.
    pub fn take_sections(&mut self) -> Vec<Section> {
        self.saving.take()
    }

    /// Gives up the running snapshot, if there is one, and what it has written.
    pub fn abort_snapshot(&mut self) {
        self.saving.abort(self.running.take().is_some());
    }

    /// The checkpoint is complete: later snapshots may be additions to it.
    pub fn complete(&mut self, checkpoint: u64) {
        self.saving.complete(checkpoint);
    }

    /// The next snapshot holds everything, as what it would add to is lost.
    pub fn save_all(&mut self) {
        self.saving.save_all();
    }

    /// Saves changes however many they are, rather than everything when that is cheaper: for tests with few timers.
    #[doc(hidden)]
    pub fn always_save_changes(&mut self) {
        self.saving.always_save_changes();
    }

    /// A timer was removed: the running snapshot gets it if it has not got it yet, and the next addition has to tell.
    pub(super) fn is_gone(&mut self, place: u32, timer: &Timer<K>) {
        if let Some(running) = &self.running
            && running.lacks(place as usize, timer, self.epoch)
            && !bug::is(Bug::RemovedTimerNotWrittenBefore)
        {
            write(&mut self.saving.sections, timer);
        }
        // No snapshot has one that was registered in this epoch.
        if timer.epoch == self.epoch
            || !self.saving.needs_removals(true)
            || bug::is(Bug::RemovedTimersNotSaved)
        {
            return;
        }
        let there = self.len();
        self.saving.is_gone(self.epoch, timer.due, there, self.running.is_some());
    }
}

/// Writes a timer, and returns what that costs of a slice's budget.
fn write<K: Key>(sections: &mut SectionWriter, timer: &Timer<K>) -> usize {
    let Timer { due, key, hash, .. } = timer;
    let is_due = sections.is_due();
    sections.write(due.group, |out| {
        if hash_key(key) != *hash {
            return Err(CodecError::UnstableKey { type_name: type_name::<K>() });
        }
        saved::write_due(due.at, due.sequence, out)?;
        let start = out.len();
        encode(key, out)?;
        if is_due { key.read_back(&out[start..]) } else { Ok(()) }
    })
}
