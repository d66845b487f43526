//! The folder that files are written into.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use watershed_state::{FileInfo, Fs};

use super::error::FilesError;
use super::names::MarkName;
use crate::sink::SinkContext;

/// Where files go.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Who may read the files, if not this user alone.
    pub(super) mode: Option<u32>,
    /// The folder with which it may be taken away.
    pub(super) goes_with: Option<PathBuf>,
}

impl Folder {
    /// Makes the folder, and those above it that are missing.
    pub(super) fn make(&self, fs: &Fs) -> io::Result<()> {
        let mut missing = Vec::new();
        for folder in self.path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            if fs.exists(folder)? {
                break;
            }
            missing.push(folder);
        }
        fs.create_dir_all(&self.path)?;
        let Some(mode) = self.mode else { return Ok(()) };
        // Whoever may read what is in a folder may enter it.
        let mode = mode | (mode & 0o444) >> 2 | 0o700;
        missing.into_iter().try_for_each(|folder| fs.set_mode(folder, mode))
    }

    /// Whether the folder is not the one in which this process has said that it writes, as it went with an outer one.
    pub(super) fn was_taken_away(&self, context: &SinkContext) -> Result<bool, FilesError> {
        let is_ours = |file: &FileInfo| {
            let mark = MarkName::parse(&file.name);
            mark.is_some_and(|mark| {
                mark.operator == &*context.instance.operator && mark.lineage == context.lineage
            })
        };
        Ok(self.goes_with.is_some() && !self.list(&context.fs)?.iter().any(is_ours))
    }

    /// What is in it: nothing if it does not exist yet.
    pub(super) fn list(&self, fs: &Fs) -> Result<Vec<FileInfo>, FilesError> {
        match fs.list(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|source| FilesError::io("list", &self.path, source)),
        }
    }

    /// Makes durable which names exist in it.
    pub(super) fn sync(&self, fs: &Fs) -> Result<(), FilesError> {
        fs.sync_dir(&self.path).map_err(|source| FilesError::io("sync", &self.path, source))
    }
}
