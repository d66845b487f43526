//! A part of a file.

use serde::{Deserialize, Serialize};

use super::find::FoundFile;
use crate::source::Split;

/// A range of bytes of a file. It owns every line that begins in it, also one that ends behind it: so each line
/// belongs to exactly one split, however long it is and wherever the borders fall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesSplit {
    /// The file.
    pub path: String,
    /// The first byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
    /// Bytes of each split of the file but the last. It is part of the id, so that positions found with splits of
    /// another size are not taken for positions in this one.
    pub size: u64,
}

impl Split for LinesSplit {
    fn id(&self) -> String {
        format!("{}@{:020}/{}", self.path, self.start, self.size)
    }
}

/// Cuts files into splits of `size` bytes. An empty file has none.
pub(super) fn cut(files: &[FoundFile], size: u64) -> Vec<LinesSplit> {
    let mut splits = Vec::new();
    for file in files {
        let mut start = 0;
        while start < file.len {
            let end = start.saturating_add(size).min(file.len);
            splits.push(LinesSplit { path: file.path.clone(), start, end, size });
            start = end;
        }
    }
    splits
}
