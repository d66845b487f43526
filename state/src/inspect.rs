//! Looking at snapshots from outside: without the lock of their folder, and without the types of the program.

mod keyed;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use keyed::{CollectionEntry, KeyedEntry};

use crate::error::failed;
use crate::part::verify_part;
use crate::store::found;
use crate::{InstancePart, Manifest, OperatorPart, PartFile, Section, SnapshotPlace, StoreError, read_part};

/// A folder with snapshots, which a job may be using. Nothing in it is changed.
///
/// What the job removes in the meantime is missed as if it were damaged; [`has`](Self::has) tells the one from the
/// other.
#[derive(Clone, Debug)]
pub struct Snapshots {
    place: SnapshotPlace,
    is_savepoint: bool,
}

/// A snapshot that is complete.
#[derive(Debug)]
pub struct FoundSnapshot {
    /// Its id, or `None` if it is a savepoint that does not tell.
    pub checkpoint: Option<u64>,
    /// What it consists of, or what is wrong with its manifest.
    pub manifest: Result<Manifest, StoreError>,
}

impl Snapshots {
    /// Those in the checkpoint folder, or the savepoint, that is at this place.
    ///
    /// # Errors
    /// If it is neither, or cannot be listed.
    pub fn open(place: SnapshotPlace) -> Result<Self, StoreError> {
        let path = place.location();
        let listing = place.objects.list("").map_err(failed(&path, "list"))?;
        let has_checkpoints = listing.prefixes.iter().any(|prefix| found::id_of(prefix).is_some());
        let has = |name| listing.objects.iter().any(|object| object.name == name);
        let is_savepoint = has("manifest");
        if is_savepoint && !has_checkpoints && is_checkpoint(&path) {
            return Err(StoreError::SingleCheckpoint { path });
        }
        if !is_savepoint && !has_checkpoints && !has("job") {
            return Err(StoreError::NoSnapshots { path });
        }
        Ok(Self { place, is_savepoint })
    }

    /// Where they are.
    pub fn place(&self) -> &SnapshotPlace {
        &self.place
    }

    /// All complete snapshots, newest first.
    ///
    /// # Errors
    /// If the folder can't be listed.
    pub fn all(&self) -> Result<Vec<FoundSnapshot>, StoreError> {
        let objects = &self.place.objects;
        if self.is_savepoint {
            let path = objects.location("manifest");
            let bytes = objects.get("manifest").map_err(failed(&path, "read"));
            let manifest = bytes.and_then(|bytes| Manifest::from_bytes(&path, &bytes));
            let checkpoint = manifest.as_ref().ok().map(|manifest| manifest.checkpoint);
            return Ok(vec![FoundSnapshot { checkpoint, manifest }]);
        }
        let found = found::scan(objects)?.into_iter();
        Ok(found.map(|(id, manifest)| FoundSnapshot { checkpoint: Some(id), manifest }).collect())
    }

    /// Whether a snapshot that was found is still there: a job removes its older ones.
    pub fn has(&self, checkpoint: u64) -> bool {
        let name = if self.is_savepoint { "manifest".to_owned() } else { found::manifest_of(checkpoint) };
        self.place.objects.exists(&name).unwrap_or(true)
    }

    /// Reads a file of a snapshot and compares it with what the manifest says.
    ///
    /// # Errors
    /// If it is missing, or has another length or another checksum.
    pub fn verify(&self, file: &PartFile) -> Result<(), StoreError> {
        verify_part(&self.place.objects, file)
    }

    /// The sections of the newest file of an instance, without what that builds on.
    ///
    /// # Errors
    /// If the file is missing, damaged, or of a newer version.
    pub fn sections(&self, part: &InstancePart) -> Result<Vec<Section>, StoreError> {
        match &part.file {
            Some(file) => read_part(&self.place.objects, file),
            None => Ok(Vec::new()),
        }
    }

    /// Shows all keys of an operator with their state, in the order of key groups and of encoded keys, until `visit`
    /// says that it has had enough. Databases are copied into the folder `scratch`, and gone from there at the end.
    ///
    /// # Errors
    /// If a file is missing or damaged, the state is in a database and this build knows of none, or a disk refuses.
    pub fn keyed_state(
        &self,
        operator: &OperatorPart,
        scratch: &Path,
        visit: &mut dyn FnMut(KeyedEntry<'_>) -> bool,
    ) -> Result<(), StoreError> {
        keyed::states(&self.place, operator, scratch, visit)
    }

    /// Shows all pages of all collections of an operator, as [`keyed_state`](Self::keyed_state) shows its keys. Some of
    /// what is in them may have expired.
    ///
    /// # Errors
    /// As [`keyed_state`](Self::keyed_state).
    pub fn collections(
        &self,
        operator: &OperatorPart,
        scratch: &Path,
        visit: &mut dyn FnMut(CollectionEntry<'_>) -> bool,
    ) -> Result<(), StoreError> {
        keyed::collections(&self.place, operator, scratch, visit)
    }
}

/// Whether the folder's name is that of a checkpoint.
fn is_checkpoint(folder: &Path) -> bool {
    folder.file_name().and_then(|name| found::id_of(&format!("{}/", name.to_str()?))).is_some()
}
