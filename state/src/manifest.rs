//! Manifests: what a checkpoint consists of. A checkpoint exists once its manifest does.

#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::frame::{self, Format};
use crate::part::{checked, plain};
use crate::{DatabaseCopy, PartFile, StoreError, decode, encode};

const FORMAT: Format = Format { magic: *b"wshdmani", version: 2 };

/// A complete checkpoint of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which history of the job this belongs to: a fresh start begins a new one.
    pub lineage: String,
    /// The id of the checkpoint, increasing over the whole lineage and never reused.
    pub checkpoint: u64,
    /// The run of the job that made it.
    pub run: u64,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// How long it took, in milliseconds, from its trigger until all that it consists of was written; not known of one
    /// that was written offline or by a version that did not note it.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// The name of the topology.
    pub topology: String,
    /// Whether all input had ended, so that nothing remains to be done.
    pub finished: bool,
    /// Whether event time begins anew: how far it had come, as the parts have it, does not count any more.
    #[serde(default)]
    pub event_time_reset: bool,
    /// The [`hash_canary`](crate::hash_canary) of the build that made it.
    pub hash_canary: u64,
    /// The operators, each with its parts.
    pub operators: Vec<OperatorPart>,
}

/// What a checkpoint holds of one operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorPart {
    /// The operator's name, by which a restore finds its state.
    pub name: String,
    /// What it is: source, process, sink, …
    pub kind: String,
    /// The number of key groups, or 0 if it is not keyed.
    pub key_groups: u16,
    /// The number of instances it ran with.
    pub parallelism: u32,
    /// The parts of its instances.
    pub instances: Vec<InstancePart>,
}

/// What a checkpoint holds of one operator instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancePart {
    /// The index of the instance, below the operator's parallelism.
    pub instance: u32,
    /// The checkpoint this part was made for; older than the manifest's for a region that was down.
    pub checkpoint: u64,
    /// How long it took, in milliseconds, from the trigger of that checkpoint until this part was written; not known as
    /// in [`Manifest::duration_ms`].
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// The file, or `None` if the instance had nothing to save.
    pub file: Option<PartFile>,
    /// The files whose keyed state and timers `file` holds only the changes to, oldest first: the first holds all of
    /// it, the others changes, too. Empty if `file` holds all of it.
    #[serde(default)]
    pub changes_of: Vec<PartFile>,
    /// The database that has the keys that `file` does not hold.
    #[serde(default)]
    pub database: Option<DatabaseCopy>,
}

impl InstancePart {
    /// The part of an instance that had nothing to save.
    pub fn nothing(instance: u32, checkpoint: u64) -> Self {
        Self { instance, checkpoint, duration_ms: None, file: None, changes_of: Vec::new(), database: None }
    }

    /// All files, whichever checkpoint's folder they are in.
    pub fn files(&self) -> impl Iterator<Item = &PartFile> {
        let database = self.database.iter().flat_map(|database| &database.files).map(|file| &file.file);
        self.file.iter().chain(&self.changes_of).chain(database)
    }
}

/// Which snapshot it is, wherever it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotId {
    /// The history that it was made in.
    pub lineage: String,
    /// The checkpoint that it is, or was made of.
    pub checkpoint: u64,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

impl Manifest {
    /// Which snapshot it is.
    pub fn id(&self) -> SnapshotId {
        SnapshotId { lineage: self.lineage.clone(), checkpoint: self.checkpoint, created_ms: self.created_ms }
    }

    /// All files, whichever checkpoint's folder they are in.
    pub fn files(&self) -> impl Iterator<Item = &PartFile> {
        self.operators.iter().flat_map(|operator| &operator.instances).flat_map(InstancePart::files)
    }

    /// The bytes of the files that were written for it, rather than for a checkpoint before.
    pub fn new_bytes(&self) -> u64 {
        let folder = format!("chk-{}/", self.checkpoint);
        self.files().filter(|file| file.path.starts_with(&folder)).map(|file| file.len).sum()
    }

    /// The bytes of the manifest file; `path` is named in errors.
    pub(crate) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        seal(FORMAT, path, self)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made.
    pub(crate) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, StoreError> {
        let manifest: Self = open(FORMAT, path, bytes)?;
        manifest.check_names()?;
        Ok(manifest)
    }

    /// Names in it lead nowhere else, whoever has written it.
    fn check_names(&self) -> Result<(), StoreError> {
        self.files().try_for_each(|file| checked(&file.path).map(drop))?;
        let instances = self.operators.iter().flat_map(|operator| &operator.instances);
        let mut names = instances.filter_map(|part| part.database.as_ref()).flat_map(|copy| &copy.files);
        names.try_for_each(|file| plain(&file.name).map(drop))
    }
}

/// Encodes a value into a checksummed file.
pub(crate) fn seal<T: Serialize + ?Sized>(
    format: Format,
    path: &Path,
    value: &T,
) -> Result<Vec<u8>, StoreError> {
    let mut body = Vec::new();
    encode(value, &mut body).map_err(|source| StoreError::Codec { path: path.to_owned(), source })?;
    Ok(frame::seal(format, &body))
}

/// Decodes a value from a checksummed file.
pub(crate) fn open<T>(format: Format, path: &Path, bytes: &[u8]) -> Result<T, StoreError>
where
    T: for<'de> Deserialize<'de>,
{
    let mut body = frame::open(format, path, bytes)?;
    decode(&mut body).map_err(|source| StoreError::Codec { path: path.to_owned(), source })
}
