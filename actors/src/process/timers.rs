//! The timers of an instance, of both clocks.

use watershed_state::bug::{self, Bug};
use watershed_state::{
    Additions, CodecError, Key, KeyGroups, SavedInstance, Section, SectionKind, SliceProgress, TimerQueue,
};

use crate::process::TimerKind;

/// The timers of an instance.
#[derive(Debug)]
pub(crate) struct TimerService<K> {
    pub(crate) event: TimerQueue<K>,
    pub(crate) processing: TimerQueue<K>,
    /// What the record in process has changed, if it may have to be taken back.
    changes: Vec<TimerChange>,
    /// Whether it may.
    keeps: bool,
}

/// A timer of the key at hand was set, or deleted.
#[derive(Debug, Clone, Copy)]
struct TimerChange {
    kind: TimerKind,
    at: i64,
    was_set: bool,
}

impl<K: Key> TimerService<K> {
    /// Without timers.
    pub(crate) fn new(groups: KeyGroups) -> Self {
        Self {
            event: TimerQueue::new(SectionKind::EventTimers, groups),
            processing: TimerQueue::new(SectionKind::ProcessingTimers, groups),
            changes: Vec::new(),
            keeps: false,
        }
    }

    /// Adds those that instances have saved, as [`TimerQueue::restore`] tells.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn restore(
        &mut self,
        saved: &[SavedInstance],
        takes: impl Fn(usize, u16) -> bool,
    ) -> Result<(), CodecError> {
        self.event.restore(saved, &takes)?;
        self.processing.restore(saved, &takes)
    }

    /// What the next snapshot could add to, of either clock.
    pub(crate) fn additions(&self) -> [Option<Additions>; 2] {
        [self.event.additions(), self.processing.additions()]
    }

    /// Begins a snapshot for this checkpoint, of all timers if `all` says so. Returns the checkpoints that the
    /// snapshots of either clock add to.
    pub(crate) fn begin_snapshot(&mut self, checkpoint: u64, all: bool) -> [Option<u64>; 2] {
        [&mut self.event, &mut self.processing].map(|queue| queue.begin_snapshot(checkpoint, all))
    }

    /// Visits so many more places of timers.
    ///
    /// # Errors
    /// As [`TimerQueue::snapshot_slice`].
    pub(crate) fn snapshot_slice(&mut self, timers: usize) -> Result<SliceProgress, CodecError> {
        match self.event.snapshot_slice(timers)? {
            SliceProgress::More => Ok(SliceProgress::More),
            SliceProgress::Done => self.processing.snapshot_slice(timers),
        }
    }

    /// What has been written since the last call.
    pub(crate) fn take_sections(&mut self) -> Vec<Section> {
        let mut sections = self.event.take_sections();
        sections.extend(self.processing.take_sections());
        if bug::is(Bug::TimersNotSaved) { Vec::new() } else { sections }
    }

    /// Gives the snapshot up.
    pub(crate) fn abort_snapshot(&mut self) {
        self.event.abort_snapshot();
        self.processing.abort_snapshot();
    }

    /// The checkpoint is complete.
    pub(crate) fn complete(&mut self, checkpoint: u64) {
        self.event.complete(checkpoint);
        self.processing.complete(checkpoint);
    }

    /// The next snapshot holds everything.
    pub(crate) fn save_all(&mut self) {
        self.event.save_all();
        self.processing.save_all();
    }

    /// Saves changes however many they are: for tests with few timers.
    pub(crate) fn always_save_changes(&mut self) {
        self.event.always_save_changes();
        self.processing.always_save_changes();
    }

    fn queue(&mut self, kind: TimerKind) -> &mut TimerQueue<K> {
        match kind {
            TimerKind::EventTime => &mut self.event,
            TimerKind::ProcessingTime => &mut self.processing,
        }
    }

    /// Sets a timer of the key at hand.
    pub(crate) fn register(&mut self, kind: TimerKind, at: i64, hash: u64, key: &K) {
        if self.queue(kind).register(at, hash, key) && self.keeps {
            self.changes.push(TimerChange { kind, at, was_set: true });
        }
    }

    /// Deletes a timer of the key at hand.
    pub(crate) fn delete(&mut self, kind: TimerKind, at: i64, hash: u64, key: &K) {
        if self.queue(kind).delete(at, hash, key) && self.keeps {
            self.changes.push(TimerChange { kind, at, was_set: false });
        }
    }

    /// Says whether what the next records change may have to be taken back.
    pub(crate) fn keep(&mut self, keeps: bool) {
        self.keeps = keeps;
        self.changes.clear();
    }

    /// From here on, changes belong to one record and can be taken back.
    #[inline]
    pub(crate) fn begin_record(&mut self) {
        self.changes.clear();
    }

    /// Takes back what was changed since [`TimerService::begin_record`], the last change first.
    pub(crate) fn take_back(&mut self, hash: u64, key: &K) {
        while let Some(TimerChange { kind, at, was_set }) = self.changes.pop() {
            if was_set {
                self.queue(kind).delete(at, hash, key);
            } else {
                self.queue(kind).register(at, hash, key);
            }
        }
    }
}
