//! What can go wrong with files of records.

use std::path::{Path, PathBuf};
use std::{fmt, io};

#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    #[error(
        "cannot write to the output folder {}; give this user write access, or name another folder",
        folder.display()
    )]
    Folder { folder: PathBuf, source: io::Error },
    #[error("cannot {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "output of checkpoint {checkpoint} is missing from {}: there is neither {pending} nor {finished}. Its records \
         count as written and would be lost. Put the file back; if it was taken away on purpose after it appeared, \
         an empty file {finished} in its place lets the job go on",
        folder.display()
    )]
    Missing { folder: PathBuf, pending: String, finished: String, checkpoint: u64 },
    #[error("cannot write a record as JSON; its Serialize must fit JSON, where keys of maps are strings")]
    Json(#[source] serde_json::Error),
    #[error("the Display of a record failed")]
    Display(#[source] fmt::Error),
}

impl FilesError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_path_buf(), source }
    }
}
