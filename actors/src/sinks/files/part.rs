//! A finished file on its way to the name under which everyone may read it.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use watershed_state::Fs;
use xxhash_rust::xxh3::Xxh3;

use super::committable::{FileContent, FilesPart};
use super::error::FilesError;
use super::names::{PendingName, accepted, are_of_a_part};

/// How closely a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Its length only: this process has written and synced it a moment ago.
    AtLength,
    /// It is read.
    Inside,
}

/// What is found under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// What was prepared.
    Ours,
    /// Something else, with this content.
    Other(FileContent),
}

impl FilesPart {
    /// Gives the file its finished name, unless it has it. Nothing that has that name is replaced.
    pub(super) fn show(&self, folder: &Path, run: u64, fs: &Fs) -> Result<(), FilesError> {
        if !are_of_a_part(&self.pending, &self.finished) {
            let (pending, finished) = (self.pending.clone(), self.finished.clone());
            return Err(FilesError::Outside { folder: folder.to_owned(), pending, finished });
        }
        let shown = self.try_to_show(folder, run, fs);
        let Err(error) = shown else { return Ok(()) };
        if !error.is_about_content() || !exists(fs, &folder.join(accepted(&self.finished)))? {
            return Err(error);
        }
        tracing::warn!(%error, "it is accepted as it is, as the file {} says", accepted(&self.finished));
        match fs.rename_new(&folder.join(&self.pending), &folder.join(&self.finished)) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => Ok(()),
            renamed => {
                renamed.map_err(|source| FilesError::io("rename", &folder.join(&self.pending), source))
            }
        }
    }

    fn try_to_show(&self, folder: &Path, run: u64, fs: &Fs) -> Result<(), FilesError> {
        let (pending, finished) = (folder.join(&self.pending), folder.join(&self.finished));
        let is_of_this_run = PendingName::parse(&self.pending).is_some_and(|name| name.run == run);
        let look = if is_of_this_run { Look::AtLength } else { Look::Inside };
        match self.find(fs, &pending, look)? {
            Found::Ours => {}
            Found::Nothing => return self.must_be_shown(folder, fs, look),
            Found::Other(found) => return Err(self.changed(pending, found)),
        }
        match fs.rename_new(&pending, &finished) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.must_be_shown(folder, fs, Look::Inside)?;
                // It has both names, or another life of this history has written the same.
                fs.remove_file(&pending).map_err(|source| FilesError::io("remove", &pending, source))
            }
            renamed => renamed.map_err(|source| FilesError::io("rename", &pending, source)),
        }
    }

    /// The file may have got its name before a crash, durably or not.
    fn must_be_shown(&self, folder: &Path, fs: &Fs, look: Look) -> Result<(), FilesError> {
        let finished = folder.join(&self.finished);
        match self.find(fs, &finished, look)? {
            Found::Ours => Ok(()),
            Found::Nothing => Err(FilesError::Missing { folder: folder.to_owned(), part: self.clone() }),
            Found::Other(_) => Err(FilesError::Taken { folder: folder.to_owned(), part: self.clone() }),
        }
    }

    fn find(&self, fs: &Fs, path: &Path, look: Look) -> Result<Found, FilesError> {
        let failed = |source| FilesError::io("read", path, source);
        let mut file = match fs.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            opened => opened.map_err(failed)?,
        };
        let Some(expected) = self.content else { return Ok(Found::Ours) };
        let found = match look {
            Look::AtLength if file.length() == expected.len => expected,
            _ => measure(&mut file).map_err(failed)?,
        };
        Ok(if found == expected { Found::Ours } else { Found::Other(found) })
    }

    fn changed(&self, path: PathBuf, found: FileContent) -> FilesError {
        FilesError::Changed { path, part: self.clone(), found }
    }
}

fn exists(fs: &Fs, path: &Path) -> Result<bool, FilesError> {
    fs.exists(path).map_err(|source| FilesError::io("look for", path, source))
}

/// What is in a file that may be larger than the memory.
fn measure(file: &mut dyn Read) -> io::Result<FileContent> {
    let (mut measuring, mut bytes) = (Measuring::default(), vec![0; READ_AT_ONCE]);
    loop {
        match file.read(&mut bytes) {
            Ok(0) => return Ok(measuring.content()),
            Ok(read) => measuring.add(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

const READ_AT_ONCE: usize = 256 << 10;

/// What is known of a file while it is written or read.
#[derive(Default)]
pub(super) struct Measuring {
    len: u64,
    checksum: Xxh3,
}

impl Measuring {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.checksum.update(bytes);
    }

    pub(super) fn content(&self) -> FileContent {
        FileContent { len: self.len, checksum: self.checksum.digest() }
    }
}
