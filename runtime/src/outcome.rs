//! How a job ended.

use crate::tree::Tree;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All sources were read to their end, and everything is committed.
    Finished,
    /// It had finished before, and there was nothing new to read.
    AlreadyFinished,
    /// It was asked to stop, made a last checkpoint and committed everything up to it.
    Stopped,
    /// It was cancelled, or nobody reads its standard output any more: what was not in a checkpoint is dropped.
    Cancelled,
    /// The simulation let the process die.
    Died,
}

/// What is left of a job.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The newest complete checkpoint.
    pub checkpoint: Option<u64>,
    /// Checkpoints completed in this process.
    pub checkpoints: u64,
    /// Restarts of regions in this process.
    pub restarts: u32,
    /// The supervision tree at the end.
    pub tree: Tree,
    /// Steps of the scheduler, in a simulation.
    pub steps: u64,
}
