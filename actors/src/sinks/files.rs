//! Files with one record a line.

mod committable;
mod described;
mod error;
mod folder;
mod format;
mod mark;
mod names;
mod part;
#[cfg(test)]
mod tests;
mod writer;

pub use committable::{FileContent, FilesPart};
pub(crate) use error::FilesError;
pub use writer::FilesWriter;

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use watershed_state::bug::{self, Bug};
use watershed_state::{Data, Fs, shown};

use self::folder::Folder;
use self::format::Format;
use self::mark::FolderClaim;
use self::names::{FinishedName, PendingName};
use crate::error::UserResult;
use crate::sink::{OutputClaim, Owner, SinkContext, TwoPhaseSink};
use crate::sinks::json::json_into;
use crate::sinks::text::{display_into, ends_inside, escape_line_ends};

/// Writes records into files of a folder, one a line, each record **exactly once**.
///
/// Each instance writes one file a checkpoint, hidden until the checkpoint is complete. Then it appears whole, with a
/// name like `alerts-5f3a9c-000000000012-0.jsonl` (operator, lineage of the job, checkpoint, instance), and never
/// changes again. Whoever reads the folder must leave out what is hidden (its name begins with a dot), and should
/// not move the files of a job away that may have to start again: the newest are looked for then.
///
/// A file is never written over, whoever has written it. Before a file appears its length is compared with what was
/// prepared, and after a restart its checksum, for which it is read once; one that is not as it was prepared, or whose
/// name is taken, ends the job with an error. A hidden file `.owner-alerts-5f3a9c-r65` says which process writes for a
/// history, and is locked while it runs: another process that goes on with the same history, as with a copy of the
/// checkpoint folder, is refused.
///
/// Several sinks can share a folder, which may be on another file system than the checkpoints and must not be theirs.
/// Files belong to the user alone who runs the job (mode 0600, in folders of 0700), unless [`mode`](Self::mode) says
/// otherwise.
pub struct Files<T> {
    folder: Folder,
    format: Format<T>,
}

impl<T> Files<T> {
    /// Writes `.txt` files into this folder: what `Display` shows. A record that shows as several lines is refused, as
    /// it would be read back as several records: that fails like any record that a sink refuses, and a policy may leave
    /// it out or put it into quarantine. [`escaping_line_ends`](Self::escaping_line_ends) writes it instead.
    pub fn lines(folder: impl Into<PathBuf>) -> Self
    where
        T: Data + Display,
    {
        let encode = |record: &T, line: &mut Vec<u8>| {
            let before = line.len();
            display_into(line, record).map_err(FilesError::Display)?;
            if ends_inside(&line[before..]) { Err(FilesError::LineEnd) } else { Ok(()) }
        };
        Self::new(folder.into(), Format { extension: "txt", encode })
    }

    /// Writes `.txt` files into this folder as [`lines`](Self::lines) does, but for line ends in a record, which become
    /// `\n` and `\r`, and backslashes, which become `\\`, so that all of it can be undone.
    pub fn escaping_line_ends(folder: impl Into<PathBuf>) -> Self
    where
        T: Data + Display,
    {
        let encode = |record: &T, line: &mut Vec<u8>| {
            let before = line.len();
            display_into(line, record).map_err(FilesError::Display)?;
            escape_line_ends(line, before);
            Ok(())
        };
        Self::new(folder.into(), Format { extension: "txt", encode })
    }

    /// Writes `.jsonl` files into this folder: each record as JSON. A record with a float that is NaN or infinite is
    /// refused, with the name of the field: JSON does not have it, and `null` could not be read back as a number.
    pub fn jsonl(folder: impl Into<PathBuf>) -> Self
    where
        T: Data,
    {
        let encode = |record: &T, line: &mut Vec<u8>| Ok(json_into(line, record)?);
        Self::new(folder.into(), Format { extension: "jsonl", encode })
    }
}

impl<T> Files<T> {
    /// Who may read and write the files, as the permission bits of Unix: `0o644` lets everyone read them, `0o640` the
    /// group. Folders that are made for them can be entered by the same. By default that is this user alone. What is
    /// there already keeps what it has.
    pub fn mode(mut self, mode: u32) -> Self {
        self.folder.mode = Some(mode);
        self
    }

    /// The folder is below this one, which may be taken away while the job runs, as the checkpoint folder: the output
    /// that waited there to be shown is then gone with a warning. New output waits in memory until there is that folder
    /// again, which is not for the sink to make.
    #[doc(hidden)]
    pub fn goes_with(mut self, outer: impl Into<PathBuf>) -> Self {
        self.folder.goes_with = Some(outer.into());
        self
    }

