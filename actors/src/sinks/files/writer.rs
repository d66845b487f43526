//! Writes the files of an instance.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use watershed_state::{Data, FileWriter, Fs};

use super::error::FilesError;
use super::names::{FinishedName, PendingName};
use super::{Format, sync_folder};
use crate::error::UserResult;
use crate::sink::{Prepare, SinkContext, TwoPhaseWriter};

/// Writes records into one file a checkpoint.
pub struct FilesWriter<T> {
    context: SinkContext,
    folder: PathBuf,
    format: Format<T>,
    /// How many files were written before this one.
    number: u64,
    file: OpenFile,
}

/// A finished file under its hidden name, waiting for its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesPart {
    /// Its name now.
    pub pending: String,
    /// Its name once the checkpoint is complete.
    pub finished: String,
    /// The checkpoint.
    pub checkpoint: u64,
}

/// The file being written. It is created when there is something to write.
#[derive(Default)]
struct OpenFile {
    file: Option<Box<dyn FileWriter>>,
    /// Bytes to be written next.
    buffer: Vec<u8>,
}

const BUFFER_BYTES: usize = 128 << 10;

impl<T: Data> TwoPhaseWriter for FilesWriter<T> {
    type In = T;
    type Committable = FilesPart;

    fn write(&mut self, record: T) -> UserResult {
        let buffer = &mut self.file.buffer;
        let before = buffer.len();
        (self.format.encode)(&record, buffer).inspect_err(|_| buffer.truncate(before))?;
        buffer.push(b'\n');
        if buffer.len() >= BUFFER_BYTES {
            let path = self.folder.join(self.pending());
            self.file.write_out(&self.context.fs, &path)?;
        }
        Ok(())
    }

    fn prepare(&mut self, checkpoint: u64) -> UserResult<Option<Prepare<FilesPart>>> {
        if self.file.is_empty() {
            return Ok(None);
        }
        let finished = FinishedName {
            operator: &self.context.instance.operator,
            lineage: &self.context.lineage,
            checkpoint,
            instance: self.context.instance.index,
            extension: self.format.extension,
        };
        let part = FilesPart { pending: self.pending(), finished: finished.to_string(), checkpoint };
        self.number += 1;
        let mut file = std::mem::take(&mut self.file);
        let (fs, folder) = (Arc::clone(&self.context.fs), self.folder.clone());
        Ok(Some(Box::new(move || {
            file.finish(&fs, &folder.join(&part.pending))?;
            // Without this a power cut could take the name away, though the checkpoint counts on it.
            sync_folder(&fs, &folder)?;
            Ok(part)
        })))
    }
}

impl<T> FilesWriter<T> {
    pub(super) fn new(folder: PathBuf, format: Format<T>, context: &SinkContext) -> Self {
        Self { context: context.clone(), folder, format, number: 0, file: OpenFile::default() }
    }

    /// The hidden name of the file being written.
    fn pending(&self) -> String {
        let name = PendingName {
            operator: &self.context.instance.operator,
            lineage: &self.context.lineage,
            run: self.context.run,
            instance: self.context.instance.index,
            number: self.number,
        };
        name.to_string()
    }
}

impl OpenFile {
    fn is_empty(&self) -> bool {
        self.file.is_none() && self.buffer.is_empty()
    }

    /// Empties the buffer into the file.
    fn write_out(&mut self, fs: &Fs, path: &Path) -> Result<(), FilesError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(fs.create(path).map_err(|source| FilesError::io("create", path, source))?),
        };
        file.write_all(&self.buffer).map_err(|source| FilesError::io("write to", path, source))?;
        self.buffer.clear();
        Ok(())
    }

    /// Makes durable all that was written.
    fn finish(&mut self, fs: &Fs, path: &Path) -> Result<(), FilesError> {
        self.write_out(fs, path)?;
        match &mut self.file {
            Some(file) => file.sync().map_err(|source| FilesError::io("sync", path, source)),
            None => Ok(()),
        }
    }
}

impl<T> fmt::Debug for FilesWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesWriter").field("folder", &self.folder).finish_non_exhaustive()
    }
}
