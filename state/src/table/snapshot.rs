//! Writing a table out while it goes on changing.

use std::ops::Range;

use super::ordered::TAGS;
use super::{Entry, KeyedTable, Places, Slot, Stamp, TableKey, TableState};
use crate::bug::{self, Bug};
use crate::database::Link;
use crate::history::Additions;
use crate::snapshot::SectionWriter;
use crate::{CodecError, Section, SliceProgress};

/// So many removed keys are told one by one in any case, before that costs more than to write everything anew.
pub(super) const REMOVED_AT_LEAST: usize = 16 * 1024;

/// How far a snapshot is.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// All entries with a lower tag are written.
    tag: u64,
    /// The first group that may still get entries.
    group: u16,
    /// Which entries it holds.
    holds: Holds,
    /// The removed keys that are not written yet.
    removed: Range<usize>,
}

/// Which of the entries that were there when it began a snapshot holds.
#[derive(Clone, Copy, Debug)]
enum Holds {
    /// Those that were changed in this epoch or later.
    ChangedSince(u32),
    /// Those that the database below does not have, as the database is part of the snapshot, and that were changed in
    /// this epoch or later.
    DirtySince(u32),
}

impl Running {
    #[cfg(test)]
    pub(super) fn tag(&self) -> u64 {
        self.tag
    }

    /// Whether an entry is part of the snapshot and has not been written yet.
    #[inline]
    fn lacks<K, S>(&self, entry: &Entry<K, S>, epoch: u32) -> bool {
        let there = entry.stamp.epoch() < epoch || bug::is(Bug::LaterEntryWritten);
        there
            && u64::from(entry.tag) >= self.tag
            && match self.holds {
                Holds::ChangedSince(since) => entry.stamp.epoch() >= since,
                Holds::DirtySince(since) => entry.stamp.is_dirty() && entry.stamp.epoch() >= since,
            }
    }
}

/// What a snapshot consists of, besides the sections that are written from now on.
#[derive(Debug)]
pub struct SnapshotBegun {
    /// The checkpoint whose snapshot it is an addition to; `None` if it is complete in itself.
    pub base: Option<u64>,
    /// The copy of the database below that belongs to it.
    pub link: Option<Link>,
}

