//! Files with one record a line.

mod error;
mod names;
#[cfg(test)]
mod tests;
mod writer;

pub use writer::{FilesPart, FilesWriter};

use std::fmt::{self, Display};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use watershed_state::bug::{self, Bug};
use watershed_state::{Data, FileInfo, Fs};

use self::error::FilesError;
use self::names::{FinishedName, PendingName};
use crate::error::UserResult;
use crate::sink::{SinkContext, TwoPhaseSink};
use crate::sinks::text::display_into;

/// Writes records into files of a folder, one a line, each record **exactly once**.
///
/// Each instance writes one file a checkpoint, hidden until the checkpoint is complete. Then it appears whole, with a
/// name like `alerts-5f3a9c-000000000012-0.jsonl` (operator, lineage of the job, checkpoint, instance), and never
/// changes again. Whoever reads the folder must leave out what is hidden (its name begins with a dot), and should
/// not move the files of a job away that may have to start again: the newest are looked for then.
///
/// Several sinks can share a folder.
pub struct Files<T> {
    folder: PathBuf,
    format: Format<T>,
}

/// How records are written.
pub(crate) struct Format<T> {
    /// End of the names of finished files.
    extension: &'static str,
    /// Appends a record without the line end.
    encode: fn(&T, &mut Vec<u8>) -> Result<(), FilesError>,
}

impl<T> Files<T> {
    /// Writes `.txt` files into this folder: what `Display` shows.
    pub fn lines(folder: impl Into<PathBuf>) -> Self
    where
        T: Data + Display,
    {
        let encode = |record: &T, line: &mut Vec<u8>| display_into(line, record).map_err(FilesError::Display);
        Self { folder: folder.into(), format: Format { extension: "txt", encode } }
    }

    /// Writes `.jsonl` files into this folder: each record as JSON.
    pub fn jsonl(folder: impl Into<PathBuf>) -> Self
    where
        T: Data,
    {
        let encode =
            |record: &T, line: &mut Vec<u8>| serde_json::to_writer(line, record).map_err(FilesError::Json);
        Self { folder: folder.into(), format: Format { extension: "jsonl", encode } }
    }
}

const PROBE: &str = ".watershed-probe";

impl<T: Data> TwoPhaseSink for Files<T> {
    type In = T;
    type Writer = FilesWriter<T>;
    type Committable = FilesPart;

    fn check(&self, fs: &Fs) -> UserResult {
        let unusable = |source| FilesError::Folder { folder: self.folder.clone(), source };
        fs.create_dir_all(&self.folder).map_err(unusable)?;
        let probe = self.folder.join(PROBE);
        fs.create(&probe).and_then(|mut file| file.write_all(b"probe")).map_err(unusable)?;
        match fs.remove_file(&probe) {
            // Another sink that shares the folder has been quicker.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.map_err(unusable)?),
        }
    }

    fn open(&self, context: &SinkContext) -> UserResult<FilesWriter<T>> {
        Ok(FilesWriter::new(self.folder.clone(), self.format, context))
    }

    fn commit(&self, part: &FilesPart, context: &SinkContext) -> UserResult {
        let pending = self.folder.join(&part.pending);
        let finished = self.folder.join(&part.finished);
        match context.fs.rename(&pending, &finished) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // It may have been renamed before a crash, durably or not.
                let there = context.fs.exists(&finished);
                let there = there.map_err(|source| FilesError::io("look for", &finished, source))?;
                if !there || bug::is(Bug::CommitNotIdempotent) {
                    return Err(self.missing(part).into());
                }
            }
            renamed => renamed.map_err(|source| FilesError::io("rename", &pending, source))?,
        }
        if bug::is(Bug::CommittedNameNotSynced) {
            return Ok(());
        }
        Ok(self.sync(&context.fs)?)
    }

    fn discard_dangling(
        &self,
        keep: &[FilesPart],
        runs: Range<u32>,
        instance: Option<usize>,
        context: &SinkContext,
    ) -> UserResult {
        let mut removed = false;
        for file in self.list(&context.fs)? {
            let Some(name) = PendingName::parse(&file.name) else { continue };
            let dangling = name.operator == &*context.instance.operator
                && name.lineage == context.lineage
                && runs.contains(&name.run)
                && instance.is_none_or(|instance| name.instance == instance)
                && keep.iter().all(|part| part.pending != file.name);
            if dangling {
                let path = self.folder.join(&file.name);
                match context.fs.remove_file(&path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    outcome => outcome.map_err(|source| FilesError::io("remove", &path, source))?,
                }
                removed = true;
            }
        }
        if removed {
            self.sync(&context.fs)?;
        }
        Ok(())
    }

    fn committed_through(&self, lineage: &str, fs: &Fs) -> UserResult<Option<u64>> {
        let files = self.list(fs)?;
        let names = files.iter().filter_map(|file| FinishedName::parse(&file.name, self.format.extension));
        Ok(names.filter(|name| name.lineage == lineage).map(|name| name.checkpoint).max())
    }

    fn visible(&self, fs: &Fs) -> UserResult<Option<Vec<String>>> {
        let mut lines = Vec::new();
        for file in self.list(fs)? {
            if FinishedName::parse(&file.name, self.format.extension).is_some() {
                let text = String::from_utf8(fs.read(&self.folder.join(&file.name))?)?;
                lines.extend(text.lines().map(str::to_owned));
            }
        }
        Ok(Some(lines))
    }
}

impl<T> Files<T> {
    /// What is in the folder: nothing if it does not exist yet.
    fn list(&self, fs: &Fs) -> Result<Vec<FileInfo>, FilesError> {
        match fs.list(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|source| FilesError::io("list", &self.folder, source)),
        }
    }

    fn sync(&self, fs: &Fs) -> Result<(), FilesError> {
        sync_folder(fs, &self.folder)
    }

    fn missing(&self, part: &FilesPart) -> FilesError {
        FilesError::Missing {
            folder: self.folder.clone(),
            pending: part.pending.clone(),
            finished: part.finished.clone(),
            checkpoint: part.checkpoint,
        }
    }
}

/// Makes durable which names exist in the folder.
fn sync_folder(fs: &Fs, folder: &Path) -> Result<(), FilesError> {
    fs.sync_dir(folder).map_err(|source| FilesError::io("sync", folder, source))
}

impl<T> fmt::Debug for Files<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl<T> Clone for Format<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Format<T> {}
