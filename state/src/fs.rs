//! The one file-system trait of snapshots and exactly-once sinks.
//!
//! It says what is durable: contents after [`FileWriter::sync`], and that a file exists under its name after
//! [`FileSystem::sync_dir`] of its folder. [`LocalFs`] is the real disk; [`SimulatedDisk`] loses, at a crash, what
//! was not synced.

mod local;
mod simulated;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use local::LocalFs;
pub use simulated::{DiskFault, SimulatedDisk};

/// A shared file system.
pub type Fs = Arc<dyn FileSystem>;

/// Files and folders, with durability made explicit. Errors are those of the operating system, unchanged.
///
/// What is created belongs to this user alone, where the system has users: folders have the mode 0700 and files 0600,
/// until [`set_mode`](Self::set_mode) says otherwise. What is created is new: neither a link nor a file that somebody
/// has put under the name is written through.
pub trait FileSystem: Send + Sync + std::fmt::Debug + 'static {
    /// Creates a folder and those above it that are missing, durably. One that exists is fine, and keeps its mode.
    ///
    /// # Errors
    /// If a folder can't be created or synced.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Creates an empty file in an existing folder. A file or link of that name is removed first, and not written to.
    ///
    /// # Errors
    /// If the file can't be created.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileWriter>>;

    /// Creates an empty file in an existing folder, where nothing has its name.
    ///
    /// # Errors
    /// `AlreadyExists` if something has, be it a link that leads nowhere, or if the file can't be created.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FileWriter>>;

    /// Opens a file for reading. It never waits, as it would for a pipe.
    ///
    /// # Errors
    /// If the file does not exist, is no regular file or can't be read.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FileReader>>;

    /// The contents of a file.
    ///
    /// # Errors
    /// If the file does not exist, is no regular file or can't be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Gives a file another name, atomically replacing a file that has it. Durable once the folder is synced.
    ///
    /// # Errors
    /// If `from` does not exist or the change is refused.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file another name that nothing has. Durable once the folder is synced. A crash may leave both names
    /// where the system can only link and unlink.
    ///
    /// # Errors
    /// `AlreadyExists` if something has the name, which stays as it is; if `from` does not exist or the change is
    /// refused.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Says who may read and write a file or folder, as the permission bits of Unix do (`0o644`). Does nothing
    /// elsewhere.
    ///
    /// # Errors
    /// If it does not exist, is a link, or belongs to somebody else.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Removes a file. Durable once the folder is synced.
    ///
    /// # Errors
    /// If the file does not exist or can't be removed.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and all that is in it. Not atomic; durable once the folder above is synced.
    ///
    /// # Errors
    /// If the folder does not exist or something in it can't be removed.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Removes a folder that is empty. Durable once the folder above is synced.
    ///
    /// # Errors
    /// `DirectoryNotEmpty` if something is in it, or if it does not exist or can't be removed.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes durable which names exist in a folder.
    ///
    /// # Errors
    /// If the folder does not exist or can't be synced.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// What is in a folder, sorted by name.
    ///
    /// # Errors
    /// If the folder does not exist, can't be read, or holds a name that is not UTF-8.
    fn list(&self, dir: &Path) -> io::Result<Vec<FileInfo>>;

    /// Whether there is a file or folder of this name.
    ///
    /// # Errors
    /// If that can't be found out.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Makes a file `path` with the content of `from`, a finished file of the local disk that never changes; they may
    /// become one. Its content is durable, its name once the folder is synced.
    ///
    /// # Errors
    /// If `from` does not exist, or something has the name `path` already.
    fn import(&self, from: &Path, path: &Path) -> io::Result<()>;

    /// Gives the file `path`, which never changes, the name `to` on the local disk as well. Returns false, and does
    /// nothing, if that is another disk or the system does not allow it.
    ///
    /// # Errors
    /// If the file does not exist, or something has the name `to` already.
    fn export(&self, path: &Path, to: &Path) -> io::Result<bool>;

    /// Takes the operating system's lock on a file, which is created if missing, or returns `None` when someone else
    /// holds it. The lock is released when the returned value is dropped or the process ends. No other user may open
    /// the file from then on, as that is enough to hold the lock.
    ///
    /// # Errors
    /// If the file can't be created, is no regular file, or locks don't work there.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
}

/// A lock that keeps all others out until it is dropped or the process ends.
pub trait Lock: Send + Sync {
    /// Whether it still does: the file that is locked is the one that others find. It is not once somebody has removed
    /// or moved the file, or a folder above it.
    ///
    /// # Errors
    /// If that can't be found out.
    fn is_in_place(&self) -> io::Result<bool>;
}

/// A file being written.
pub trait FileWriter: Send {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// If the disk is full or fails; some of the bytes may have been written.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was written. After a failure the file is of no use any more: a second attempt could
    /// succeed without the data being on the disk.
    ///
    /// # Errors
    /// If the disk fails.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read.
pub trait FileReader: io::Read + Send {
    /// Its length in bytes when it was opened. Some special files say 0 and are longer.
    fn length(&self) -> u64;
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// The name within the folder.
    pub name: String,
    /// The length in bytes, 0 for folders.
    pub len: u64,
    /// Whether it is a folder.
    pub is_dir: bool,
}
