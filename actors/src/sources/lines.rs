//! Lines of files.

mod error;
mod find;
mod kind;
mod reader;
mod split;
#[cfg(test)]
mod tests;

pub use reader::LinesReader;
pub use split::LinesSplit;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use self::error::LinesError;
use crate::error::UserResult;
use crate::source::{Source, SourceContext};
use crate::sources::InvalidUtf8;
use crate::sources::cutter::{Cutter, LONGEST_LINE_BYTES};

/// Reads files line by line. A record is a line without its `\n` or `\r\n`; a last line without a line end counts,
/// and an empty line is a record too. The byte order mark that a file of UTF-8 may begin with is part of no record.
///
/// What is no text is told before the job starts: files that are packed (gzip, zstd, bzip2, xz, lz4, zip) or in UTF-16,
/// and what is no regular file (a pipe, a socket, a device, a file of `/proc`), as it cannot be read again from the
/// middle.
///
/// Files are read in splits of a fixed number of bytes, so that several instances read one large file at once.
/// Within a split, lines come in the order of the file.
///
/// The files must not change while the job reads them or is to be restarted from a snapshot: a file that has become
/// shorter is reported, other changes are not noticed.
#[derive(Debug)]
pub struct Lines {
    input: Input,
    split_bytes: u64,
    longest: usize,
    invalid_utf8: InvalidUtf8,
    skipped: Arc<AtomicU64>,
    /// How many bytes are read at once.
    read_bytes: usize,
}

/// Where the files are.
#[derive(Debug)]
enum Input {
    Files(Vec<PathBuf>),
    Folder(PathBuf),
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Files(paths) => match paths.split_first() {
                None => f.write_str("no files"),
                Some((path, [])) => write!(f, "{}", path.display()),
                Some((path, more)) => write!(f, "{} and {} more", path.display(), more.len()),
            },
        }
    }
}

const SPLIT_BYTES: u64 = 64 << 20;
/// All of them are kept in memory, and in each checkpoint.
const SPLITS_MAX: u64 = 10_000_000;
const READ_BYTES: usize = 256 << 10;

impl Lines {
    /// Reads one file.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self::new(Input::Files(vec![path.into()]))
    }

    /// Reads some files.
    pub fn from_paths<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self::new(Input::Files(paths.into_iter().map(Into::into).collect()))
    }

    /// Reads all files in a folder and in the folders below it, looked for at each start. What is hidden (its name
    /// begins with a dot) is left out, and links to folders are not followed. A link to nothing and what is no regular
    /// file are left out with a warning; so is it said if there is nothing to read.
    pub fn from_folder(path: impl Into<PathBuf>) -> Self {
        Self::new(Input::Folder(path.into()))
    }

    fn new(input: Input) -> Self {
        Self {
            input,
            split_bytes: SPLIT_BYTES,
            longest: LONGEST_LINE_BYTES,
            invalid_utf8: InvalidUtf8::default(),
            skipped: Arc::default(),
            read_bytes: READ_BYTES,
        }
    }

    /// Sets how many bytes a split has: 64 MiB if nothing is said. Positions in snapshots belong to splits, so it
    /// must stay the same for a job that goes on from a snapshot.
    pub fn split_bytes(mut self, bytes: u64) -> Self {
        self.split_bytes = bytes;
        self
    }

    /// Sets how many bytes a line may have: 1 MiB if nothing is said. A longer one is no record, as one that is not
    /// UTF-8: what becomes of it is up to the policy of the source for [`Stage::Decode`](crate::Stage::Decode). A dead
    /// letter has its beginning and its length; the source fails without such a policy. It takes no more memory than
    /// the longest line that is allowed, and what comes behind it is read.
    pub fn longest_line(mut self, bytes: usize) -> Self {
        self.longest = bytes;
        self
    }

    /// Sets what happens to a line that is not UTF-8: [`InvalidUtf8::Fail`] if nothing is said.
    pub fn invalid_utf8(mut self, policy: InvalidUtf8) -> Self {
        self.invalid_utf8 = policy;
        self
    }

    /// How many lines were left out in this process because they are not UTF-8. A line that is read again after a
    /// restart counts again.
    pub fn skipped_lines(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.skipped)
    }
}

impl Source for Lines {
    type Item = String;
    type Split = LinesSplit;
    type Reader = LinesReader;

    fn splits(&self) -> UserResult<Vec<LinesSplit>> {
        if self.split_bytes == 0 {
            return Err(LinesError::EmptySplits.into());
        }
        let files = match &self.input {
            Input::Files(paths) => find::files(paths)?,
            Input::Folder(path) => find::files_in(path)?,
        };
        let bytes: u64 = files.iter().map(|file| file.len).sum();
        if bytes / self.split_bytes > SPLITS_MAX {
            return Err(LinesError::TooManySplits { bytes, split_bytes: self.split_bytes }.into());
        }
        if bytes == 0 {
            let (input, files) = (self.input.to_string(), files.len());
            tracing::warn!(input, files, "there is nothing to read in the input of a source");
        }
        Ok(split::cut(&files, self.split_bytes))
    }

    fn open(
        &self,
        split: &LinesSplit,
        position: Option<u64>,
        _context: &SourceContext,
    ) -> UserResult<LinesReader> {
        let cutter = Cutter::new(self.invalid_utf8, &self.skipped, self.longest);
        Ok(LinesReader::open(split, position, cutter, self.read_bytes)?)
    }

    fn is_bounded(&self) -> bool {
        true
    }
}
