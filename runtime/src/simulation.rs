//! Deterministic simulation: what decides a run, and the clock it goes by.

use std::sync::Arc;

use watershed_state::SimulatedDisk;

use crate::event::Then;
use crate::faults::Faults;
use crate::savepoint::Drain;

/// A simulated run: one thread, a virtual clock, and a seed that picks what happens next. Same seed, same run.
///
/// Steps of the scheduler are counted from 1. That each setting is in its range is looked at when the job starts.
#[derive(Debug, Clone)]
pub struct Simulation {
    pub(crate) seed: u64,
    pub(crate) disk: SimulatedDisk,
    pub(crate) panic_at: Vec<u64>,
    pub(crate) hang_at: Vec<u64>,
    pub(crate) die_at: Option<u64>,
    pub(crate) stop_at: Option<u64>,
    /// When somebody wants a savepoint, where, and what is to become of the job then.
    pub(crate) savepoint_at: Vec<(u64, String, Then)>,
    /// When somebody wants an operator to have how many instances.
    pub(crate) rescale_at: Vec<(u64, String, usize)>,
    pub(crate) steps_max: u64,
    /// Slots of state that one slice of a snapshot looks at: few, as much can happen between one slice and the next.
    pub(crate) slice_slots: usize,
    /// When the process begins, in nanoseconds of the virtual clock.
    pub(crate) begin_nanos: u64,
    /// What else is to go wrong, where the simulator runs the job.
    pub(crate) script: Option<Arc<dyn Faults>>,
}

impl Simulation {
    /// A run without faults on a disk of its own.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            disk: SimulatedDisk::new(seed),
            panic_at: Vec::new(),
            hang_at: Vec::new(),
            die_at: None,
            stop_at: None,
            savepoint_at: Vec::new(),
            rescale_at: Vec::new(),
            steps_max: 50_000_000,
            slice_slots: 16,
            begin_nanos: 0,
            script: None,
        }
    }

    /// Uses this disk for checkpoints and exactly-once files, so that another run can go on from what is on it.
    pub fn on_disk(mut self, disk: &SimulatedDisk) -> Self {
        self.disk = disk.clone();
        self
    }

    /// Some task panics at this step of the scheduler.
    pub fn panic_at(mut self, step: u64) -> Self {
        self.panic_at.push(step);
        self
    }

    /// Some task does not come back from what it does at this step, and nothing else on its thread happens any more.
    /// After the [hang timeout](crate::Config::hang_timeout) its thread is left behind; it comes back at any time after
    /// that.
    pub fn hang_at(mut self, step: u64) -> Self {
        self.hang_at.push(step);
        self
    }

    /// The process dies at this step: the run ends at once, and the disk loses what was not synced.
    pub fn die_at(mut self, step: u64) -> Self {
        self.die_at = Some(step);
        self
    }

    /// The job is asked to stop at this step: it makes a last checkpoint and ends.
    pub fn stop_at(mut self, step: u64) -> Self {
        self.stop_at = Some(step);
        self
    }

    /// A savepoint is asked for at this step, as [`Job::savepoint`](crate::Job::savepoint) does; `file://` places are
    /// on the simulated disk.
    pub fn savepoint_at(mut self, step: u64, uri: &str) -> Self {
        self.savepoint_at.push((step, uri.to_string(), Then::GoOn));
        self
    }

    /// The job is asked at this step to end with a savepoint, as
    /// [`Job::stop_with_savepoint`](crate::Job::stop_with_savepoint) does.
    pub fn stop_with_savepoint_at(mut self, step: u64, uri: &str, drain: Drain) -> Self {
        let then = if drain == Drain::Yes { Then::Drain } else { Then::Stop };
        self.savepoint_at.push((step, uri.to_string(), then));
        self
    }

    /// Somebody wants an operator to have so many instances (from 1 to 4,096) at this step, as
    /// [`Job::rescale`](crate::Job::rescale) does.
    pub fn rescale_at(mut self, step: u64, operator: &str, parallelism: usize) -> Self {
        self.rescale_at.push((step, operator.to_string(), parallelism));
        self
    }

    /// A slice of a snapshot looks at so many slots of the state.
    pub(crate) fn slices_of(mut self, slots: usize) -> Self {
        self.slice_slots = slots;
        self
    }

    /// After how many steps a run counts as hanging (50,000,000): at least one.
    pub fn at_most_steps(mut self, steps: u64) -> Self {
        self.steps_max = steps;
        self
    }
}
