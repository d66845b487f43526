//! Savepoints: checkpoints that stand for themselves, in a folder of their own.
//!
//! ```text
//! <folder>/chk-7/*      the files, under the names that they have in the checkpoint
//! <folder>/manifest     appears last: the savepoint exists
//! ```
//!
//! All files are copies, nothing outside of the folder is referred to, and nobody but its owner removes it.

use std::io::ErrorKind;

use crate::objects::{get_if_exists, put};
use crate::part::{checked, failed, read_verified, verify_part};
use crate::{Manifest, Objects, PartFile, SnapshotPlace, StoreError};

const MANIFEST: &str = "manifest";

/// Copies a checkpoint, whose files are in `from`, and makes it exist at `to`.
///
/// # Errors
/// If there is a savepoint already, a file of the checkpoint is missing or damaged, or a disk refuses. What was copied so
/// far stays then, without being one; it can be removed, or written over by another try.
pub fn write_savepoint(
    manifest: &Manifest,
    from: &SnapshotPlace,
    to: &SnapshotPlace,
) -> Result<(), StoreError> {
    prepare_savepoint(to)?;
    copy_to_savepoint(manifest.files(), from, to)?;
    complete_savepoint(manifest, to)
}

/// Sees to it that a savepoint can be made.
///
/// # Errors
/// If there is a savepoint already, or the disk refuses.
pub fn prepare_savepoint(to: &SnapshotPlace) -> Result<(), StoreError> {
    let path = to.objects.location(MANIFEST);
    if to.objects.exists(MANIFEST).map_err(failed(&path, "look for"))? {
        return Err(StoreError::SavepointExists { path: to.location() });
    }
    Ok(())
}

/// Copies files of a snapshot in `from` into a savepoint to be, under the same names, durably.
///
/// # Errors
/// If a file is missing or damaged, or a disk refuses.
pub fn copy_to_savepoint<'f>(
    files: impl IntoIterator<Item = &'f PartFile>,
    from: &SnapshotPlace,
    to: &SnapshotPlace,
) -> Result<(), StoreError> {
    for file in files {
        write(&to.objects, checked(&file.path)?, &read_verified(&from.objects, file)?)?;
    }
    Ok(())
}

/// Makes a savepoint exist, all of whose files are there already, durably.
///
/// # Errors
/// If there is a savepoint already, or the disk refuses.
pub fn complete_savepoint(manifest: &Manifest, to: &SnapshotPlace) -> Result<(), StoreError> {
    let path = to.objects.location(MANIFEST);
    match put(&to.objects, MANIFEST, &manifest.to_bytes(&path)?) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(StoreError::SavepointExists { path: to.location() })
        }
        written => written.map_err(failed(&path, "write")),
    }
}

/// Writes a file, in place of what a try that failed may have left.
fn write(objects: &Objects, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let written = match put(objects, name, bytes) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            objects.delete(&[name.to_owned()]).and_then(|()| put(objects, name, bytes))
        }
        written => written,
    };
    written.map_err(failed(&objects.location(name), "write"))
}

/// Reads what a savepoint consists of, and checks each of its files.
///
/// # Errors
/// If there is none, a file is missing or damaged, or a newer version wrote it.
pub fn read_savepoint(place: &SnapshotPlace) -> Result<Manifest, StoreError> {
    let objects = &place.objects;
    let Some(bytes) = get_if_exists(objects, MANIFEST)? else {
        return Err(StoreError::NoSavepoint { path: place.location() });
    };
    let manifest = Manifest::from_bytes(&objects.location(MANIFEST), &bytes)?;
    manifest.files().try_for_each(|file| verify_part(objects, file))?;
    Ok(manifest)
}

/// Removes a savepoint that is not needed any more, first what says that it is there. Returns whether there was one.
///
/// # Errors
/// If the disk refuses.
pub fn remove_savepoint(place: &SnapshotPlace) -> Result<bool, StoreError> {
    let objects = &place.objects;
    let path = objects.location(MANIFEST);
    if !objects.exists(MANIFEST).map_err(failed(&path, "look for"))? {
        return Ok(false);
    }
    objects.delete(&[MANIFEST.to_owned()]).map_err(failed(&path, "remove"))?;
    objects.delete_all("").map_err(failed(&place.location(), "remove"))?;
    Ok(true)
}
