//! The folder of a database, on the local disk.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::failed;
use crate::fs::{FileSystem, LocalFs, Lock};
use crate::{StoreError, database::remove_folder, shown};

/// A folder that belongs to one instance of one job, and is gone with it.
pub(crate) struct ScratchFolder {
    path: PathBuf,
    /// Held as long as the folder is in use.
    _lock: Box<dyn Lock>,
}

impl fmt::Debug for ScratchFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScratchFolder").field(&self.path).finish()
    }
}

/// The file in it that is locked.
const LOCK: &str = "lock";

impl ScratchFolder {
    /// Takes a folder, and removes what a process that was killed may have left there.
    ///
    /// # Errors
    /// If somebody is using it, or the disk refuses.
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        LocalFs.create_dir_all(path).map_err(failed(path, "create"))?;
        let lock = LocalFs.lock(&path.join(LOCK)).map_err(failed(path, "lock"))?;
        let lock = lock.ok_or_else(|| StoreError::DatabaseLocked { path: path.to_owned() })?;
        for entry in fs::read_dir(path).map_err(failed(path, "list"))? {
            let entry = entry.map_err(failed(path, "list"))?;
            if entry.file_name() != LOCK {
                let path = entry.path();
                let is_folder = entry.file_type().map_err(failed(&path, "look at"))?.is_dir();
                let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(failed(&path, "remove"))?;
            }
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        if let Err(error) = remove_folder(&self.path) {
            tracing::debug!(folder = %shown(self.path.display()), %error, "a scratch folder stays until the next start");
        }
    }
}
