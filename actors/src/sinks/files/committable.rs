//! What a checkpoint remembers of a finished file.

use serde::{Deserialize, Serialize};

/// A finished file under its hidden name, waiting for its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesPart {
    /// Its name now.
    pub pending: String,
    /// Its name once the checkpoint is complete.
    pub finished: String,
    /// The checkpoint.
    pub checkpoint: u64,
    /// What is in it; not known of one that an earlier version prepared.
    #[serde(default)]
    pub content: Option<FileContent>,
}

/// What tells a file from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileContent {
    /// Its length in bytes.
    pub len: u64,
    /// The xxh3 of all of it.
    pub checksum: u64,
}
