//! Savepoints, as their users see them.

use serde::{Deserialize, Serialize};

/// A savepoint that is there: a checkpoint that stands for itself, in a folder of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Savepoint {
    /// Where it is, for [`Config::start_from`](crate::Config::start_from).
    pub uri: String,
    /// The checkpoint that it was made of.
    pub checkpoint: u64,
    /// The bytes of its files.
    pub bytes: u64,
}

/// Whether a job that ends with a savepoint is drained first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drain {
    /// The savepoint is a cut like any other: whoever starts from it goes on as if nothing had been.
    #[default]
    No,
    /// Event time goes to its end first, so that everything that waits for it comes: for a job that does not come back.
    /// It takes as long as timers set timers. Where they do so without end, the job goes on until it is stopped, by
    /// [`Job::stop`](crate::Job::stop) or a signal, or cancelled; the savepoint is not made then.
    Yes,
}

/// Whose a savepoint is once a job has started from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Claim {
    /// Still that of whoever made it. Nothing refers to it when the first checkpoint is complete, and it is never
    /// changed.
    #[default]
    No,
    /// The job's, which removes it when it needs it no more.
    Yes,
}
