//! The folder of a job's checkpoints.
//!
//! ```text
//! <root>/lock               held by the process that uses the folder
//! <root>/job                the identity of the job
//! <root>/skips              records that are left out when they come again
//! <root>/chk-7/*.part       what the instances saved for checkpoint 7
//! <root>/chk-7/manifest     appears last: checkpoint 7 exists
//! ```

mod collect;
pub(crate) mod found;
mod skips;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use collect::Collected;
pub use skips::durable_skips;

use crate::bug::{self, Bug};
use crate::frame::Format;
use crate::manifest;
use crate::part::{failed, verify_part};
use crate::{Damage, FileInfo, Fs, Manifest, StoreError};

const IDENTITY: Format = Format { magic: *b"wshdjob\0", version: 1 };

/// A folder of checkpoints, locked for this process. Clones share the lock, which the last one releases.
#[derive(Clone)]
pub struct CheckpointStore {
    inner: Arc<Inner>,
}

struct Inner {
    fs: Fs,
    root: PathBuf,
    _lock: Box<dyn Send + Sync>,
}

/// Who the job is, across restarts of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The history the job is in: a fresh start begins a new one.
    pub lineage: String,
    /// The highest run that was ever started.
    pub run: u32,
    /// Checkpoint ids up to this one may have been used.
    pub reserved_checkpoints: u64,
    /// The checkpoint of another history that this one began at, if it did not begin empty.
    #[serde(default)]
    pub began_at: Option<u64>,
    /// The savepoint that this history began at, if it began at one.
    #[serde(default)]
    pub began_from: Option<String>,
    /// Operators that were rescaled while the job ran.
    #[serde(default)]
    pub rescaled: Vec<RescaledOperator>,
}

/// An operator that has another parallelism than its wiring says, as it was rescaled while the job ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescaledOperator {
    /// Its name.
    pub operator: String,
    /// How many instances the wiring and the configuration gave it then. Once they say something else, that counts.
    pub wired: u32,
    /// How many it was given instead.
    pub parallelism: u32,
}

/// The id of a checkpoint, and its manifest or what is wrong with that.
pub type Scanned = (u64, Result<Manifest, StoreError>);

impl CheckpointStore {
    /// Opens the folder `root`, which is created if missing, for this process alone.
    ///
    /// # Errors
    /// [`StoreError::NotWritable`] if it can't be created or written to, [`StoreError::Locked`] if it is in use.
    pub fn open(fs: Fs, root: &Path) -> Result<Self, StoreError> {
        let not_writable = |source| StoreError::NotWritable { path: root.to_owned(), source };
        fs.create_dir_all(root).map_err(not_writable)?;
        let lock = fs.lock(&root.join("lock")).map_err(not_writable)?;
        let lock = lock.ok_or_else(|| StoreError::Locked { path: root.to_owned() })?;

        // A full or read-only disk is better found now than at the first checkpoint.
        let probe = root.join("probe.tmp");
        let written = fs.create(&probe).and_then(|mut file| {
            file.write_all(b"probe")?;
            file.sync()
        });
        written.and_then(|()| fs.remove_file(&probe)).map_err(not_writable)?;

        Ok(Self { inner: Arc::new(Inner { fs, root: root.to_owned(), _lock: lock }) })
    }

