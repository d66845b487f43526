//! The list of records that are left out, beside the checkpoints.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::Format;
use crate::objects::get_if_exists;
use crate::{CheckpointStore, SimulatedDisk, StoreError, manifest};

const SKIPS: Format = Format { magic: *b"wshdskip", version: 1 };

/// Its name in the store of the checkpoints.
const FILE: &str = "skips";

impl CheckpointStore {
    /// The list saved last, or an empty one.
    ///
    /// # Errors
    /// If the file can't be read, is damaged, or was written by a newer version.
    pub fn skips<T: DeserializeOwned>(&self) -> Result<Vec<T>, StoreError> {
        match get_if_exists(self.objects(), FILE)? {
            Some(bytes) => manifest::open(SKIPS, &self.objects().location(FILE), &bytes),
            None => Ok(Vec::new()),
        }
    }

    /// Replaces the list, atomically and durably.
    ///
    /// # Errors
    /// If the disk refuses. Either the old or the new list is there then.
    pub fn save_skips<T: Serialize>(&self, skips: &[T]) -> Result<(), StoreError> {
        self.check_in_place()?;
        self.overwrite_skips(skips)
    }

    pub(super) fn overwrite_skips<T: Serialize>(&self, skips: &[T]) -> Result<(), StoreError> {
        self.overwrite(FILE, &manifest::seal(SKIPS, &self.objects().location(FILE), skips)?)
    }
}

/// The list that is found below this folder after a power cut, whatever else happens.
///
/// # Errors
/// See [`CheckpointStore::skips`].
pub fn durable_skips<T: DeserializeOwned>(disk: &SimulatedDisk, root: &Path) -> Result<Vec<T>, StoreError> {
    let path = root.join(FILE);
    match disk.durable(&path) {
        Some(bytes) => manifest::open(SKIPS, &path, &bytes),
        None => Ok(Vec::new()),
    }
}
