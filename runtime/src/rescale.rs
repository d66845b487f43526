//! What came of rescaling, as the users of a job see it.

use serde::{Deserialize, Serialize};

/// An operator of a running job has another number of instances now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescaled {
    /// Its name.
    pub operator: String,
    /// How many instances it had.
    pub from: usize,
    /// How many it has.
    pub to: usize,
    /// The checkpoint that the job went on from.
    pub checkpoint: u64,
    /// How long that checkpoint took. The job was at work meanwhile; records that came after the barrier are processed
    /// once more.
    pub checkpoint_ms: u64,
    /// How long records stood still: from when the old instances were told to stop until all new ones were at work.
    pub stopped_ms: u64,
}
