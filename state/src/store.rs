//! The checkpoints of a job, and what it remembers beside them, in a store of objects.
//!
//! ```text
//! job                the identity of the job
//! skips              records that are left out when they come again
//! chk-7/*.part       what the instances saved for checkpoint 7
//! chk-7/manifest     put last: checkpoint 7 exists
//! ```
//!
//! All but the first two are put once and never changed.

mod collect;
pub(crate) mod found;
mod skips;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

pub use collect::Collected;
pub use skips::durable_skips;

use crate::bug::{self, Bug};
use crate::error::failed;
use crate::frame::Format;
use crate::manifest;
use crate::objects::{get_if_exists, put};
use crate::part::verify_part;
use crate::savepoint;
use crate::{Damage, Lock, Manifest, Objects, SnapshotId, StoreError};

/// Name of the identity.
pub(crate) const JOB: &str = "job";

const IDENTITY: Format = Format { magic: *b"wshdjob\0", version: 1 };

/// The checkpoints of a job, locked for it. Clones share the lock, which the last one releases.
#[derive(Clone)]
pub struct CheckpointStore {
    inner: Arc<Inner>,
}

struct Inner {
    objects: Objects,
    /// The last one is in force. Those before it lie where the store was moved to: nobody may begin there meanwhile.
    locks: Mutex<Vec<Box<dyn Lock>>>,
}

