//! What a table, or a queue of timers, keeps for the sake of its snapshots.

use std::ops::Range;

use crate::history::{Additions, Extent, History};
use crate::removed::Removed;
use crate::snapshot::SectionWriter;
use crate::{CodecError, Section, SectionKind};

/// Which snapshots there were, what is gone since, and the sections of the one that is being written. `R` is what is
/// told of something that is gone.
#[derive(Debug)]
pub(crate) struct Saving<R> {
    history: History,
    removed: Removed<R>,
    /// So many of those that are gone are told one by one in any case.
    removed_at_least: usize,
    /// What is there.
    pub(crate) sections: SectionWriter,
    /// What is gone, in a snapshot that is an addition.
    pub(crate) removals: SectionWriter,
}

impl<R> Saving<R> {
    /// With the kinds of the sections of what is there, and of what is gone. So many of the latter are told one by one
    /// in any case.
    pub(crate) fn new((there, gone): (SectionKind, SectionKind), removed_at_least: usize) -> Self {
        Self {
            history: History::default(),
            removed: Removed::default(),
            removed_at_least,
            sections: SectionWriter::new(there),
            removals: SectionWriter::new(gone),
        }
    }

    /// What the next snapshot could add to; `None` if it has to hold everything.
    pub(crate) fn additions(&self) -> Option<Additions> {
        self.history.additions()
    }

    /// A snapshot begins for this checkpoint, and with it this epoch. Returns what it has to hold, and which of what is
    /// gone it has to tell.
    pub(crate) fn begin(&mut self, checkpoint: u64, epoch: u32, all: bool) -> (Extent, Range<usize>) {
        let extent = self.history.begin(checkpoint, epoch, all);
        // Until it is complete, the one before it may be added to, and needs those that are gone.
        let removed = if extent.base.is_some() { 0..self.removed.len() } else { 0..0 };
        (extent, removed)
    }

    /// Tells with `write`, which returns its costs, as many of those that are gone as the budget of a slice allows.
    pub(crate) fn write_removed(
        &mut self,
        removed: &mut Range<usize>,
        budget: &mut usize,
        write: impl Fn(&mut SectionWriter, &R) -> usize,
    ) {
        while *budget > 0
            && let Some(at) = removed.next()
        {
            let cost = self.removed.get(at).map_or(0, |gone| write(&mut self.removals, gone));
            *budget = budget.saturating_sub(1 + cost);
        }
    }

    /// The first failure to encode something since the snapshot began, if there was one.
    pub(crate) fn check(&mut self) -> Result<(), CodecError> {
        self.sections.check().and(self.removals.check())
    }

    /// All is written.
    pub(crate) fn close_all(&mut self) {
        self.sections.close_all();
        self.removals.close_all();
    }

    /// What has been written and nobody has taken yet. Sections that may still grow are held back.
    pub(crate) fn take(&mut self) -> Vec<Section> {
        let mut sections = self.sections.take();
        sections.extend(self.removals.take());
        self.history.wrote(sections.iter().map(|section| section.bytes.len() as u64).sum());
        sections
    }

    /// Forgets what has been written, and the snapshot if it was still `running`.
    pub(crate) fn abort(&mut self, running: bool) {
        if running {
            self.history.give_up();
        }
        self.sections.clear();
        self.removals.clear();
    }

    /// This checkpoint is complete. Returns the epoch since which changes count from now on, if it is news.
    pub(crate) fn complete(&mut self, checkpoint: u64) -> Option<u32> {
        let epoch = self.history.complete(checkpoint)?;
        self.removed.forget_before(epoch);
        Some(epoch)
    }

    /// The next snapshot has to hold everything: what it would add to is lost.
    pub(crate) fn save_all(&mut self) {
        self.history.forget();
    }

    /// See [`History::always_save_changes`].
    pub(crate) fn always_save_changes(&mut self) {
        self.history.always_save_changes();
    }

    /// Whether a later snapshot may have to tell what is gone; `adds` is whether it could be an addition if it began
    /// now.
    #[inline]
    pub(crate) fn needs_removals(&self, adds: bool) -> bool {
        self.history.needs_removals(adds)
    }

    #[cfg(test)]
    pub(crate) fn removals_remembered(&self) -> usize {
        self.removed.len()
    }

    /// Something went in this epoch, and a later snapshot has to tell. If more have gone than are `there`, it is to
    /// hold everything instead, unless a snapshot is `running`.
    pub(crate) fn is_gone(&mut self, epoch: u32, gone: R, there: usize, running: bool) {
        if !running && self.removed.are_too_many(there, self.removed_at_least) {
            self.history.forget();
            self.removed.clear();
            return;
        }
        self.removed.push(epoch, gone);
    }
}
