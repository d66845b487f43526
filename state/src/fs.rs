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
pub trait FileSystem: Send + Sync + std::fmt::Debug + 'static {
    /// Creates a folder and those above it that are missing, durably. One that exists is fine.
    ///
    /// # Errors
    /// If a folder can't be created or synced.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Creates an empty file in an existing folder, in place of one that may be there.
    ///
    /// # Errors
    /// If the file can't be created.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileWriter>>;

    /// The contents of a file.
    ///
    /// # Errors
    /// If the file does not exist or can't be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Gives a file another name, atomically replacing a file that has it. Durable once the folder is synced.
    ///
    /// # Errors
    /// If `from` does not exist or the change is refused.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

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

    /// Takes the operating system's lock on a file, which is created if missing, or returns `None` when someone
    /// else holds it. The lock is released when the returned value is dropped or the process ends.
    ///
    /// # Errors
    /// If the file can't be created or locks don't work there.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
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
