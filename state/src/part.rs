//! Part files: what one operator instance contributes to one checkpoint.
//!
//! Layout, integers little-endian: magic, format version (u32), then for each section its kind (u8), group (u16),
//! entries (u32), length (u64) and bytes. Length and checksum of the whole are kept in the manifest.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::failed;
use crate::frame::{Format, Reader};
use crate::{Damage, ObjectWriter, Objects, Section, SectionKind, StoreError};

const FORMAT: Format = Format { magic: *b"wshdpart", version: 4 };

/// The version since which additions hold changes of timers. Those before hold all timers.
pub(crate) const TIMERS_ADD_UP: u32 = 2;

/// The version since which values say for whom they are written. What databases beside older files have for keys that
/// ask has to be written anew.
pub(crate) const VALUES_ARE_MARKED: u32 = 3;

/// Small sections are gathered up to this many bytes before the file system sees them.
const WRITE_AT: usize = 256 * 1024;

/// A finished part file, as the manifest refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFile {
    /// The name in the store of the checkpoints, for example `chk-7/count-0-r3.part`.
    pub path: String,
    /// The length in bytes.
    pub len: u64,
    /// The xxh3 of the whole file.
    pub checksum: u64,
}

/// Writes a part file, which is there when all of it is durable.
///
/// A writer that is merely dropped leaves what it has written to [`collect`](crate::CheckpointStore::collect).
pub struct PartWriter {
    objects: Objects,
    object: Box<dyn ObjectWriter>,
    path: String,
    gathered: Vec<u8>,
    checksum: Xxh3,
    len: u64,
}

impl PartWriter {
    /// Begins the file `path` of a store of checkpoints.
    ///
    /// # Errors
    /// If `path` leads out of the store or the file can't be begun.
    pub fn create(objects: &Objects, path: &str) -> Result<Self, StoreError> {
        let path = checked(path)?.to_owned();
        let object = objects.begin(&path).map_err(failed(&objects.location(&path), "begin"))?;
        let (gathered, checksum) = (Vec::new(), Xxh3::new());
        let mut writer = Self { objects: Objects::clone(objects), object, path, gathered, checksum, len: 0 };
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

    /// Makes the file exist, durably.
    ///
    /// # Errors
    /// If the disk refuses; what was written is removed then, if that is possible.
    pub fn finish(mut self) -> Result<PartFile, StoreError> {
        if let Err(error) = self.flush() {
            self.discard();
            return Err(error);
        }
        let Self { objects, object, path, checksum, len, .. } = self;
        object.finish().map_err(failed(&objects.location(&path), "finish"))?;
        Ok(PartFile { path, len, checksum: checksum.digest() })
    }

    /// Removes what was written, as well as that is possible: what stays behind is collected later.
    pub fn discard(self) {
        self.object.discard();
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= WRITE_AT { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.checksum.update(&self.gathered);
        self.len += self.gathered.len() as u64;
        let location = || self.objects.location(&self.path);
        self.object.append(&self.gathered).map_err(|error| failed(&location(), "write")(error))?;
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
pub fn read_part(objects: &Objects, part: &PartFile) -> Result<Vec<Section>, StoreError> {
    read_versioned(objects, part).map(|(_, sections)| sections)
}

/// The same with the version of the file's format.
pub(crate) fn read_versioned(objects: &Objects, part: &PartFile) -> Result<(u32, Vec<Section>), StoreError> {
    let bytes = read_verified(objects, part)?;
    let path = objects.location(&part.path);
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
    Ok((found, sections))
}

/// Checks that a part file has the length and checksum recorded.
pub(crate) fn verify_part(objects: &Objects, part: &PartFile) -> Result<(), StoreError> {
    read_verified(objects, part).map(|_| ())
}

/// What a file holds, if it has the length and checksum recorded.
pub(crate) fn read_verified(objects: &Objects, part: &PartFile) -> Result<Vec<u8>, StoreError> {
    let name = checked(&part.path)?;
    let damaged = |what| Err(StoreError::Damaged { path: objects.location(name), what });
    // One that has grown is not read whole: it may be larger than the memory.
    let bytes = match objects.get_up_to(name, part.len.saturating_add(1)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return damaged(Damage::Missing),
        read => read.map_err(failed(&objects.location(name), "read"))?,
    };
    if bytes.len() as u64 != part.len {
        return damaged(Damage::Length { expected: part.len, found: length_of(objects, name, &bytes)? });
    }
    let found = xxh3_64(&bytes);
    if found != part.checksum {
        return damaged(Damage::Checksum { expected: part.checksum, found });
    }
    Ok(bytes)
}

/// The length of an object of which this much was read.
fn length_of(objects: &Objects, name: &str, read: &[u8]) -> Result<u64, StoreError> {
    let prefix = name.rfind('/').map_or("", |slash| &name[..=slash]);
    let listing = objects.list(prefix).map_err(failed(&objects.location(prefix), "list"))?;
    let found = listing.objects.iter().find(|object| object.name == name);
    Ok(found.map_or(read.len() as u64, |object| object.len))
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
    // Room is made for as many entries, of which each has at least a byte.
    if u64::from(entries) > bytes.len() as u64 {
        return Err(Damage::Entries { entries, bytes: bytes.len() });
    }
    Ok(Section { kind, group, entries, bytes: bytes.to_vec() })
}

/// The path, if it names something inside of a store.
pub(crate) fn checked(path: &str) -> Result<&str, StoreError> {
    // Only the plainest spelling is taken, since collecting garbage compares paths as text.
    let plain = path.split('/').all(|name| !matches!(name, "" | "." | ".."));
    let inside = Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    if plain && inside { Ok(path) } else { Err(StoreError::PathOutside { path: path.into() }) }
}

/// The name, if it is that of a file in whichever folder it is put into.
pub(crate) fn plain(name: &str) -> Result<&str, StoreError> {
    if is_plain_name(name) { Ok(name) } else { Err(StoreError::PathOutside { path: name.into() }) }
}

/// Whether a name that was read from somewhere is that of a file in a folder, and of no other place: it has no
/// separators and is neither `.` nor `..`.
pub fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one = matches!(components.next(), Some(Component::Normal(part)) if part.to_str() == Some(name));
    is_one && components.next().is_none() && !name.contains('\0')
}
