//! The last checkpoints of a running job, those that failed included.

use serde::{Deserialize, Serialize};

/// What has become of the last checkpoints of a running job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointHistory {
    /// When it was asked for, in milliseconds since 1970.
    pub taken_ms: i64,
    /// Checkpoints completed since the process began.
    pub completed: u64,
    /// Checkpoints that failed, or could not begin, since the process began.
    pub failed: u64,
    /// The last hundred at most, oldest first. One that is being made is the last.
    pub attempts: Vec<CheckpointAttempt>,
}

/// A checkpoint that was made, was tried, or is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointAttempt {
    /// Its id; `None` for one that could not begin.
    pub id: Option<u64>,
    /// What it was made for: `periodic`, `savepoint`, `rescale`, `stop`, or `last` if all input had ended.
    pub purpose: String,
    /// When it was triggered, in milliseconds since 1970.
    pub began_ms: i64,
    /// From its trigger until it was complete or failed, or until now, in milliseconds.
    pub duration_ms: u64,
    /// What has become of it.
    pub outcome: AttemptOutcome,
}

/// What has become of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptOutcome {
    /// It is being made.
    Making {
        /// What it waits for: a line for each instance whose part is missing, those first that hold up others.
        waits_for: Vec<String>,
    },
    /// It is complete.
    Complete {
        /// Bytes of all that it consists of.
        bytes: u64,
        /// Bytes of what was written for it, rather than for a checkpoint before.
        new_bytes: u64,
    },
    /// It was given up, could not be stored, or could not begin. What was prepared for it is covered by the next one.
    Failed {
        /// Why.
        reason: String,
    },
}
