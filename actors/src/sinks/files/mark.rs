//! Who writes into a folder: a hidden file for each history of an operator, locked while its process runs.
//!
//! The number of the run is in its name. Each process of a history begins with a higher one, so a process that finds
//! its own number taken, or a higher one, is another life of that history: its checkpoint folder was copied or put
//! back.

#[cfg(test)]
pub(super) mod tests;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watershed_state::{Fs, shown};

use super::described::Described;
use super::error::FilesError;
use super::names::MarkName;
use crate::error::UserResult;
use crate::sink::{OutputClaim, Owner};

/// A folder that nobody else writes into for this history.
pub(super) struct FolderClaim {
    folder: PathBuf,
    owner: Owner,
    fs: Fs,
    /// The files of earlier processes, locked, so that none of them comes back meanwhile.
    earlier: Vec<Mark>,
    own: Option<Mark>,
}

/// A file that says who writes, or wrote, and the lock on it.
struct Mark {
    path: PathBuf,
    /// `None` where the file system has no locks.
    lock: Option<Box<dyn Send + Sync>>,
}

impl FolderClaim {
    /// Finds out whether another process writes for this history, or a later one has.
    pub(super) fn find(folder: &Path, owner: &Owner, fs: &Fs) -> Result<Self, FilesError> {
        let (folder, owner, fs) = (folder.to_owned(), owner.clone(), Arc::clone(fs));
        let mut claim = Self { folder, owner, fs, earlier: Vec::new(), own: None };
        claim.lock_others()?;
        Ok(claim)
    }

    /// Locks the files of other processes of this history, which are earlier ones.
    fn lock_others(&mut self) -> Result<(), FilesError> {
        let Self { folder, owner, fs, earlier, own } = self;
        let listed = match fs.list(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(|source| FilesError::io("list", folder, source))?,
        };
        let names = listed.iter().filter_map(|file| Some((&file.name, MarkName::parse(&file.name)?)));
        for (file, name) in names {
            let path = folder.join(file);
            let is_locked = earlier.iter().chain(&*own).any(|mark| mark.path == path);
            if name.operator != owner.operator || name.lineage != owner.lineage || is_locked {
                continue;
            }
            let held = || Described::read(fs, &path, name.run);
            let mark = Mark::lock(fs, &path)?.ok_or_else(|| FilesError::held(folder, held(), owner))?;
            if name.run >= owner.run {
                return Err(FilesError::later(folder, Described::read(fs, &path, name.run), owner));
            }
            earlier.push(mark);
        }
        Ok(())
    }

    /// Puts this process's file, and removes those of earlier ones.
    fn put(&mut self) -> Result<(), FilesError> {
        let Owner { operator, lineage, run, .. } = &self.owner;
        let path = self.folder.join(MarkName { operator, lineage, run: *run }.to_string());
        let held = || FilesError::held(&self.folder, Described::read(&self.fs, &path, *run), &self.owner);
        let written = self.fs.create_new(&path).and_then(|mut file| {
            file.write_all(&serde_json::to_vec(&self.owner)?)?;
            file.sync()
        });
        match written {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(held()),
            written => written.map_err(|source| FilesError::io("write", &path, source))?,
        }
        self.own = Some(Mark::lock(&self.fs, &path)?.ok_or_else(held)?);
        let synced = self.fs.sync_dir(&self.folder);
        synced.map_err(|source| FilesError::io("sync", &self.folder, source))?;
        // Another process may have looked at the same time. Of two, the one that looks last sees the file of the other.
        if let Err(error) = self.lock_others() {
            // Nothing was written, and the one that goes on must not find a higher number.
            remove(&self.fs, &path);
            self.own = None;
            return Err(error);
        }
        for Mark { path, lock } in self.earlier.drain(..) {
            remove(&self.fs, &path);
            drop(lock);
        }
        Ok(())
    }
}

impl OutputClaim for FolderClaim {
    fn mark(&mut self) -> UserResult {
        Ok(self.put()?)
    }
}

impl Drop for FolderClaim {
    fn drop(&mut self) {
        // No other process can go on with a history whose checkpoints are gone with this one.
        if let (Some(Mark { path, .. }), None) = (&self.own, &self.owner.checkpoints) {
            remove(&self.fs, path);
        }
    }
}

impl Mark {
    /// Locks the file; `None` if somebody holds it.
    fn lock(fs: &Fs, path: &Path) -> Result<Option<Self>, FilesError> {
        match fs.lock(path) {
            Ok(lock) => Ok(lock.map(|lock| Self { path: path.to_owned(), lock: Some(lock) })),
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                tracing::warn!(
                    file = %shown(path.display()),
                    "this file system has no locks: two processes that write the same output at once are found out later, \
                     by the files that they would replace"
                );
                Ok(Some(Self { path: path.to_owned(), lock: None }))
            }
            Err(source) => Err(FilesError::io("lock", path, source)),
        }
    }
}

fn remove(fs: &Fs, path: &Path) {
    if let Err(error) = fs.remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::debug!(file = %shown(path.display()), error = %shown(error), "a file that says who wrote stays until the next start");
    }
}