impl<K: TableKey, S: TableState> KeyedTable<K, S> {
    /// Begins a snapshot of the state as it is now, for this checkpoint. One that is still running is aborted.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    pub fn begin_snapshot(&mut self, checkpoint: u64) -> SnapshotBegun {
        self.begin_snapshot_with(checkpoint, Additions::are_enough([self.additions()]))
    }

    /// What the next snapshot could add to; `None` if it has to hold everything.
    pub fn additions(&self) -> Option<Additions> {
        self.saving.additions().filter(|_| self.can_be_added_to())
    }

    /// As [`begin_snapshot`](Self::begin_snapshot), of everything if `all` says so: tables that are saved together are
    /// saved in the same way, so that their snapshots are additions to the same one.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    pub fn begin_snapshot_with(&mut self, checkpoint: u64, all: bool) -> SnapshotBegun {
        self.abort_snapshot();
        self.epoch += 1;
        self.touched = Stamp::changed(self.epoch);
        let all = all || !self.can_be_added_to();
        let (extent, removed) = self.saving.begin(checkpoint, self.epoch, all);
        let since = extent.since;
        let holds = if self.below.is_some() { Holds::DirtySince(since) } else { Holds::ChangedSince(since) };
        self.running = Some(Running { tag: 0, group: self.owned.start, holds, removed });
        let link = self.begin_link(checkpoint);
        SnapshotBegun { base: extent.base, link }
    }

    /// Visits up to `slots` slots (at least one, and on to the next that is vacant) and writes what was not written
    /// yet. Long entries count for more, so that the time of a slice doesn't depend on the size of a state.
    ///
    /// # Errors
    /// If an entry could not be encoded, now or when it was about to change. The snapshot is over then.
    pub fn snapshot_slice(&mut self, slots: usize) -> Result<SliceProgress, CodecError> {
        let Some(mut running) = self.running.take() else {
            return Ok(SliceProgress::Done);
        };
        let (mut budget, groups) = (slots.max(1), self.groups);
        self.saving.write_removed(&mut running.removed, &mut budget, |removals, key| {
            removals.write(groups.group_of(key.place()), |out| key.write(out))
        });
        let tag = if budget == 0 { running.tag } else { self.visit(&running, budget) };
        if let Err(error) = self.saving.check() {
            self.running = Some(running);
            self.abort_snapshot();
            return Err(error);
        }
        if tag == TAGS {
            self.saving.close_all();
            return Ok(SliceProgress::Done);
        }
        // The last tag of a group may be the first of the next one, too. Entries that are not spread are of all groups.
        while K::IS_SPREAD && tag > self.span.first_tag(self.groups, running.group + 1) {
            self.saving.sections.close(running.group);
            running.group += 1;
        }
        running.tag = tag;
        self.running = Some(running);
        Ok(SliceProgress::More)
    }

    /// What the running snapshot has written and nobody has taken yet, and all of it once the snapshot is done.
    /// A group that is still being written may be held back until its section is large enough.
    pub fn take_sections(&mut self) -> Vec<Section> {
        self.saving.take()
    }

    /// Gives up the running snapshot, if there is one, and what it has written.
    pub fn abort_snapshot(&mut self) {
        self.saving.abort(self.running.take().is_some());
    }

    /// The next snapshot holds everything, as what it would add to is lost.
    pub fn save_all(&mut self) {
        self.saving.save_all();
        self.save_all_below();
    }

    /// Saves changes however many they are, rather than everything when that is cheaper: for tests with little state.
    #[doc(hidden)]
    pub fn always_save_changes(&mut self) {
        self.saving.always_save_changes();
    }

    /// The checkpoint is complete: later snapshots may be additions to it.
    pub fn complete(&mut self, checkpoint: u64) {
        self.complete_below(checkpoint);
        if let Some(epoch) = self.saving.complete(checkpoint) {
            self.completed_below(epoch);
        }
    }

    fn visit(&mut self, running: &Running, mut budget: usize) -> u64 {
        let places = self.places();
        let Self { entries, saving, epoch, below, .. } = self;
        entries.visit(running.tag, |entry| {
            let cost = match entry {
                Some(entry) if running.lacks(entry, *epoch) => {
                    let (cost, bytes) = write(&mut saving.sections, places, entry);
                    if let Some(cache) = below {
                        cache.gauge.measured::<K, S>(bytes);
                    }
                    cost
                }
                _ => 0,
            };
            budget = budget.saturating_sub(1 + cost);
            budget > 0
        })
    }

    /// Writes an entry that is about to be changed or to go, if the running snapshot still needs it.
    #[inline(never)]
    pub(super) fn before_change(&mut self, slot: Slot) {
        let places = self.places();
        let Self { entries, saving, epoch, running, .. } = self;
        write_before(running.as_ref(), &mut saving.sections, places, *epoch, entries.at(slot));
    }

    pub(super) fn note_removal(&mut self, key: K) {
        if bug::is(Bug::RemovedKeysNotSaved) {
            return;
        }
        let there = self.entries.len();
        self.saving.is_gone(self.epoch, key, there, self.running.is_some());
    }
}

/// Writes an entry that is about to be changed or to go, if the running snapshot still needs it.
pub(super) fn write_before<K: TableKey, S: TableState>(
    running: Option<&Running>,
    sections: &mut SectionWriter,
    places: Places,
    epoch: u32,
    entry: &Entry<K, S>,
) {
    if bug::is(Bug::ChangedEntryNotWrittenBefore) {
        return;
    }
    if running.is_some_and(|running| running.lacks(entry, epoch)) {
        write(sections, places, entry);
    }
}

/// Writes an entry, and returns what that costs of a slice's budget, and its bytes. Some are read back.
fn write<K: TableKey, S: TableState>(
    sections: &mut SectionWriter,
    places: Places,
    entry: &Entry<K, S>,
) -> (usize, usize) {
    let (place, is_due) = (entry.key.place(), sections.is_due());
    let mut bytes = 0;
    let cost = sections.write(places.groups.group_of(place), |out| {
        places.check(entry, place)?;
        let before = out.len();
        entry.key.write(out)?;
        let key_bytes = out.len() - before;
        entry.state.write(out)?;
        let written = &out[before..];
        bytes = written.len();
        if is_due { read_back(entry, written, key_bytes) } else { Ok(()) }
    });
    (cost, bytes)
}

/// Checks that an entry is read back as it was written: its key so many bytes long, and then its state.
#[cold]
pub(super) fn read_back<K: TableKey, S: TableState>(
    entry: &Entry<K, S>,
    written: &[u8],
    key_bytes: usize,
) -> Result<(), CodecError> {
    let (key, state) = written.split_at(key_bytes);
    entry.key.read_back(key)?;
    entry.state.read_back(state)
}
