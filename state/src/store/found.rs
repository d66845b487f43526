//! What is found in a checkpoint folder, by anyone who may read it.

use std::io;
use std::path::Path;

use super::Scanned;
use crate::part::failed;
use crate::{Damage, Fs, Manifest, StoreError};

/// All checkpoints that have a manifest, newest first.
pub(crate) fn scan(fs: &Fs, root: &Path) -> Result<Vec<Scanned>, StoreError> {
    let mut found = Vec::new();
    for checkpoint in checkpoint_ids(fs, root)?.into_iter().rev() {
        if let Some(manifest) = manifest(fs, root, checkpoint).transpose() {
            found.push((checkpoint, manifest));
        }
    }
    Ok(found)
}

/// The ids of all checkpoint folders, complete or not, ascending.
pub(crate) fn checkpoint_ids(fs: &Fs, root: &Path) -> Result<Vec<u64>, StoreError> {
    let files = fs.list(root).map_err(failed(root, "list"))?;
    let mut ids: Vec<u64> =
        files.iter().filter(|file| file.is_dir).filter_map(|file| id_of(&file.name)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// The manifest of a checkpoint, or `None` if it isn't complete.
pub(crate) fn manifest(fs: &Fs, root: &Path, checkpoint: u64) -> Result<Option<Manifest>, StoreError> {
    let path = root.join(format!("chk-{checkpoint}")).join("manifest");
    let Some(bytes) = read_if_exists(fs, &path)? else {
        return Ok(None);
    };
    let manifest = Manifest::from_bytes(&path, &bytes)?;
    if manifest.checkpoint == checkpoint {
        return Ok(Some(manifest));
    }
    let what = Damage::OtherCheckpoint { expected: checkpoint, found: manifest.checkpoint };
    Err(StoreError::Damaged { path, what })
}

pub(crate) fn read_if_exists(fs: &Fs, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, "read")(error)),
    }
}

/// The checkpoint of a folder's name. Names that only look alike, as `chk-007`, are someone else's.
pub(crate) fn id_of(folder: &str) -> Option<u64> {
    let id = folder.strip_prefix("chk-")?.parse().ok()?;
    (folder == format!("chk-{id}")).then_some(id)
}
