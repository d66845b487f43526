//! Where snapshots are kept: objects that are put once, whole or not at all, under names with slashes in them.
//!
//! [`ObjectStore`] asks for no more than object storage gives: nothing is renamed, nothing is appended to later, and
//! the only objects that are ever written over are a few small ones. [`FolderStore`] keeps objects as files of a
//! [`FileSystem`](crate::FileSystem), [`MemoryStore`] in the memory of this process.

mod folder;
mod memory;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use folder::FolderStore;
pub use memory::MemoryStore;

use crate::error::failed;
use crate::fs::Lock;
use crate::{Damage, StoreError};

/// A shared place for objects.
pub type Objects = Arc<dyn ObjectStore>;

/// Named objects that exist from one moment on, whole and durable.
///
/// Names are plain relative paths, as `chk-7/manifest`; a prefix is empty or ends in a slash. Errors are those of
/// whatever is below, and tell by their kind what the methods say they tell.
pub trait ObjectStore: Send + Sync + fmt::Debug + 'static {
    /// Takes the store for this holder alone, until what is returned is dropped or the process ends, or returns `None`
    /// if somebody has it. Finds out whether it can be written to: better now than at the first checkpoint.
    ///
    /// # Errors
    /// If it can't be written to.
    fn lock(&self) -> io::Result<Option<Box<dyn Lock>>>;

    /// Begins an object, of which nothing is seen before it is finished.
    ///
    /// # Errors
    /// If there is no room.
    fn begin(&self, name: &str) -> io::Result<Box<dyn ObjectWriter>>;

    /// Puts a small object in place of the one that may be there: whoever reads finds the old one or the new one, and
    /// after this has returned the new one. If it fails it may be either.
    ///
    /// # Errors
    /// If the store refuses.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// The content of an object.
    ///
    /// # Errors
    /// `NotFound` if there is none, or why it can't be read.
    fn get(&self, name: &str) -> io::Result<Vec<u8>>;

    /// The first `len_max` bytes of an object, or all of it if it has fewer. Of one that is longer no more is read.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_up_to(&self, name: &str, len_max: u64) -> io::Result<Vec<u8>>;

    /// Whether there is such an object.
    ///
    /// # Errors
    /// If that can't be found out.
    fn exists(&self, name: &str) -> io::Result<bool>;

    /// What begins with a prefix, up to the next slash. Nothing, if nothing does.
    ///
    /// # Errors
    /// If that can't be found out.
    fn list(&self, prefix: &str) -> io::Result<Listing>;

    /// What was begun below a prefix and neither finished nor discarded, by names that [`delete`](Self::delete) takes.
    ///
    /// # Errors
    /// If that can't be found out.
    fn unfinished(&self, prefix: &str) -> io::Result<Vec<String>>;

    /// Removes objects, for good once this has returned. Those that are not there are fine.
    ///
    /// # Errors
    /// If the store refuses; some of them may be gone.
    fn delete(&self, names: &[String]) -> io::Result<()>;

    /// Removes all that begins with a prefix, finished or not.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    fn delete_all(&self, prefix: &str) -> io::Result<()>;

    /// Removes what is left of a prefix below which nothing is any more: its folder, where there are folders. If
    /// something is, finished or not, it does nothing.
    ///
    /// # Errors
    /// If the store refuses.
    fn prune(&self, _prefix: &str) -> io::Result<()> {
        Ok(())
    }

    /// Sees to it that an object that was found is there for good: whoever put it may have been killed before it was.
    /// Where only what is durable is ever found there is nothing to do.
    ///
    /// # Errors
    /// If the store refuses.
    fn settle(&self, name: &str) -> io::Result<()>;

    /// Puts an object with the content of `from`, a finished file of the local disk that never changes; they may become
    /// one. It is there for good once it is [settled](Self::settle), or an object beside it is that was finished later.
    ///
    /// # Errors
    /// As [`begin`](Self::begin) and [`finish`](ObjectWriter::finish), or if `from` can't be read.
    fn import(&self, from: &Path, name: &str) -> io::Result<()>;

    /// Gives the object, which never changes, the name `to` on the local disk as well. Returns false, and does nothing,
    /// if it is not on that disk; then it has to be fetched.
    ///
    /// # Errors
    /// If the object does not exist, or something has the name `to` already.
    fn export(&self, name: &str, to: &Path) -> io::Result<bool>;

    /// Where an object is, as it is told to people.
    fn location(&self, name: &str) -> PathBuf;
}

/// An object being put. One that is merely dropped leaves to [`ObjectStore::unfinished`] what was written of it.
pub trait ObjectWriter: Send {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// If there is no room or the store fails; then the object can't be finished any more.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the object exist, durably, unless there is one of that name.
    ///
    /// # Errors
    /// `AlreadyExists` if there is, and that stays as it is. After any other error it may exist.
    fn finish(self: Box<Self>) -> io::Result<()>;

    /// Removes what was written, as well as that is possible.
    fn discard(self: Box<Self>);
}

/// What is found under a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The objects whose names have no further slash, sorted by name.
    pub objects: Vec<ObjectInfo>,
    /// The prefixes of those that have, sorted, each with its slash.
    pub prefixes: Vec<String>,
}

/// An object that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its whole name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// Puts an object that is at hand.
pub(crate) fn put(objects: &Objects, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut writer = objects.begin(name)?;
    match writer.append(bytes) {
        Ok(()) => writer.finish(),
        Err(error) => {
            writer.discard();
            Err(error)
        }
    }
}

/// All objects below a prefix, however many slashes their names have.
pub(crate) fn list_below(objects: &Objects, prefix: &str) -> io::Result<Vec<ObjectInfo>> {
    let Listing { objects: mut found, prefixes } = objects.list(prefix)?;
    for prefix in prefixes {
        found.extend(list_below(objects, &prefix)?);
    }
    Ok(found)
}

/// More bytes than a manifest or one of the files beside the checkpoints ever has.
const WHOLE_BYTES_MAX: u64 = 1 << 30;

/// What an object holds, or `None` if there is none. It is for objects whose length nobody has written down.
pub(crate) fn get_if_exists(objects: &Objects, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    match objects.get_up_to(name, WHOLE_BYTES_MAX + 1) {
        Ok(bytes) if bytes.len() as u64 > WHOLE_BYTES_MAX => {
            let what = Damage::TooLong { max: WHOLE_BYTES_MAX };
            Err(StoreError::Damaged { path: objects.location(name), what })
        }
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&objects.location(name), "read")(error)),
    }
}
