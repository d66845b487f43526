//! Savepoints: checkpoints that stand for themselves, in a folder of their own.
//!
//! ```text
//! <folder>/chk-7/*      the files, under the names that they have in the checkpoint
//! <folder>/manifest     appears last: the savepoint exists
//! ```
//!
//! All files are copies, nothing outside of the folder is referred to, and nobody but its owner removes it. A
//! file `removing` is what `manifest` was, of a savepoint that is being removed.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::ErrorKind;

use crate::error::failed;
use crate::objects::{get_if_exists, put};
use crate::part::{checked, read_verified, verify_part};
use crate::store::JOB;
use crate::{Manifest, Objects, PartFile, SnapshotId, SnapshotPlace, StoreError};

/// Says that a savepoint is there, and what it consists of.
pub(crate) const MANIFEST: &str = "manifest";

/// The manifest of a savepoint that is being removed.
const REMOVING: &str = "removing";

/// Copies a checkpoint, whose files are in `from`, and makes it exist at `to`.
///
/// # Errors
/// If there is a savepoint already, a file of the checkpoint is missing or damaged, or a disk refuses. What was copied
/// so far is removed then, as well as that is possible.
pub fn write_savepoint(
    manifest: &Manifest,
    from: &SnapshotPlace,
    to: &SnapshotPlace,
) -> Result<(), StoreError> {
    prepare_savepoint(to)?;
    let written =
        copy_to_savepoint(manifest.files(), from, to).and_then(|()| complete_savepoint(manifest, to));
    // A manifest that could not be made durable, or is somebody else's, has its files here.
    if written.is_err() && matches!(to.objects.exists(MANIFEST), Ok(false)) {
        // Where there is no room, what is left of it would take some. What stays is written over by another try.
        if let Err(error) = remove_files(&to.objects, manifest) {
            tracing::warn!(%error, "what was copied of a savepoint stays, without being one");
        }
    }
    written
}

/// Sees to it that a savepoint can be made. What is left of one that was being removed goes first.
///
/// # Errors
/// If there is a savepoint already, or a job has its checkpoints there, or the disk refuses.
pub fn prepare_savepoint(to: &SnapshotPlace) -> Result<(), StoreError> {
    let holds = |name| to.objects.exists(name).map_err(failed(&to.objects.location(name), "look for"));
    if holds(MANIFEST)? {
        return Err(StoreError::SavepointExists { path: to.location() });
    }
    if holds(JOB)? {
        return Err(StoreError::CheckpointFolder { path: to.location() });
    }
    finish_removal(&to.objects).map(drop)
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

/// Removes a savepoint that is not needed any more: its manifest, then the files that this names, and folders that are
/// empty after that. Another savepoint at the same place stays, and so does whatever else is in the folder. A removal
/// that was cut short is taken up where it ended. Returns whether anything was removed.
///
/// # Errors
/// If the manifest is damaged, or the disk refuses.
pub fn remove_savepoint(place: &SnapshotPlace, which: &SnapshotId) -> Result<bool, StoreError> {
    let objects = &place.objects;
    if let Some(bytes) = get_if_exists(objects, MANIFEST)? {
        let path = objects.location(MANIFEST);
        if Manifest::from_bytes(&path, &bytes)?.id() != *which {
            return Ok(false);
        }
        // Without it nobody would know, after a crash, which files are left to be removed.
        let removing = objects.location(REMOVING);
        objects.replace(REMOVING, &bytes).map_err(failed(&removing, "write"))?;
        objects.delete(&[MANIFEST.to_owned()]).map_err(failed(&path, "remove"))?;
    }
    finish_removal(objects)
}

/// Removes the files of a savepoint whose manifest is gone. Returns whether there is one that was being removed.
fn finish_removal(objects: &Objects) -> Result<bool, StoreError> {
    let Some(bytes) = get_if_exists(objects, REMOVING)? else { return Ok(false) };
    let path = objects.location(REMOVING);
    remove_files(objects, &Manifest::from_bytes(&path, &bytes)?)?;
    objects.delete(&[REMOVING.to_owned()]).map_err(failed(&path, "remove"))?;
    objects.prune("").map_err(failed(&objects.location(""), "remove"))?;
    Ok(true)
}

/// Removes the files that a manifest names, what was begun beside them, and folders that are empty after that.
fn remove_files(objects: &Objects, manifest: &Manifest) -> Result<(), StoreError> {
    let mut names = BTreeSet::new();
    for file in manifest.files() {
        names.insert(checked(&file.path)?.to_owned());
    }
    let prefixes: BTreeSet<String> =
        names.iter().filter_map(|name| name.rfind('/').map(|slash| name[..=slash].to_owned())).collect();
    for prefix in &prefixes {
        names.extend(objects.unfinished(prefix).map_err(failed(&objects.location(prefix), "list"))?);
    }
    let names: Vec<String> = names.into_iter().collect();
    let root = objects.location("");
    objects.delete(&names).map_err(failed(&root, "remove files in"))?;
    for prefix in &prefixes {
        objects.prune(prefix).map_err(failed(&objects.location(prefix), "remove"))?;
    }
    Ok(())
}