    fn new(path: PathBuf, format: Format<T>) -> Self {
        Self { folder: Folder { path, mode: None, goes_with: None }, format }
    }
}

const PROBE: &str = ".watershed-probe";

impl<T: Data> TwoPhaseSink for Files<T> {
    type In = T;
    type Writer = FilesWriter<T>;
    type Committable = FilesPart;

    fn check(&self, fs: &Fs) -> UserResult {
        let unusable = |source| FilesError::Folder { folder: self.folder.path.clone(), source };
        self.folder.make(fs).map_err(unusable)?;
        let probe = self.folder.path.join(PROBE);
        fs.create(&probe).and_then(|mut file| file.write_all(b"probe")).map_err(unusable)?;
        match fs.remove_file(&probe) {
            // Another sink that shares the folder has been quicker.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.map_err(unusable)?),
        }
    }

    fn claim(&self, owner: &Owner, fs: &Fs) -> UserResult<Box<dyn OutputClaim>> {
        Ok(Box::new(FolderClaim::find(&self.folder.path, owner, fs)?))
    }

    fn open(&self, context: &SinkContext) -> UserResult<FilesWriter<T>> {
        Ok(FilesWriter::new(self.folder.clone(), self.format, context))
    }

    fn commit(&self, part: &FilesPart, context: &SinkContext) -> UserResult {
        if bug::is(Bug::OutputReplaced) {
            let (pending, finished) =
                (self.folder.path.join(&part.pending), self.folder.path.join(&part.finished));
            match context.fs.rename(&pending, &finished) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        } else if bug::is(Bug::CommitNotIdempotent) {
            context
                .fs
                .rename_new(&self.folder.path.join(&part.pending), &self.folder.path.join(&part.finished))?;
        } else {
            match part.show(&self.folder.path, context.run, &context.fs) {
                Err(error @ FilesError::Missing { .. }) if self.folder.was_taken_away(context)? => {
                    tracing::warn!(
                        error = %shown(error),
                        "output was taken away with the folder that it was in, before it was shown; the job goes on"
                    );
                    return Ok(());
                }
                outcome => outcome?,
            }
        }
        if bug::is(Bug::CommittedNameNotSynced) {
            return Ok(());
        }
        Ok(self.folder.sync(&context.fs)?)
    }

    fn discard_dangling(
        &self,
        keep: &[FilesPart],
        runs: Range<u64>,
        instance: Option<usize>,
        context: &SinkContext,
    ) -> UserResult {
        let mut removed = false;
        for file in self.folder.list(&context.fs)? {
            let Some(name) = PendingName::parse(&file.name) else { continue };
            let dangling = name.operator == &*context.instance.operator
                && name.lineage == context.lineage
                && runs.contains(&name.run)
                && instance.is_none_or(|instance| name.instance == instance)
                && keep.iter().all(|part| part.pending != file.name);
            if dangling {
                let path = self.folder.path.join(&file.name);
                match context.fs.remove_file(&path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    outcome => outcome.map_err(|source| FilesError::io("remove", &path, source))?,
                }
                removed = true;
            }
        }
        if removed {
            self.folder.sync(&context.fs)?;
        }
        Ok(())
    }

    fn committed_through(&self, lineage: &str, fs: &Fs) -> UserResult<Option<u64>> {
        let files = self.folder.list(fs)?;
        let names = files.iter().filter_map(|file| FinishedName::parse(&file.name, self.format.extension));
        Ok(names.filter(|name| name.lineage == lineage).map(|name| name.checkpoint).max())
    }

    fn lineages(&self, operator: &str, fs: &Fs) -> UserResult<BTreeSet<String>> {
        let files = self.folder.list(fs)?;
        let names = files.iter().filter_map(|file| FinishedName::parse(&file.name, self.format.extension));
        Ok(names.filter(|name| name.operator == operator).map(|name| name.lineage.to_owned()).collect())
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.folder.path)
    }

    fn visible(&self, fs: &Fs) -> UserResult<Option<Vec<String>>> {
        let mut lines = Vec::new();
        for file in self.folder.list(fs)? {
            if FinishedName::parse(&file.name, self.format.extension).is_some() {
                let text = String::from_utf8(fs.read(&self.folder.path.join(&file.name))?)?;
                lines.extend(text.lines().map(str::to_owned));
            }
        }
        Ok(Some(lines))
    }
}

impl<T> fmt::Debug for Files<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("folder", &self.folder).finish_non_exhaustive()
    }
}
