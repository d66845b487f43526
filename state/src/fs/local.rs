//! The disk of this machine.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::{FileInfo, FileSystem, FileWriter};

/// The file system of the operating system. Folders are synced on Unix; elsewhere that has no equivalent and is
/// left to the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFs;

impl FileSystem for LocalFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = parent_of(dir);
        if let Some(parent) = parent {
            self.create_dir_all(parent)?;
        }
        match fs::create_dir(dir) {
            // Someone else may have created it in the meantime.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => {}
            created => created?,
        }
        self.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileWriter>> {
        Ok(Box::new(LocalWriter(File::create(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<FileInfo>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let name = entry.file_name().into_string().map_err(|name| {
                io::Error::new(
                    ErrorKind::InvalidData,
                    format!("the file name {} is not UTF-8", name.display()),
                )
            })?;
            let is_dir = metadata.is_dir();
            files.push(FileInfo { name, len: if is_dir { 0 } else { metadata.len() }, is_dir });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn import(&self, from: &Path, path: &Path) -> io::Result<()> {
        use ErrorKind::{AlreadyExists, NotFound, StorageFull};
        match fs::hard_link(from, path) {
            Ok(()) => File::open(path)?.sync_all(),
            Err(error) if matches!(error.kind(), AlreadyExists | NotFound | StorageFull) => Err(error),
            // Another disk, a file with as many names as it can have, or a system that has no links.
            Err(_) => copy(from, path),
        }
    }

    fn export(&self, path: &Path, to: &Path) -> io::Result<bool> {
        match fs::hard_link(path, to) {
            // Some systems let nobody but its owner link a file that others may read.
            Err(error) if matches!(error.kind(), ErrorKind::CrossesDevices | ErrorKind::PermissionDenied) => {
                Ok(false)
            }
            linked => linked.map(|()| true),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(Lock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A lock of the operating system. It belongs to the opened file, which lives for as long as anybody has it: also a
/// process that is being started by another thread, until it begins to run its own program. Closing the file here
/// would therefore leave it locked for a moment.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // A file system that refuses this still does it when the file is closed.
        let _ = self.0.unlock();
    }
}

struct LocalWriter(File);

impl FileWriter for LocalWriter {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// Copies a file, whose new name appears when all of it is durable. Nothing is left of a copy that fails.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if fs::exists(to)? {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(".tmp");
    let copied = fs::copy(from, &temporary).and_then(|_| File::open(&temporary)?.sync_all());
    let renamed = copied.and_then(|()| fs::rename(&temporary, to));
    if renamed.is_err() {
        // What stays all the same is known by its name to be unfinished.
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

/// The folder above, or `None` if that is the current folder or there is none.
fn parent_of(dir: &Path) -> Option<&Path> {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty())
}
