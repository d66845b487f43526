//! Writes the files of an instance.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

use watershed_state::bug::{self, Bug};
use watershed_state::{Data, FileWriter, Fs};

use super::committable::{FileContent, FilesPart};
use super::error::FilesError;
use super::folder::Folder;
use super::format::Format;
use super::names::{FinishedName, PendingName};
use super::part::Measuring;
use crate::error::UserResult;
use crate::sink::{Prepare, SinkContext, TwoPhaseWriter};

/// Writes records into one file a checkpoint.
pub struct FilesWriter<T> {
    context: SinkContext,
    folder: Folder,
    format: Format<T>,
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
            let place = Place::new(&self.context.fs, &self.folder, &self.pending());
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
        let (fs, folder) = (Arc::clone(&self.context.fs), self.folder.clone());
        Ok(Some(Box::new(move || {
            let place = Place::new(&fs, &folder, &part.pending);
            let content = file.finish(&place)?;
            part.content = Some(content);
            // Without this a power cut could take the name away, though the checkpoint counts on it.
            match folder.sync(&fs).and_then(|()| place.check(content)) {
                Err(error) if folder.goes_with.is_some() && error.says_removed() => {}
                checked => checked?,
            }
            Ok(part)
        })))
    }
}

impl<T> FilesWriter<T> {
    pub(super) fn new(folder: Folder, format: Format<T>, context: &SinkContext) -> Self {
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

    /// Empties the buffer into the file, unless it has to wait for the folder.
    fn write_out(&mut self, place: &Place<'_>) -> Result<(), FilesError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => match place.create() {
                Err(FilesError::Gone { .. }) if place.folder.goes_with.is_some() => return Ok(()),
                created => none.insert(created?),
            },
        };
        file.write_all(&self.buffer).map_err(|source| FilesError::io("write to", &place.path, source))?;
        self.written.add(&self.buffer);
        self.buffer.clear();
        Ok(())
    }

    /// Makes durable all that was written, and says what that is.
    fn finish(&mut self, place: &Place<'_>) -> Result<FileContent, FilesError> {
        self.write_out(place)?;
        if let Some(file) = &mut self.file {
            file.sync().map_err(|source| FilesError::io("sync", &place.path, source))?;
        }
        Ok(self.written.content())
    }
}

/// Where a file is to be.
struct Place<'p> {
    fs: &'p Fs,
    folder: &'p Folder,
    path: PathBuf,
}

impl<'p> Place<'p> {
    fn new(fs: &'p Fs, folder: &'p Folder, name: &str) -> Self {
        Self { fs, folder, path: folder.path.join(name) }
    }

    fn create(&self) -> Result<Box<dyn FileWriter>, FilesError> {
        let file = self.try_to_create().map_err(|source| match source.kind() {
            ErrorKind::NotFound => FilesError::Gone { folder: self.folder.path.clone(), source },
            _ => FilesError::io("create", &self.path, source),
        })?;
        if let Some(mode) = self.folder.mode {
            let set = self.fs.set_mode(&self.path, mode);
            set.map_err(|source| FilesError::io("set the mode of", &self.path, source))?;
        }
        Ok(file)
    }

    fn try_to_create(&self) -> io::Result<Box<dyn FileWriter>> {
        let create = || {
            if bug::is(Bug::OutputReplaced) {
                self.fs.create(&self.path)
            } else {
                self.fs.create_new(&self.path)
            }
        };
        match (create(), &self.folder.goes_with) {
            // The outer folder is in place, or in place again, and only this one is missing.
            (Err(error), Some(outer)) if error.kind() == ErrorKind::NotFound && self.fs.exists(outer)? => {
                self.folder.make(self.fs)?;
                create()
            }
            (created, _) => created,
        }
    }

    /// The file may have been removed while it was being written. Its records are not lost as long as no checkpoint
    /// counts on them.
    fn check(&self, content: FileContent) -> Result<(), FilesError> {
        let taken_away = |source| FilesError::TakenAway { path: self.path.clone(), source };
        let found = self.fs.open(&self.path).map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::StaleNetworkFileHandle => taken_away(source),
            _ => FilesError::io("look for", &self.path, source),
        })?;
        let length = found.length();
        if length == content.len {
            return Ok(());
        }
        Err(taken_away(io::Error::other(format!("it has {length} bytes, and {} were written", content.len))))
    }
}

impl<T> fmt::Debug for FilesWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesWriter").field("folder", &self.folder).finish_non_exhaustive()
    }
}