    /// The file system the folder is on.
    pub fn fs(&self) -> &Fs {
        &self.inner.fs
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The identity saved last, or `None` in a new folder.
    ///
    /// # Errors
    /// If the file can't be read, is damaged, or was written by a newer version.
    pub fn identity(&self) -> Result<Option<Identity>, StoreError> {
        let path = self.root().join("job");
        match self.read_if_exists(&path)? {
            Some(bytes) => manifest::open(IDENTITY, &path, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Replaces the identity, atomically and durably.
    ///
    /// # Errors
    /// If the disk refuses. Either the old or the new identity is there then.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        let path = self.root().join("job");
        self.replace(&path, &manifest::seal(IDENTITY, &path, identity)?)?;
        self.sync_dir(self.root())
    }

    /// All checkpoints that have a manifest, newest first, each decoded or with what is wrong with it.
    ///
    /// # Errors
    /// If the folder can't be listed.
    pub fn scan(&self) -> Result<Vec<Scanned>, StoreError> {
        found::scan(self.fs(), self.root())
    }

    /// Reads every file of a checkpoint and compares it with what the manifest says.
    ///
    /// # Errors
    /// The first file that is missing, has another length or another checksum.
    pub fn verify(&self, manifest: &Manifest) -> Result<(), StoreError> {
        manifest.files().try_for_each(|part| verify_part(self.fs(), self.root(), part))
    }

    /// Creates the folder of a new checkpoint, for the instances to write their parts into.
    ///
    /// # Errors
    /// [`StoreError::CheckpointExists`] if the id was used for a complete checkpoint, or if the disk refuses.
    pub fn prepare(&self, checkpoint: u64) -> Result<(), StoreError> {
        let folder = self.folder(checkpoint);
        let path = folder.join("manifest");
        if self.fs().exists(&path).map_err(failed(&path, "look for"))? {
            return Err(StoreError::CheckpointExists { path: self.root().to_owned(), checkpoint });
        }
        self.fs().create_dir_all(&folder).map_err(failed(&folder, "create"))
    }

    /// Makes a checkpoint exist. All of its files must be finished; their presence and length is checked. Once
    /// this returns `Ok`, the checkpoint survives any crash. Committing the same manifest again is fine.
    ///
    /// # Errors
    /// If a file is missing, the id is taken by another manifest, or the disk refuses. In the last case the
    /// checkpoint may exist after a restart, and must be taken for neither complete nor failed until this
    /// is called again with success or the process has started anew.
    pub fn commit(&self, manifest: &Manifest) -> Result<(), StoreError> {
        self.check_presence(manifest)?;
        let checkpoint = manifest.checkpoint;
        let folder = self.folder(checkpoint);
        let path = folder.join("manifest");
        let bytes = manifest.to_bytes(&path)?;
        match self.read_if_exists(&path)? {
            Some(existing) if existing != bytes => {
                return Err(StoreError::CheckpointExists { path: self.root().to_owned(), checkpoint });
            }
            _ => self.replace(&path, &bytes)?,
        }
        if bug::is(Bug::ManifestFolderNotSynced) {
            return Ok(());
        }
        self.sync_dir(&folder)?;
        self.sync_dir(self.root())
    }

    /// Takes back a [`commit`](Self::commit) that has failed: when this returns `Ok`, the checkpoint is not there and no
    /// crash brings it back.
    ///
    /// # Errors
    /// If the disk refuses; then it is still not known.
    pub fn retract(&self, checkpoint: u64) -> Result<(), StoreError> {
        let folder = self.folder(checkpoint);
        let path = folder.join("manifest");
        match self.fs().remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(failed(&path, "remove"))?,
        }
        self.sync_dir(&folder)
    }

    /// Sees to it that a checkpoint that was found survives any crash: the process that wrote it may have been killed
    /// between the manifest's rename and its becoming durable. To be called before anything is built on it.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn settle(&self, checkpoint: u64) -> Result<(), StoreError> {
        if bug::is(Bug::FoundCheckpointNotSettled) {
            return Ok(());
        }
        self.sync_dir(&self.folder(checkpoint))?;
        self.sync_dir(self.root())
    }

    fn folder(&self, checkpoint: u64) -> PathBuf {
        self.root().join(format!("chk-{checkpoint}"))
    }

    fn checkpoint_ids(&self) -> Result<Vec<u64>, StoreError> {
        found::checkpoint_ids(self.fs(), self.root())
    }

    fn manifest(&self, checkpoint: u64) -> Result<Option<Manifest>, StoreError> {
        found::manifest(self.fs(), self.root(), checkpoint)
    }

    /// A cheap form of [`verify`](Self::verify): lists folders instead of reading files.
    fn check_presence(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let mut listed: BTreeMap<PathBuf, Vec<FileInfo>> = BTreeMap::new();
        for part in manifest.files() {
            let path = self.root().join(&part.path);
            let damaged = |what| StoreError::Damaged { path: path.clone(), what };
            let folder = path.parent().unwrap_or(self.root());
            if !listed.contains_key(folder) {
                let files = self.fs().list(folder).map_err(failed(folder, "list"))?;
                listed.insert(folder.to_owned(), files);
            }
            let name = path.file_name().unwrap_or_default();
            let found = listed[folder].iter().find(|file| *file.name == *name);
            let found = found.ok_or_else(|| damaged(Damage::Missing))?.len;
            if found != part.len {
                return Err(damaged(Damage::Length { expected: part.len, found }));
            }
        }
        Ok(())
    }

    fn read_if_exists(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        found::read_if_exists(self.fs(), path)
    }

    /// Replaces a file atomically; durable once its folder is synced.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let in_place = bug::is(Bug::ManifestWrittenInPlace);
        let temporary = if in_place { path.to_owned() } else { path.with_extension("tmp") };
        let mut file = self.fs().create(&temporary).map_err(failed(&temporary, "create"))?;
        file.write_all(bytes).map_err(failed(&temporary, "write"))?;
        file.sync().map_err(failed(&temporary, "sync"))?;
        self.fs().rename(&temporary, path).map_err(failed(&temporary, "rename"))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), StoreError> {
        self.fs().sync_dir(dir).map_err(failed(dir, "sync"))
    }
}

impl fmt::Debug for CheckpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointStore").field("root", &self.inner.root).finish_non_exhaustive()
    }
}
