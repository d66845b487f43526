//! What outlives the process in a simulated run: what was shown, and what must never come twice.

use std::collections::BTreeMap;

use watershed_actors::TaskId;

use crate::simulate::failure::Violation;
use crate::simulate::journal::{Journal, Note};
use crate::simulate::outputs::Outputs;

/// Everything known of a run so far.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) life: usize,
    pub(crate) journal: Journal,
    pub(crate) outputs: Outputs,
    /// The first promise that was seen broken.
    pub(crate) violation: Option<Violation>,
    /// A number that depends on all that happened.
    pub(crate) trace: u64,
    /// The highest checkpoint id that was ever used, complete or not.
    checkpoint: u64,
    /// The highest one of which it is known that it must not come again.
    spent: u64,
    /// The highest run of earlier processes, and of each task of this one.
    run_before: u64,
    runs: BTreeMap<TaskId, u64>,
    pub(crate) completed: u64,
    /// Operators that were rescaled while the job ran.
    pub(crate) rescaled: u64,
}

impl History {
    /// Another process begins.
    pub(crate) fn begin_life(&mut self, life: usize) {
        self.life = life;
        self.run_before = self.highest_run();
        self.spent = self.checkpoint;
        self.runs.clear();
        self.outputs.begin_life();
    }

    /// The highest run so far.
    pub(crate) fn highest_run(&self) -> u64 {
        self.runs.values().copied().max().unwrap_or(0).max(self.run_before)
    }

    /// Adds a line to the timeline.
    pub(crate) fn note(&mut self, nanos: u64, step: u64, note: Note) {
        self.journal.add(self.life, nanos, step, note);
    }

    /// Folds something that happened into the trace.
    pub(crate) fn trace(&mut self, what: u64) {
        self.trace = (self.trace ^ what).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }

    /// The first broken promise counts; what follows may follow from it.
    pub(crate) fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// A task is launched. Run numbers tell runs apart for ever, so they only rise. Returns whether the run is new.
    pub(crate) fn launched(&mut self, task: TaskId, name: &str, run: u64) -> bool {
        let new = run > self.highest_run();
        let before = self.runs.insert(task, run).unwrap_or(self.run_before);
        if run <= before {
            self.violate(Violation::Broken(format!("{name} is launched in run {run} after run {before}")));
        }
        new
    }

    /// A checkpoint is triggered at a source. Returns whether it is new.
    pub(crate) fn triggered(&mut self, id: u64) -> bool {
        if id <= self.spent {
            self.violate(Violation::Broken(format!(
                "checkpoint {id} begins although that id was used before"
            )));
        }
        let new = id > self.checkpoint;
        self.checkpoint = self.checkpoint.max(id);
        new
    }

    /// A checkpoint is given up. Returns whether that is news.
    pub(crate) fn given_up(&mut self, id: u64) -> bool {
        let new = id > self.spent;
        self.spent = self.spent.max(id);
        new
    }
}