/// Who the job is, across restarts of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The history the job is in: a fresh start begins a new one.
    pub lineage: String,
    /// The highest run that was ever started.
    pub run: u64,
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
    /// Which savepoint was at `began_from` then.
    #[serde(default)]
    pub began_with: Option<SnapshotId>,
    /// The histories before this one: those of checkpoints that may be beside this file, and of output that was there
    /// when this one began. `None` if a version wrote it that did not note them.
    #[serde(default)]
    pub ancestors: Option<BTreeSet<String>>,
    /// The checkpoint that the process which wrote this began with, if it began with one: since then there is that one,
    /// or a newer one.
    #[serde(default)]
    pub newest: Option<u64>,
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
    /// Opens the store for this process alone.
    ///
    /// # Errors
    /// [`StoreError::SavepointFolder`] if it is a savepoint, [`StoreError::NotWritable`] if it can't be written to,
    /// [`StoreError::Locked`] if it is in use.
    pub fn open(objects: Objects) -> Result<Self, StoreError> {
        let path = || objects.location("");
        let is_savepoint = objects.exists(savepoint::MANIFEST);
        if is_savepoint.map_err(|source| StoreError::NotWritable { path: path(), source })? {
            return Err(StoreError::SavepointFolder { path: path() });
        }
        let lock = objects.lock().map_err(|source| StoreError::NotWritable { path: path(), source })?;
        let lock = lock.ok_or_else(|| StoreError::Locked { path: path() })?;
        Ok(Self { inner: Arc::new(Inner { objects, locks: Mutex::new(vec![lock]) }) })
    }

    /// Finds out whether the store is still this holder's: it is not any more once somebody has removed or moved its
    /// folder, where another process could have begun since.
    ///
    /// # Errors
    /// [`StoreError::TakenAway`] if it is not, or if the disk refuses.
    pub fn check_in_place(&self) -> Result<(), StoreError> {
        let locks = self.inner.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let path = || self.objects().location("");
        let in_place = locks.last().map_or(Ok(true), |lock| lock.is_in_place());
        if in_place.map_err(|source| StoreError::Io {
            path: path(),
            doing: "look for the lock in",
            source,
        })? {
            Ok(())
        } else {
            Err(StoreError::TakenAway { path: path() })
        }
    }

    /// Takes the store once more that was [taken away](Self::check_in_place), and writes down in it whose it is, and
    /// which records are skipped. Of what was in it nothing need be there. It is this holder's again when all of that
    /// is written: until then it counts as taken away, and all of it is tried again.
    ///
    /// # Errors
    /// [`StoreError::TakenOver`] if another job has it or has had it since: its holder must not write there any more.
    /// [`StoreError::UnknownHolder`] if that cannot be told yet: it may be tried again. Others if the disk refuses.
    pub fn take_again<T: Serialize>(&self, identity: &Identity, skips: &[T]) -> Result<(), StoreError> {
        let path = || self.objects().location("");
        let lock =
            self.objects().lock().map_err(|source| StoreError::NotWritable { path: path(), source })?;
        let found = self.identity()?;
        let Some(lock) = lock else {
            // It is this holder's own lock if the file only looks like another one, as on file systems that number
            // files anew while they are open. Or it is that of a process which has begun in a copy of the folder, and
            // which says so with a higher run before it writes anything else. As long as the identity there is exactly
            // what this holder has written, it may be either: nothing is written, as none of the two may write where
            // the other one does, and nothing ends.
            let unchanged = |found: &Identity| found.lineage == identity.lineage && found.run == identity.run;
            return Err(if found.as_ref().is_some_and(unchanged) {
                StoreError::UnknownHolder { path: path() }
            } else {
                StoreError::TakenOver { path: path() }
            });
        };
        // What is found may be what was there before, put back.
        let is_ours = |found: &Identity| found.lineage == identity.lineage && found.run <= identity.run;
        if found.is_some_and(|found| !is_ours(&found)) {
            return Err(StoreError::TakenOver { path: path() });
        }
        if !skips.is_empty() {
            self.overwrite_skips(skips)?;
        }
        self.overwrite_identity(identity)?;
        self.inner.locks.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
        Ok(())
    }

    /// Where everything is.
    pub fn objects(&self) -> &Objects {
        &self.inner.objects
    }

    /// The identity saved last, or `None` in a new store.
    ///
    /// # Errors
    /// If the file can't be read, is damaged, or was written by a newer version.
    pub fn identity(&self) -> Result<Option<Identity>, StoreError> {
        match get_if_exists(self.objects(), JOB)? {
            Some(bytes) => manifest::open(IDENTITY, &self.objects().location(JOB), &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Replaces the identity, atomically and durably.
    ///
    /// # Errors
    /// If the disk refuses. Either the old or the new identity is there then.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        self.check_in_place()?;
        self.overwrite_identity(identity)
    }

    fn overwrite_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        self.overwrite(JOB, &manifest::seal(IDENTITY, &self.objects().location(JOB), identity)?)
    }

    /// All checkpoints that have a manifest, newest first, each decoded or with what is wrong with it.
    ///
    /// # Errors
    /// If the folder can't be listed.
    pub fn scan(&self) -> Result<Vec<Scanned>, StoreError> {
        found::scan(self.objects())
    }

    /// Reads every file of a checkpoint and compares it with what the manifest says.
    ///
    /// # Errors
    /// The first file that is missing, has another length or another checksum.
    pub fn verify(&self, manifest: &Manifest) -> Result<(), StoreError> {
        manifest.files().try_for_each(|part| verify_part(self.objects(), part))
    }

    /// Sees to it that a new checkpoint has an id of its own, before the instances put their parts.
    ///
    /// # Errors
    /// [`StoreError::CheckpointExists`] if the id was used for a complete checkpoint, [`StoreError::TakenAway`] if the
    /// store is not this holder's any more, or if the disk refuses.
    pub fn prepare(&self, checkpoint: u64) -> Result<(), StoreError> {
        self.check_in_place()?;
        let name = found::manifest_of(checkpoint);
        let path = self.objects().location(&name);
        if self.objects().exists(&name).map_err(failed(&path, "look for"))? {
            return Err(self.exists_already(checkpoint));
        }
        Ok(())
    }

    /// Makes a checkpoint exist. All of its files must be finished; their presence and length is checked. Once
    /// this returns `Ok`, the checkpoint survives any crash. Committing the same manifest again is fine.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a file is missing or not whole, or if the store is not this holder's any more, the id
    /// is taken by another manifest, or the disk refuses. In the last case the checkpoint may exist after a restart,
    /// and must be taken for neither complete nor failed until this is called again with success or the process has
    /// started anew.
    pub fn commit(&self, manifest: &Manifest) -> Result<(), StoreError> {
        self.check_in_place()?;
        self.check_presence(manifest)?;
        let checkpoint = manifest.checkpoint;
        let name = found::manifest_of(checkpoint);
        let path = self.objects().location(&name);
        let bytes = manifest.to_bytes(&path)?;
        match get_if_exists(self.objects(), &name)? {
            Some(existing) if existing != bytes => return Err(self.exists_already(checkpoint)),
            // An attempt that failed may have left it without its being durable.
            Some(_) => self.overwrite(&name, &bytes)?,
            None => match put(self.objects(), &name, &bytes) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(self.exists_already(checkpoint));
                }
                written => written.map_err(failed(&path, "write"))?,
            },
        }
        if !bug::is(Bug::ManifestFolderNotSynced) {
            self.make_durable(checkpoint)?;
        }
        // What is to be shown now has to be found by the next process.
        self.check_in_place()
    }

    /// Takes back a [`commit`](Self::commit) that has failed: when this returns `Ok`, the checkpoint is not there and
    /// no crash brings it back.
    ///
    /// # Errors
    /// [`StoreError::TakenAway`] if the store is not this holder's any more, when nothing is removed, or if the disk
    /// refuses; then it is still not known.
    pub fn retract(&self, checkpoint: u64) -> Result<(), StoreError> {
        self.check_in_place()?;
        let name = found::manifest_of(checkpoint);
        let path = self.objects().location(&name);
        self.objects().delete(&[name]).map_err(failed(&path, "remove"))
    }

    /// Sees to it that a checkpoint that was found survives any crash: the process that wrote it may have been killed
    /// between the manifest's rename and its becoming durable. To be called before anything is built on it.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn settle(&self, checkpoint: u64) -> Result<(), StoreError> {
        if bug::is(Bug::FoundCheckpointNotSettled) { Ok(()) } else { self.make_durable(checkpoint) }
    }

    fn make_durable(&self, checkpoint: u64) -> Result<(), StoreError> {
        let name = found::manifest_of(checkpoint);
        self.objects().settle(&name).map_err(failed(&self.objects().location(&name), "sync"))
    }

    fn exists_already(&self, checkpoint: u64) -> StoreError {
        StoreError::CheckpointExists { path: self.objects().location(""), checkpoint }
    }

    /// A cheap form of [`verify`](Self::verify): lists objects instead of reading them.
    fn check_presence(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let mut listed: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
        for part in manifest.files() {
            let damaged = |what| StoreError::Damaged { path: self.objects().location(&part.path), what };
            let prefix = part.path.rfind('/').map_or("", |slash| &part.path[..=slash]);
            if !listed.contains_key(prefix) {
                let listing = self.objects().list(prefix);
                let listing = listing.map_err(failed(&self.objects().location(prefix), "list"))?;
                listed.insert(
                    prefix,
                    listing.objects.into_iter().map(|object| (object.name, object.len)).collect(),
                );
            }
            let found = *listed[prefix].get(&part.path).ok_or_else(|| damaged(Damage::Missing))?;
            if found != part.len {
                return Err(damaged(Damage::Length { expected: part.len, found }));
            }
        }
        Ok(())
    }

    /// Replaces an object, atomically and durably. Whether the store is this holder's is for the caller to know.
    fn overwrite(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.objects().replace(name, bytes).map_err(failed(&self.objects().location(name), "write"))
    }
}

impl fmt::Debug for CheckpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointStore")
            .field("at", &self.inner.objects.location(""))
            .finish_non_exhaustive()
    }
}
