//! Part files: what one operator instance contributes to one checkpoint.
//!
//! Layout, integers little-endian: magic, format version (u32), then for each section its kind (u8), group (u16),
//! entries (u32), length (u64) and bytes. Length and checksum of the whole are kept in the manifest.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::bug::{self, Bug};
use crate::frame::{Format, Reader};
use crate::{Damage, FileWriter, Fs, Section, SectionKind, StoreError};

const FORMAT: Format = Format { magic: *b"wshdpart", version: 1 };

/// Small sections are gathered up to this many bytes before the file system sees them.
const WRITE_AT: usize = 256 * 1024;

/// A finished part file, as the manifest refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFile {
    /// The path relative to the checkpoint folder, for example `chk-7/count-0-r3.part`.
    pub path: String,
    /// The length in bytes.
    pub len: u64,
    /// The xxh3 of the whole file.
    pub checksum: u64,
}

/// Writes a part file under a temporary name, which becomes the final one when all of it is on the disk.
///
/// A writer that is merely dropped leaves the temporary file to [`collect`](crate::CheckpointStore::collect).
pub struct PartWriter {
    fs: Fs,
    file: Box<dyn FileWriter>,
    path: String,
    target: PathBuf,
    temporary: PathBuf,
    gathered: Vec<u8>,
    checksum: Xxh3,
    len: u64,
}

impl PartWriter {
    /// Begins the file `path`, relative to the checkpoint folder `root`, in a folder that exists.
    ///
    /// # Errors
    /// If `path` leads out of `root` or the file can't be created.
    pub fn create(fs: &Fs, root: &Path, path: &str) -> Result<Self, StoreError> {
        let target = path_inside(root, path)?;
        let temporary = PathBuf::from(format!("{}.tmp", target.display()));
        let file = fs.create(&temporary).map_err(failed(&temporary, "create"))?;
        let (gathered, checksum) = (Vec::new(), Xxh3::new());
        let mut writer = Self {
            fs: Fs::clone(fs),
            file,
            path: path.to_owned(),
            target,
            temporary,
            gathered,
            checksum,
            len: 0,
        };
        writer.append(&FORMAT.magic)?;
        writer.append(&FORMAT.version.to_le_bytes())?;
        Ok(writer)
    }

    /// Appends a section.
    ///
    /// # Errors
    /// If the disk refuses; the part is to be discarded then.
    pub fn write(&mut self, section: &Section) -> Result<(), StoreError> {
        self.append(&[section.kind as u8])?;
        self.append(&section.group.to_le_bytes())?;
        self.append(&section.entries.to_le_bytes())?;
        self.append(&(section.bytes.len() as u64).to_le_bytes())?;
        self.append(&section.bytes)
    }

    /// Makes the file durable under its final name.
    ///
    /// # Errors
    /// If the disk refuses; the temporary file is removed then, if that is possible.
    pub fn finish(mut self) -> Result<PartFile, StoreError> {
        match self.settle() {
            Ok(()) => Ok(PartFile { path: self.path, len: self.len, checksum: self.checksum.digest() }),
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    /// Removes the temporary file, as well as that is possible: what stays behind is collected later.
    pub fn discard(self) {
        let Self { fs, file, temporary, .. } = self;
        drop(file);
        if let Err(error) = fs.remove_file(&temporary) {
            tracing::debug!(path = %temporary.display(), %error, "a discarded part stays until the next collection");
        }
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        if !bug::is(Bug::PartNotSynced) {
            self.file.sync().map_err(failed(&self.temporary, "sync"))?;
        }
        self.fs.rename(&self.temporary, &self.target).map_err(failed(&self.temporary, "rename"))?;
        let folder = self.target.parent().unwrap_or(Path::new("."));
        self.fs.sync_dir(folder).map_err(failed(folder, "sync"))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= WRITE_AT { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.checksum.update(&self.gathered);
        self.len += self.gathered.len() as u64;
        self.file.write_all(&self.gathered).map_err(failed(&self.temporary, "write"))?;
        self.gathered.clear();
        Ok(())
    }
}

impl fmt::Debug for PartWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartWriter").field("path", &self.path).field("len", &self.len).finish_non_exhaustive()
    }
}

/// Reads all sections of a part file, in the order in which they were written.
///
/// # Errors
/// If the file is missing, has another length or checksum than recorded, or was written by a newer version.
pub fn read_part(fs: &Fs, root: &Path, part: &PartFile) -> Result<Vec<Section>, StoreError> {
    let path = path_inside(root, &part.path)?;
    let bytes = read_verified(fs, &path, part)?;
    let damaged = |what| StoreError::Damaged { path: path.clone(), what };

    let mut rest = Reader(&bytes);
    if rest.array() != Some(FORMAT.magic) {
        return Err(damaged(Damage::Magic));
    }
    let found =
        rest.array().map(u32::from_le_bytes).ok_or_else(|| damaged(Damage::Cut { inside: "the header" }))?;
    if found > FORMAT.version {
        return Err(StoreError::NewerFormat { path, found, supported: FORMAT.version });
    }
    let mut sections = Vec::new();
    while !rest.0.is_empty() {
        sections.push(read_section(&mut rest).map_err(damaged)?);
    }
    Ok(sections)
}

/// Checks that a part file has the length and checksum recorded.
pub(crate) fn verify_part(fs: &Fs, root: &Path, part: &PartFile) -> Result<(), StoreError> {
    let path = path_inside(root, &part.path)?;
    read_verified(fs, &path, part).map(|_| ())
}

pub(crate) fn read_verified(fs: &Fs, path: &Path, part: &PartFile) -> Result<Vec<u8>, StoreError> {
    let damaged = |what| Err(StoreError::Damaged { path: path.to_owned(), what });
    let bytes = match fs.read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return damaged(Damage::Missing),
        read => read.map_err(failed(path, "read"))?,
    };
    if bytes.len() as u64 != part.len {
        return damaged(Damage::Length { expected: part.len, found: bytes.len() as u64 });
    }
    let found = xxh3_64(&bytes);
    if found != part.checksum {
        return damaged(Damage::Checksum { expected: part.checksum, found });
    }
    Ok(bytes)
}

fn read_section(rest: &mut Reader<'_>) -> Result<Section, Damage> {
    let cut = Damage::Cut { inside: "a section" };
    let mut header = || {
        let kind = u8::from_le_bytes(rest.array()?);
        let group = u16::from_le_bytes(rest.array()?);
        let entries = u32::from_le_bytes(rest.array()?);
        let length = u64::from_le_bytes(rest.array()?);
        Some((kind, group, entries, rest.slice(length)?))
    };
    let (number, group, entries, bytes) = header().ok_or(cut)?;
    let kind = SectionKind::from_number(number).ok_or(Damage::UnknownKind { number })?;
    Ok(Section { kind, group, entries, bytes: bytes.to_vec() })
}

/// `path` under `root`, if it names something below it.
pub(crate) fn path_inside(root: &Path, path: &str) -> Result<PathBuf, StoreError> {
    // Only the plainest spelling is taken, since collecting garbage compares paths as text.
    let plain = path.split('/').all(|name| !matches!(name, "" | "." | ".."));
    let inside = Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    if plain && inside { Ok(root.join(path)) } else { Err(StoreError::PathOutside { path: path.into() }) }
}

/// Turns an error of the file system into one that says what was being done, and to what.
pub(crate) fn failed<'a>(path: &'a Path, doing: &'static str) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { path: path.to_owned(), doing, source }
}
