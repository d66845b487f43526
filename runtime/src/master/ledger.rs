//! The checkpoint ledger: which parts of which checkpoint are on disk, as a state machine.

use std::collections::{BTreeMap, BTreeSet};

use watershed_actors::TaskId;
use watershed_state::SavedPart;

/// Follows one checkpoint at a time from its trigger to its manifest.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    phase: Phase,
    /// Checkpoints given up or failed since the last complete one.
    failures: u32,
    completed: u64,
}

#[derive(Debug, Default)]
enum Phase {
    /// None is being made.
    #[default]
    Idle,
    /// Parts are coming in.
    Collecting { checkpoint: Pending, missing: BTreeSet<TaskId> },
    /// All parts are on disk; the manifest is being written.
    Storing { checkpoint: Pending },
}

/// A checkpoint that is not complete.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pending {
    pub(crate) id: u64,
    pub(crate) since_nanos: u64,
    pub(crate) purpose: Purpose,
    pub(crate) parts: BTreeMap<TaskId, Written>,
}

/// A part that is on disk.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    pub(crate) part: SavedPart,
    /// Since the trigger of the checkpoint.
    pub(crate) after_nanos: u64,
}

/// What a checkpoint is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Its time had come.
    Periodic,
    /// All sources have ended: the last one of the job.
    Final,
    /// Somebody wants a savepoint.
    Savepoint,
    /// The job is to go on from it with another parallelism.
    Rescale,
    /// The job is asked to stop: the last one of this process.
    Stop,
}

/// What an acknowledgement leads to.
#[derive(Debug, PartialEq)]
pub(crate) enum Acknowledged {
    /// It belongs to no checkpoint that is being made.
    Ignored,
    /// Others are missing.
    Waiting,
    /// It was the last: the manifest can be written.
    Complete(Pending),
}

impl Ledger {
    /// Begins a checkpoint that these tasks take part in.
    pub(crate) fn begin(&mut self, id: u64, purpose: Purpose, now_nanos: u64, tasks: BTreeSet<TaskId>) {
        debug_assert!(matches!(self.phase, Phase::Idle), "one checkpoint at a time");
        let checkpoint = Pending { id, since_nanos: now_nanos, purpose, parts: BTreeMap::new() };
        self.phase = Phase::Collecting { checkpoint, missing: tasks };
    }

    /// A part is on disk.
    pub(crate) fn acknowledge(
        &mut self,
        task: TaskId,
        id: u64,
        part: SavedPart,
        now_nanos: u64,
    ) -> Acknowledged {
        let Phase::Collecting { checkpoint, missing } = &mut self.phase else { return Acknowledged::Ignored };
        if checkpoint.id != id || !missing.remove(&task) {
            return Acknowledged::Ignored;
        }
        let after_nanos = now_nanos.saturating_sub(checkpoint.since_nanos);
        checkpoint.parts.insert(task, Written { part, after_nanos });
        if !missing.is_empty() {
            return Acknowledged::Waiting;
        }
        let complete = checkpoint.clone();
        self.phase = Phase::Storing { checkpoint: complete.clone() };
        Acknowledged::Complete(complete)
    }

    /// Gives up the checkpoint that is being made, if its parts are still coming in and it is this one. What is being
    /// stored cannot be given up: it may be durable already.
    pub(crate) fn abort(&mut self, id: u64) -> Option<Pending> {
        match &self.phase {
            Phase::Collecting { checkpoint, .. } if checkpoint.id == id => {
                let aborted = checkpoint.clone();
                self.phase = Phase::Idle;
                self.failures += 1;
                Some(aborted)
            }
            _ => None,
        }
    }

    /// The manifest was written, or could not be.
    pub(crate) fn stored(&mut self, id: u64, success: bool) -> Option<Pending> {
        match &self.phase {
            Phase::Storing { checkpoint } if checkpoint.id == id => {
                let stored = checkpoint.clone();
                self.phase = Phase::Idle;
                if success {
                    self.failures = 0;
                    self.completed += 1;
                } else {
                    self.failures += 1;
                }
                Some(stored)
            }
            _ => None,
        }
    }

    /// The checkpoint that is being made and whose parts are coming in.
    pub(crate) fn collecting(&self) -> Option<&Pending> {
        match &self.phase {
            Phase::Collecting { checkpoint, .. } => Some(checkpoint),
            _ => None,
        }
    }

    /// The checkpoint that is being made, whether its parts are coming in or its manifest is being written.
    pub(crate) fn pending(&self) -> Option<&Pending> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Collecting { checkpoint, .. } | Phase::Storing { checkpoint } => Some(checkpoint),
        }
    }

    /// Tasks whose part has not come.
    pub(crate) fn missing(&self) -> impl Iterator<Item = TaskId> + '_ {
        let missing = match &self.phase {
            Phase::Collecting { missing, .. } => Some(missing),
            _ => None,
        };
        missing.into_iter().flatten().copied()
    }

    /// Whether the task takes part in the checkpoint whose parts are coming in.
    pub(crate) fn involves(&self, task: TaskId) -> bool {
        match &self.phase {
            Phase::Collecting { checkpoint, missing } => {
                missing.contains(&task) || checkpoint.parts.contains_key(&task)
            }
            _ => false,
        }
    }

    /// A checkpoint could not even begin.
    pub(crate) fn failed_to_begin(&mut self) {
        self.failures += 1;
    }

    /// Whether a manifest is being written.
    pub(crate) fn is_storing(&self) -> bool {
        matches!(self.phase, Phase::Storing { .. })
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Id of whatever is being made.
    pub(crate) fn current(&self) -> Option<u64> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Collecting { checkpoint, .. } | Phase::Storing { checkpoint } => Some(checkpoint.id),
        }
    }

    /// Checkpoints that failed since the last complete one.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Checkpoints completed in this process.
    pub(crate) fn completed(&self) -> u64 {
        self.completed
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
