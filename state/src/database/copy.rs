//! The copy of a database that is part of a snapshot: which files, and how they get there and back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::error::failed;
use crate::part::{checked, plain, read_verified};
use crate::{Damage, FileSystem, LocalFs, Objects, PartFile, StoreError};

/// The files of a database at one moment, in the store of the checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseCopy {
    /// Each under the name that it has in the database's own folder.
    pub files: Vec<DatabaseFile>,
}

/// A file of a database, in the store of the checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFile {
    /// Its name in the database.
    pub name: String,
    /// The file. Those that never change are stored once, in the folder of the first checkpoint that has them.
    pub file: PartFile,
}

impl DatabaseFile {
    /// Whether it never changes, so that the next copy may refer to this one.
    fn is_immutable(&self) -> bool {
        is_immutable(&self.name)
    }
}

fn is_immutable(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "sst")
}

impl DatabaseCopy {
    /// Puts the files of `folder` into the store, under names that begin with `prefix`. Those that `before` has
    /// already, a copy of the same database that belongs to a complete checkpoint, are not stored again. They are there
    /// for good once the part is that the instance puts beside them.
    ///
    /// # Errors
    /// If a disk refuses.
    pub fn store(
        objects: &Objects,
        prefix: &str,
        folder: &Path,
        before: &DatabaseCopy,
    ) -> Result<Self, StoreError> {
        Self::store_files((objects, prefix), folder, before, false)
    }

    /// As [`store`](Self::store), but stores all files, as some that `before` has are lost. What is left of those must
    /// be as it was: they may be the database's own files under another name, and whatever damaged one has damaged the
    /// other.
    ///
    /// # Errors
    /// As [`store`](Self::store), and if a file is not what was stored before.
    pub fn store_anew(
        objects: &Objects,
        prefix: &str,
        folder: &Path,
        before: &DatabaseCopy,
    ) -> Result<Self, StoreError> {
        Self::store_files((objects, prefix), folder, before, true)
    }

    fn store_files(
        (objects, prefix): (&Objects, &str),
        folder: &Path,
        before: &DatabaseCopy,
        anew: bool,
    ) -> Result<Self, StoreError> {
        let known: BTreeMap<&str, &DatabaseFile> = before
            .files
            .iter()
            .filter(|file| file.is_immutable())
            .map(|file| (file.name.as_str(), file))
            .collect();
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed(folder, "list"))? {
            let entry = entry.map_err(failed(folder, "list"))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        let mut files = Vec::new();
        for name in names {
            let known = known.get(name.as_str());
            if let Some(known) = known.filter(|_| !anew) {
                files.push((*known).clone());
                continue;
            }
            let from = folder.join(&name);
            let (len, checksum) = measure(&from).map_err(failed(&from, "read"))?;
            if let Some(DatabaseFile { file: before, .. }) = known {
                check_unchanged(&from, before, (len, checksum))?;
            }
            let file = PartFile { path: format!("{prefix}.{name}"), len, checksum };
            let name_there = checked(&file.path)?;
            objects.import(&from, name_there).map_err(failed(&objects.location(name_there), "write"))?;
            files.push(DatabaseFile { name, file });
        }
        Ok(Self { files })
    }

    /// Makes a folder from which the database can be opened, of files that are as they were stored.
    ///
    /// # Errors
    /// If a file is missing or damaged, or a disk refuses.
    pub fn fetch(&self, objects: &Objects, folder: &Path) -> Result<(), StoreError> {
        LocalFs.create_dir_all(folder).map_err(failed(folder, "create"))?;
        for DatabaseFile { name, file } in &self.files {
            let bytes = read_verified(objects, file)?;
            let to = folder.join(plain(name)?);
            let shared =
                is_immutable(name) && objects.export(&file.path, &to).map_err(failed(&to, "write"))?;
            if !shared {
                let written = LocalFs.create_new(&to).and_then(|mut file| file.write_all(&bytes));
                written.map_err(failed(&to, "write"))?;
            }
        }
        Ok(())
    }

    /// The bytes of all files that this copy has and `before` has not.
    pub fn bytes_beyond(&self, before: &DatabaseCopy) -> u64 {
        let new = self.files.iter().filter(|file| !before.files.contains(file));
        new.map(|file| file.file.len).sum()
    }
}

