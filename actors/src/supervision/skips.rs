//! What makes an operator panic again and again: under suspicion first, then on the list of what is left out.

use serde::{Deserialize, Serialize};

use crate::supervision::Evidence;

/// The record that was in process when an operator failed, while records were taken one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// What is known of it.
    pub evidence: Evidence,
    /// Hash of the record and its place: the same record has the same in every run.
    pub fingerprint: u64,
    /// How many such records had come since each checkpoint, this one included, oldest first. The first stands for what
    /// the run began with.
    pub since: Vec<(u64, u32)>,
    /// The letter it is the replay of.
    pub replay_of: Option<String>,
}

impl Suspect {
    /// How many such records had come since a checkpoint, this one included.
    pub fn occurrence_since(&self, checkpoint: u64) -> Option<u32> {
        self.since.iter().find(|(id, _)| *id == checkpoint).map(|(_, count)| *count)
    }
}

/// A record that is left out when it comes again. It is durable before the restart that meets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipEntry {
    /// Number of the entry within the history of the job.
    pub id: u64,
    /// The history it belongs to.
    pub lineage: String,
    /// Name of the operator.
    pub operator: String,
    /// Number of the instance that failed.
    pub instance: usize,
    /// How many instances there were.
    pub parallelism: usize,
    /// Hash of the record and its place.
    pub fingerprint: u64,
    /// The checkpoint since which such records are counted; 0 for the beginning.
    pub checkpoint: u64,
    /// Which of them it is, from 1.
    pub occurrence: u32,
    /// Records among which it must be; it is not waited for any longer.
    pub within_records: u64,
    /// What is known of it.
    pub evidence: Evidence,
    /// How often it was tried.
    pub attempts: u32,
    /// What happened at the last attempt.
    pub cause: String,
    /// Where it panicked.
    pub backtrace: Option<String>,
    /// Whether it ended in a panic rather than an error.
    pub panicked: bool,
    /// The letter it is the replay of.
    pub replay_of: Option<String>,
}
