//! What can go wrong with files of records.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::committable::{FileContent, FilesPart};
use super::described::Described;
use super::names::accepted;
use crate::sink::Owner;
use crate::sinks::json::JsonError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error(
        "cannot write to the output folder {}; give this user write access, or name another folder",
        folder.display()
    )]
    Folder { folder: PathBuf, source: io::Error },
    #[error("cannot {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "the output folder {} was removed, or what it is on is not mounted. It is not made again, as it could be another one \
         then: put it back, or make it",
        folder.display()
    )]
    Gone { folder: PathBuf, source: io::Error },
    #[error("{} was removed or changed while it was being written; its records are written again", path.display())]
    TakenAway { path: PathBuf, source: io::Error },
    #[error(
        "output of checkpoint {} is missing from {}: there is neither {} nor {}. Its records count as written and would be \
         lost. Put the file back; if it was taken away on purpose after it appeared, an empty file {} beside it lets the job \
         go on",
        part.checkpoint, folder.display(), part.pending, part.finished, accepted(&part.finished)
    )]
    Missing { folder: PathBuf, part: FilesPart },
    #[error(
        "output of checkpoint {} is not as it was written: {} has {found}, and was prepared with {}. Nothing of it is shown. \
         Put the file back as it was; to show it as it is, put an empty file {} beside it",
        part.checkpoint, path.display(), prepared(part), accepted(&part.finished)
    )]
    Changed { path: PathBuf, part: FilesPart, found: FileContent },
    #[error(
        "somebody else has written {}: output of checkpoint {} is to get that name, and is another ({}, waiting as {}). \
         Nothing was replaced. Two jobs may have gone on with one history, as with a checkpoint folder and a copy of it: give \
         one of them another output folder. To go on, move the file away, or keep it and put an empty file {} beside it",
        folder.join(&part.finished).display(), part.checkpoint, prepared(part), part.pending, accepted(&part.finished)
    )]
    Taken { folder: PathBuf, part: FilesPart },
    #[error(
        "the checkpoint names output that this sink cannot have written: `{}`, to become `{}` in {}. It was made or changed by \
         somebody else, and nothing was moved",
        pending.escape_debug(), finished.escape_debug(), folder.display()
    )]
    Outside { folder: PathBuf, pending: String, finished: String },
    #[error(
        "{held} is writing to {} and has not ended; {wanted} goes on with the same history, so that the two would give \
         different output the same names. Stop the one that is running. If these checkpoints are a copy, begin a history of \
         its own with them (`Resume::From`), or name another output folder",
        folder.display()
    )]
    Held { folder: PathBuf, held: Described, wanted: Described },
    #[error(
        "{later} has written to {}; {wanted} goes on with the same history from before that, so that it would write again \
         what is there. Start the job with the checkpoints that went on. If those are gone, begin a history of its own with \
         these (`Resume::From`; what came after that checkpoint is shown again), or name another output folder",
        folder.display()
    )]
    Later { folder: PathBuf, later: Described, wanted: Described },
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(
        "a record shows as more than one line, and would be read back as several; write it without line ends, let \
         `Files::escaping_line_ends` write them as `\\n`, or write `Files::jsonl`"
    )]
    LineEnd,
    #[error("the Display of a record failed")]
    Display(#[source] fmt::Error),
}

impl FilesError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_path_buf(), source }
    }

    pub(super) fn held(folder: &Path, held: Described, wanted: &Owner) -> Self {
        Self::Held { folder: folder.to_path_buf(), held, wanted: Described::of(wanted) }
    }

    pub(super) fn later(folder: &Path, later: Described, wanted: &Owner) -> Self {
        Self::Later { folder: folder.to_path_buf(), later, wanted: Described::of(wanted) }
    }

    /// Whether somebody may say that the output is right all the same.
    pub(super) fn is_about_content(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Changed { .. } | Self::Taken { .. })
    }

    /// Whether what was written, or its folder, is not there any more.
    pub(super) fn says_removed(&self) -> bool {
        let (Self::Io { source, .. } | Self::TakenAway { source, .. }) = self else { return false };
        matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
    }

    /// Whether it takes somebody who looks at the files, so that trying again would change nothing.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Taken { .. } | Self::Outside { .. })
    }
}

fn prepared(part: &FilesPart) -> String {
    part.content.map_or_else(|| "a content that is not known".to_owned(), |content| content.to_string())
}

impl fmt::Display for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes and checksum {:016x}", self.len, self.checksum)
    }
}
