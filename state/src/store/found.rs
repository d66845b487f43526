//! What is found in a checkpoint folder, by anyone who may read it.

use super::Scanned;
use crate::error::failed;
use crate::objects::get_if_exists;
use crate::{Damage, Manifest, Objects, StoreError};

/// All checkpoints that have a manifest, newest first.
pub(crate) fn scan(objects: &Objects) -> Result<Vec<Scanned>, StoreError> {
    let mut found = Vec::new();
    for checkpoint in checkpoint_ids(objects)?.into_iter().rev() {
        if let Some(manifest) = manifest(objects, checkpoint).transpose() {
            found.push((checkpoint, manifest));
        }
    }
    Ok(found)
}

/// The ids of all checkpoints that have something, complete or not, ascending.
pub(crate) fn checkpoint_ids(objects: &Objects) -> Result<Vec<u64>, StoreError> {
    let listing = objects.list("").map_err(failed(&objects.location(""), "list"))?;
    let mut ids: Vec<u64> = listing.prefixes.iter().filter_map(|prefix| id_of(prefix)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// The manifest of a checkpoint, or `None` if it isn't complete.
pub(crate) fn manifest(objects: &Objects, checkpoint: u64) -> Result<Option<Manifest>, StoreError> {
    let name = manifest_of(checkpoint);
    let Some(bytes) = get_if_exists(objects, &name)? else {
        return Ok(None);
    };
    let path = objects.location(&name);
    let manifest = Manifest::from_bytes(&path, &bytes)?;
    if manifest.checkpoint == checkpoint {
        return Ok(Some(manifest));
    }
    let what = Damage::OtherCheckpoint { expected: checkpoint, found: manifest.checkpoint };
    Err(StoreError::Damaged { path, what })
}

/// What the names of all files begin with that were written for a checkpoint.
pub(crate) fn prefix_of(checkpoint: u64) -> String {
    format!("chk-{checkpoint}/")
}

/// The name of a checkpoint's manifest.
pub(crate) fn manifest_of(checkpoint: u64) -> String {
    format!("chk-{checkpoint}/manifest")
}

/// The checkpoint of a prefix. Names that only look alike, as `chk-007/`, are someone else's.
pub(crate) fn id_of(prefix: &str) -> Option<u64> {
    let id = prefix.strip_prefix("chk-")?.strip_suffix('/')?.parse().ok()?;
    (prefix == prefix_of(id)).then_some(id)
}