/// Refuses a file that never changes and has changed all the same.
fn check_unchanged(path: &Path, before: &PartFile, (len, checksum): (u64, u64)) -> Result<(), StoreError> {
    let what = match before {
        PartFile { len: expected, .. } if *expected != len => {
            Damage::Length { expected: *expected, found: len }
        }
        PartFile { checksum: expected, .. } if *expected != checksum => {
            Damage::Checksum { expected: *expected, found: checksum }
        }
        _ => return Ok(()),
    };
    Err(StoreError::Damaged { path: path.to_owned(), what })
}

/// The length and the xxh3 of a file, which may be large: not all of it is in memory at a time.
fn measure(path: &Path) -> io::Result<(u64, u64)> {
    let (mut file, mut checksum, mut len) = (File::open(path)?, Xxh3::new(), 0);
    let mut bytes = vec![0; READ_AT_ONCE];
    loop {
        match file.read(&mut bytes) {
            Ok(0) => return Ok((len, checksum.digest())),
            Ok(read) => {
                checksum.update(&bytes[..read]);
                len += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// So many bytes of a file are read at once.
const READ_AT_ONCE: usize = 256 * 1024;

/// Removes a folder of the local disk, if it is there.
///
/// # Errors
/// If it cannot be removed.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(folder, "remove")(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    /// A database of one file that never changes, and one that does, and where its copies are stored.
    fn stored_once() -> (tempfile::TempDir, Objects, DatabaseCopy) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1.sst"), b"never changes").unwrap();
        fs::write(folder.path().join("CURRENT"), b"changes").unwrap();
        let objects = crate::MemoryStore::new().shared();
        let copy =
            DatabaseCopy::store(&objects, "chk-1/count", folder.path(), &DatabaseCopy::default()).unwrap();
        (folder, objects, copy)
    }

    #[test]
    fn a_copy_after_a_loss_refers_to_nothing_that_was_stored_before() {
        let (folder, objects, before) = stored_once();
        let paths =
            |copy: &DatabaseCopy| copy.files.iter().map(|file| file.file.path.clone()).collect::<Vec<_>>();
        let next = DatabaseCopy::store(&objects, "chk-2/count", folder.path(), &before).unwrap();
        assert_eq!(paths(&next), ["chk-1/count.1.sst", "chk-2/count.CURRENT"]);
        let anew = DatabaseCopy::store_anew(&objects, "chk-3/count", folder.path(), &before).unwrap();
        assert_eq!(paths(&anew), ["chk-3/count.1.sst", "chk-3/count.CURRENT"]);
    }

    #[test]
    fn a_file_of_the_database_that_was_damaged_together_with_its_copy_is_not_stored_as_if_it_were_whole() {
        let (folder, objects, before) = stored_once();
        for damaged in [&b"never ch"[..], b"never-changes"] {
            fs::write(folder.path().join("1.sst"), damaged).unwrap();
            let refused =
                DatabaseCopy::store_anew(&objects, "chk-2/count", folder.path(), &before).unwrap_err();
            assert!(
                matches!(refused, StoreError::Damaged { .. }) && refused.to_string().contains("1.sst"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_copy_writes_nothing_outside_of_its_folder_and_through_no_link() {
        let temp = tempfile::tempdir().unwrap();
        let (folder, victim) = (temp.path().join("db"), temp.path().join("victim"));
        fs::write(&victim, b"precious").unwrap();
        let objects = crate::MemoryStore::new().shared();
        objects.replace("chk-1/x", b"forged").unwrap();
        let file = PartFile { path: "chk-1/x".into(), len: 6, checksum: xxh3_64(b"forged") };
        let copy =
            |name: &str| DatabaseCopy { files: vec![DatabaseFile { name: name.into(), file: file.clone() }] };
        for name in ["../victim", victim.to_str().unwrap(), "..", ""] {
            let error = copy(name).fetch(&objects, &folder).unwrap_err();
            assert!(matches!(error, StoreError::PathOutside { .. }), "{name}: {error}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&victim, folder.join("link")).unwrap();
            assert!(copy("link").fetch(&objects, &folder).is_err());
        }
        copy("x").fetch(&objects, &folder).unwrap();
        assert_eq!(fs::read(folder.join("x")).unwrap(), b"forged");
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_file_that_is_read_in_several_steps_has_the_checksum_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for len in [0, 1, READ_AT_ONCE, 2 * READ_AT_ONCE + 7] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            fs::write(&path, &bytes).unwrap();
            assert_eq!(measure(&path).unwrap(), (len as u64, xxh3_64(&bytes)));
        }
    }
}
