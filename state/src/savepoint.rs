//! Savepoints: checkpoints that stand for themselves, in a folder of their own.
//!
//! ```text
//! <folder>/chk-7/*      the files, under the names that they have in the checkpoint
//! <folder>/manifest     appears last: the savepoint exists
//! ```
//!
//! All files are copies, nothing outside of the folder is referred to, and nobody but its owner removes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::part::{failed, path_inside, read_verified};
use crate::{Manifest, PartFile, SnapshotPlace, StoreError};

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

/// Makes the folder of a savepoint to be.
///
/// # Errors
/// If there is a savepoint already, or the disk refuses.
pub fn prepare_savepoint(to: &SnapshotPlace) -> Result<(), StoreError> {
    let path = to.folder.join("manifest");
    if to.fs.exists(&path).map_err(failed(&path, "look for"))? {
        return Err(StoreError::SavepointExists { path: to.folder.clone() });
    }
    to.fs.create_dir_all(&to.folder).map_err(failed(&to.folder, "create"))
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
    let mut folders = BTreeSet::new();
    for file in files {
        let source = path_inside(&from.folder, &file.path)?;
        let target = path_inside(&to.folder, &file.path)?;
        if let Some(folder) = target.parent()
            && folders.insert(folder.to_owned())
        {
            to.fs.create_dir_all(folder).map_err(failed(folder, "create"))?;
        }
        write(to, &target, &read_verified(&from.fs, &source, file)?)?;
    }
    for folder in &folders {
        to.fs.sync_dir(folder).map_err(failed(folder, "sync"))?;
    }
    Ok(())
}

/// Makes a savepoint exist, all of whose files are in its folder already, durably.
///
/// # Errors
/// If there is a savepoint already, or the disk refuses.
pub fn complete_savepoint(manifest: &Manifest, to: &SnapshotPlace) -> Result<(), StoreError> {
    prepare_savepoint(to)?;
    let path = to.folder.join("manifest");
    let temporary = path.with_extension("tmp");
    write(to, &temporary, &manifest.to_bytes(&path)?)?;
    to.fs.rename(&temporary, &path).map_err(failed(&temporary, "rename"))?;
    to.fs.sync_dir(&to.folder).map_err(failed(&to.folder, "sync"))
}

fn write(to: &SnapshotPlace, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = to.fs.create(path).map_err(failed(path, "create"))?;
    file.write_all(bytes).map_err(failed(path, "write"))?;
    file.sync().map_err(failed(path, "sync"))
}

/// Reads what a savepoint consists of, and checks each of its files.
///
/// # Errors
/// If there is none, a file is missing or damaged, or a newer version wrote it.
pub fn read_savepoint(place: &SnapshotPlace) -> Result<Manifest, StoreError> {
    let path = place.folder.join("manifest");
    if !place.fs.exists(&path).map_err(failed(&path, "look for"))? {
        return Err(StoreError::NoSavepoint { path: place.folder.clone() });
    }
    let bytes = place.fs.read(&path).map_err(failed(&path, "read"))?;
    let manifest = Manifest::from_bytes(&path, &bytes)?;
    manifest.files().try_for_each(|file| verify(place, file))?;
    Ok(manifest)
}

fn verify(place: &SnapshotPlace, file: &PartFile) -> Result<(), StoreError> {
    let path: PathBuf = path_inside(&place.folder, &file.path)?;
    read_verified(&place.fs, &path, file).map(drop)
}

/// Removes a savepoint that is not needed any more, first what says that it is there. Returns whether there was one.
///
/// # Errors
/// If the disk refuses.
pub fn remove_savepoint(place: &SnapshotPlace) -> Result<bool, StoreError> {
    let path = place.folder.join("manifest");
    if !place.fs.exists(&path).map_err(failed(&path, "look for"))? {
        return Ok(false);
    }
    place.fs.remove_file(&path).map_err(failed(&path, "remove"))?;
    place.fs.sync_dir(&place.folder).map_err(failed(&place.folder, "sync"))?;
    place.fs.remove_dir_all(&place.folder).map_err(failed(&place.folder, "remove"))?;
    Ok(true)
}
