//! Writing a table out while it goes on changing.

use super::ordered::TAGS;
use super::{Entry, KeyedTable, Slot, Stamp, TableKey, TableState};
use crate::bug::{self, Bug};
use crate::database::Link;
use crate::history::Additions;
use crate::snapshot::SectionWriter;
use crate::{CodecError, KeyGroups, Section, SliceProgress};

/// So many removed keys are told one by one in any case.
const REMOVED_AT_LEAST: usize = 16 * 1024;

/// How far a snapshot is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    /// All entries with a lower tag are written.
    tag: u64,
    /// The first group that may still get entries.
    group: u16,
    /// Which entries it holds.
    holds: Holds,
    /// The removed keys that are not written yet.
    removed: (usize, usize),
}

/// Which of the entries that were there when it began a snapshot holds.
#[derive(Clone, Copy, Debug)]
enum Holds {
    /// Those that were changed in this epoch or later.
    ChangedSince(u32),
    /// Those that the database below does not have, as the database is part of the snapshot, and that were changed in this
    /// epoch or later.
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
        self.history.additions().filter(|_| self.can_be_added_to())
    }

    /// As [`begin_snapshot`](Self::begin_snapshot), of everything if `all` says so: tables that are saved together are saved
    /// in the same way, so that their snapshots are additions to the same one.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    pub fn begin_snapshot_with(&mut self, checkpoint: u64, all: bool) -> SnapshotBegun {
        self.abort_snapshot();
        self.epoch += 1;
        self.touched = Stamp::changed(self.epoch);
        let extent = self.history.begin(checkpoint, self.epoch, all || !self.can_be_added_to());
        let since = extent.since;
        let holds = if self.below.is_some() { Holds::DirtySince(since) } else { Holds::ChangedSince(since) };
        // Until it is complete, the one before it may be added to, and needs those that are gone.
        let removed = (0, if extent.base.is_some() { self.removed.len() } else { 0 });
        self.running = Some(Running { tag: 0, group: self.owned.start, holds, removed });
        let link = self.begin_link(checkpoint);
        SnapshotBegun { base: extent.base, link }
    }

    /// Visits up to `slots` slots (at least one, and on to the next that is vacant) and writes what was not written yet.
    /// Long entries count for more, so that the time of a slice doesn't depend on the size of a state.
    ///
    /// # Errors
    /// If an entry could not be encoded, now or when it was about to change. The snapshot is over then.
    pub fn snapshot_slice(&mut self, slots: usize) -> Result<SliceProgress, CodecError> {
        let Some(mut running) = self.running else {
            return Ok(SliceProgress::Done);
        };
        let mut budget = slots.max(1);
        self.write_removed(&mut running, &mut budget);
        let tag = if budget == 0 { running.tag } else { self.visit(&running, budget) };
        if let Err(error) = self.sections.check().and(self.removals.check()) {
            self.abort_snapshot();
            return Err(error);
        }
        if tag == TAGS {
            self.running = None;
            self.sections.close_all();
            self.removals.close_all();
            return Ok(SliceProgress::Done);
        }
        // The last tag of a group may be the first of the next one, too. Entries that are not spread are of all groups.
        while K::IS_SPREAD && tag > self.span.first_tag(self.groups, running.group + 1) {
            self.sections.close(running.group);
            running.group += 1;
        }
        running.tag = tag;
        self.running = Some(running);
        Ok(SliceProgress::More)
    }

    /// What the running snapshot has written and nobody has taken yet, and all of it once the snapshot is done.
    /// A group that is still being written may be held back until its section is large enough.
    pub fn take_sections(&mut self) -> Vec<Section> {
        let mut sections = self.sections.take();
        sections.extend(self.removals.take());
        self.history.wrote(sections.iter().map(|section| section.bytes.len() as u64).sum());
        sections
    }

    /// Gives up the running snapshot, if there is one, and what it has written.
    pub fn abort_snapshot(&mut self) {
        if self.running.take().is_some() {
            self.history.give_up();
        }
        self.sections.clear();
        self.removals.clear();
    }

    /// Saves changes however many they are, rather than everything when that is cheaper: for tests with little state.
    #[doc(hidden)]
    pub fn always_save_changes(&mut self) {
        self.history.always_save_changes();
    }

    /// The checkpoint is complete: later snapshots may be additions to it.
    pub fn complete(&mut self, checkpoint: u64) {
        self.complete_below(checkpoint);
        if let Some(epoch) = self.history.complete(checkpoint) {
            self.removed.forget_before(epoch);
            self.completed_below(epoch);
        }
    }

    fn write_removed(&mut self, running: &mut Running, budget: &mut usize) {
        let (next, end) = &mut running.removed;
        while *next < *end && *budget > 0 {
            if let Some(key) = self.removed.get(*next) {
                let group = self.groups.group_of(key.place());
                let cost = self.removals.write(group, |out| key.write(out));
                *budget = budget.saturating_sub(1 + cost);
            }
            *next += 1;
        }
    }

    fn visit(&mut self, running: &Running, mut budget: usize) -> u64 {
        let Self { entries, sections, groups, epoch, below, .. } = self;
        entries.visit(running.tag, |entry| {
            let cost = match entry {
                Some(entry) if running.lacks(entry, *epoch) => {
                    let (cost, bytes) = write(sections, *groups, entry);
                    if let Some(cache) = below {
                        cache.measured::<K, S>(bytes);
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
        let Self { entries, sections, groups, epoch, running, .. } = self;
        write_before(running.as_ref(), sections, *groups, *epoch, entries.at(slot));
    }

    pub(super) fn note_removal(&mut self, key: K) {
        if bug::is(Bug::RemovedKeysNotSaved) {
            return;
        }
        // To tell one by one would cost more than to write everything anew.
        if self.running.is_none() && self.removed.are_too_many(self.entries.len(), REMOVED_AT_LEAST) {
            self.history.forget();
            self.removed.clear();
            return;
        }
        self.removed.push(self.epoch, key);
    }
}

/// Writes an entry that is about to be changed or to go, if the running snapshot still needs it.
pub(super) fn write_before<K: TableKey, S: TableState>(
    running: Option<&Running>,
    sections: &mut SectionWriter,
    groups: KeyGroups,
    epoch: u32,
    entry: &Entry<K, S>,
) {
    if bug::is(Bug::ChangedEntryNotWrittenBefore) {
        return;
    }
    if running.is_some_and(|running| running.lacks(entry, epoch)) {
        write(sections, groups, entry);
    }
}

/// Writes an entry, and returns what that costs of a slice's budget, and its bytes.
fn write<K: TableKey, S: TableState>(
    sections: &mut SectionWriter,
    groups: KeyGroups,
    entry: &Entry<K, S>,
) -> (usize, usize) {
    let mut bytes = 0;
    let cost = sections.write(groups.group_of(entry.key.place()), |out| {
        let before = out.len();
        entry.key.write(out)?;
        entry.state.write(out)?;
        bytes = out.len() - before;
        Ok(())
    });
    (cost, bytes)
}
