//! Writes the files of an instance.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watershed_state::bug::{self, Bug};
use watershed_state::{Data, FileWriter, Fs};

use super::error::FilesError;
use super::names::{FinishedName, PendingName};
use super::part::{FileContent, FilesPart, Measuring};
use super::{Format, sync_folder};
use crate::error::UserResult;
use crate::sink::{Prepare, SinkContext, TwoPhaseWriter};

/// Writes records into one file a checkpoint.
pub struct FilesWriter<T> {
    context: SinkContext,
    folder: PathBuf,
    format: Format<T>,
    /// Who may read the files, if not this user alone.
    mode: Option<u32>,
    /// How many files were written before this one.
    number: u64,
    file: OpenFile,
}

/// The file being written. It is created when there is something to write.
#[derive(Default)]
struct OpenFile {
    file: Option<Box<dyn FileWriter>>,
    /// Bytes to be written next.
    buffer: Vec<u8>,
    /// Of those that were written.
    written: Measuring,
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
            let place =
                Place { fs: &self.context.fs, path: &self.folder.join(self.pending()), mode: self.mode };
            self.file.write_out(&place)?;
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
        let finished = finished.to_string();
        let mut part = FilesPart { pending: self.pending(), finished, checkpoint, content: None };
        self.number += 1;
        let mut file = std::mem::take(&mut self.file);
        let (fs, folder, mode) = (Arc::clone(&self.context.fs), self.folder.clone(), self.mode);
        Ok(Some(Box::new(move || {
            part.content = Some(file.finish(&Place { fs: &fs, path: &folder.join(&part.pending), mode })?);
            // Without this a power cut could take the name away, though the checkpoint counts on it.
            sync_folder(&fs, &folder)?;
            Ok(part)
        })))
    }
}

impl<T> FilesWriter<T> {
    pub(super) fn new(folder: PathBuf, format: Format<T>, mode: Option<u32>, context: &SinkContext) -> Self {
        Self { context: context.clone(), folder, format, mode, number: 0, file: OpenFile::default() }
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
    fn write_out(&mut self, place: &Place<'_>) -> Result<(), FilesError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(place.create()?),
        };
        file.write_all(&self.buffer).map_err(|source| FilesError::io("write to", place.path, source))?;
        self.written.add(&self.buffer);
        self.buffer.clear();
        Ok(())
    }

    /// Makes durable all that was written, and says what that is.
    fn finish(&mut self, place: &Place<'_>) -> Result<FileContent, FilesError> {
        self.write_out(place)?;
        if let Some(file) = &mut self.file {
            file.sync().map_err(|source| FilesError::io("sync", place.path, source))?;
        }
        Ok(self.written.content())
    }
}

/// Where a file is to be.
struct Place<'p> {
    fs: &'p Fs,
    path: &'p Path,
    mode: Option<u32>,
}

impl Place<'_> {
    fn create(&self) -> Result<Box<dyn FileWriter>, FilesError> {
        let replaces = bug::is(Bug::OutputReplaced);
        let created = if replaces { self.fs.create(self.path) } else { self.fs.create_new(self.path) };
        let file = created.map_err(|source| FilesError::io("create", self.path, source))?;
        if let Some(mode) = self.mode {
            let set = self.fs.set_mode(self.path, mode);
            set.map_err(|source| FilesError::io("set the mode of", self.path, source))?;
        }
        Ok(file)
    }
}

impl<T> fmt::Debug for FilesWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesWriter").field("folder", &self.folder).finish_non_exhaustive()
    }
}
