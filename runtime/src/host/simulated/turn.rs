//! What can happen next in a simulated process.

use watershed_actors::TaskId;

/// What can happen next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    Task(TaskId),
    Job(usize),
    /// A task of a thread that was left behind.
    LeftBehind(usize),
    Master,
}

impl Turn {
    /// Tells it from others.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Task(task) => 2 + u64::from(task.0),
            Self::Job(_) => 1,
            // Whatever comes back is one and the same surprise.
            Self::LeftBehind(_) => u64::MAX,
            Self::Master => 0,
        }
    }
}
