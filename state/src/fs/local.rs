//! The disk of this machine.

#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, DirEntry, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{FileInfo, FileReader, FileSystem, FileWriter, Lock};

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
        match new_folder().create(dir) {
            // Someone else may have created it in the meantime.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => {}
            created => created?,
        }
        self.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileWriter>> {
        Ok(Box::new(LocalWriter(create_in_place(path)?)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FileWriter>> {
        Ok(Box::new(LocalWriter(new_file().open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FileReader>> {
        let (file, metadata) = open_to_read(path)?;
        Ok(Box::new(LocalReader { file, length: metadata.len() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rename_without_replacing(from, to) {
            Err(error) if cannot(&error) => rename_by_link(from, to),
            renamed => renamed,
        }
    }

    #[cfg_attr(not(unix), expect(unused_variables, reason = "there are no modes"))]
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        #[cfg(unix)]
        {
            let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
            let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        Ok(())
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
        listed(fs::read_dir(dir)?)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn import(&self, from: &Path, path: &Path) -> io::Result<()> {
        use ErrorKind::{AlreadyExists, NotFound, StorageFull};
        let (file, _) = open_to_read(from)?;
        match fs::hard_link(from, path) {
            Ok(()) => file.sync_all(),
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

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        Ok(LocalLock::take(path)?.map(|lock| Box::new(lock) as Box<dyn Lock>))
    }
}

/// Nobody but this user reads or writes what is created.
#[cfg(unix)]
const FILE_MODE: u32 = 0o600;

/// How a file is created that is not there.
fn new_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    options.mode(FILE_MODE);
    // With this no link is followed either.
    options.write(true).create_new(true);
    options
}

fn new_folder() -> DirBuilder {
    let mut folder = DirBuilder::new();
    #[cfg(unix)]
    folder.mode(0o700);
    folder
}

/// How often somebody may put something under a name between its removal and its creation.
const REMOVALS_MAX: usize = 16;

fn create_in_place(path: &Path) -> io::Result<File> {
    for _ in 0..REMOVALS_MAX {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match new_file().open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created,
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// What entries of a folder are, in the order of their names. One that is removed meanwhile is left out: the folder is
/// there.
fn listed(entries: impl Iterator<Item = io::Result<DirEntry>>) -> io::Result<Vec<FileInfo>> {
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            found => found?,
        };
        let name = entry.file_name().into_string().map_err(|name| {
            io::Error::new(ErrorKind::InvalidData, format!("the file name {} is not UTF-8", name.display()))
        })?;
        let is_dir = metadata.is_dir();
        files.push(FileInfo { name, len: if is_dir { 0 } else { metadata.len() }, is_dir });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Opens a file and looks what it is, without waiting for whoever writes to a pipe.
fn open_to_read(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    options.custom_flags(libc::O_NONBLOCK);
    let file = options.read(true).open(path)?;
    let metadata = regular(&file)?;
    Ok((file, metadata))
}

/// The metadata of a file that can be read and written like one.
fn regular(file: &File) -> io::Result<Metadata> {
    let metadata = file.metadata()?;
    match metadata.file_type() {
        kind if kind.is_file() => Ok(metadata),
        kind if kind.is_dir() => Err(ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is no regular file but a pipe, a socket or a device; remove it, or name another place",
        )),
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_without_replacing(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Whether the system or the file system does not have what was asked for.
fn cannot(error: &io::Error) -> bool {
    // Linux says EINVAL of a flag that a file system does not know.
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

/// For file systems that rename only by replacing: those of a network have links.
fn rename_by_link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        // There are no links either (FAT): nothing there says at once whether the name is free and that it is taken.
        Err(error) if cannot(&error) || error.kind() == ErrorKind::PermissionDenied => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        linked => linked.and_then(|()| fs::remove_file(from)),
    }
}

/// A lock of the operating system. It belongs to the opened file, which lives for as long as anybody has it: also a
/// process that is being started by another thread, until it begins to run its own program. Closing the file here
/// would therefore leave it locked for a moment.
struct LocalLock {
    file: File,
    path: PathBuf,
    /// Held by who has written something into the file to find it again.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no numbers of files"))]
    proving: Mutex<()>,
}

impl LocalLock {
    fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        options.mode(FILE_MODE).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
        let file = options.create(true).truncate(false).write(true).open(path)?;
        let metadata = regular(&file)?;
        #[cfg(unix)]
        if metadata.permissions().mode() & 0o077 != 0 {
            // It is of an earlier version. Whoever may not do this holds the lock all the same.
            let _ = file.set_permissions(fs::Permissions::from_mode(FILE_MODE));
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, path: path.to_owned(), proving: Mutex::default() })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether the file that is found is the one that is locked. Two files on one disk never have one number at a time;
    /// but one file may have two: a file system of a network or in user space (NFS, FUSE) can give it another one while
    /// it is open. So another number alone says nothing.
    #[cfg(unix)]
    fn is_in_place_by<N: PartialEq>(&self, mut number: impl FnMut(&Metadata) -> N) -> io::Result<bool> {
        let found = fs::metadata(&self.path).map(|file| number(&file));
        let ours = self.file.metadata().map(|file| number(&file));
        match is_same(found, ours)? {
            Some(false) => self.shows_in_place(),
            same => Ok(same.is_some()),
        }
    }

    /// Whether what is written into the file that is locked is read from the one that is found. It is something new
    /// each time, so that no copy of the file has it.
    #[cfg(unix)]
    fn shows_in_place(&self) -> io::Result<bool> {
        use std::hash::{BuildHasher, RandomState};
        use std::os::unix::fs::FileExt;

        let _alone = self.proving.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let written = self.file.write_all_at(mark.as_bytes(), 0).and_then(|()| self.file.sync_data());
        if is_gone(&written) {
            return Ok(false);
        }
        written?;
        let mut found = Vec::new();
        let file = open_to_read(&self.path);
        let read = file.and_then(|(file, _)| file.take(mark.len() as u64).read_to_end(&mut found));
        if is_gone(&read) { Ok(false) } else { read.map(|_| found == mark.as_bytes()) }
    }
}

impl Lock for LocalLock {
    #[cfg(unix)]
    fn is_in_place(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;

        self.is_in_place_by(|file| (file.dev(), file.ino()))
    }

    /// Elsewhere a file that is open can be neither removed nor moved.
    #[cfg(not(unix))]
    fn is_in_place(&self) -> io::Result<bool> {
        fs::exists(&self.path)
    }
}

/// Whether the file that is found is ours, by its number; `None` if one of them is gone.
#[cfg(unix)]
fn is_same<N: PartialEq>(found: io::Result<N>, ours: io::Result<N>) -> io::Result<Option<bool>> {
    if is_gone(&found) || is_gone(&ours) { Ok(None) } else { Ok(Some(found? == ours?)) }
}

/// Whether there is no such file any more. The last is said of one that another machine has removed from a folder of
/// the network.
#[cfg(unix)]
fn is_gone<T>(file: &io::Result<T>) -> bool {
    use ErrorKind::{NotADirectory, NotFound, StaleNetworkFileHandle};
    let gone = [NotFound, NotADirectory, StaleNetworkFileHandle];
    file.as_ref().is_err_and(|error| gone.contains(&error.kind()))
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        // A file system that refuses this still does it when the file is closed.
        let _ = self.file.unlock();
    }
}

struct LocalReader {
    file: File,
    length: u64,
}

impl Read for LocalReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl FileReader for LocalReader {
    fn length(&self) -> u64 {
        self.length
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
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let copied = LocalFs.open(from).and_then(|mut from| {
        let mut copy = create_in_place(temporary)?;
        io::copy(&mut from, &mut copy)?;
        copy.sync_all()
    });
    let renamed = copied.and_then(|()| LocalFs.rename_new(temporary, to));
    if renamed.is_err() {
        // What stays all the same is known by its name to be unfinished.
        let _ = fs::remove_file(temporary);
    }
    renamed
}

/// The folder above, or `None` if that is the current folder or there is none.
fn parent_of(dir: &Path) -> Option<&Path> {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty())
}
