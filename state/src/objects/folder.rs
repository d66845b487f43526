//! Objects as files of a folder.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Listing, ObjectInfo, ObjectStore, ObjectWriter, Objects};
use crate::bug::{self, Bug};
use crate::{FileWriter, Fs, Lock, shown};

/// What the name of a file that is not finished ends in. No object is called so.
const UNFINISHED: &str = ".tmp";

/// A folder of a file system, whose files are the objects. It is locked by its file `lock`.
///
/// An object is written under another name and synced before it gets its own, unless something has that; then the
/// folder is synced.
#[derive(Clone, Debug)]
pub struct FolderStore {
    fs: Fs,
    root: PathBuf,
    /// The folder was there with its lock. If it is gone, it has been taken away, and only a new lock makes it again.
    locked: Arc<AtomicBool>,
}

impl FolderStore {
    /// The objects in this folder, which is made when it is locked, or written to without ever having been locked.
    pub fn new(fs: Fs, root: impl Into<PathBuf>) -> Self {
        Self { fs, root: root.into(), locked: Arc::default() }
    }

    /// [`new`](Self::new), to be shared.
    pub fn open(fs: &Fs, root: impl Into<PathBuf>) -> Objects {
        Arc::new(Self::new(Fs::clone(fs), root))
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }

    /// Does what needs the folder of an object, which is made if it is missing.
    fn in_folder<R>(&self, path: &Path, mut change: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        match change() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if self.locked.load(Ordering::Relaxed) && !self.fs.exists(&self.root)? {
                    return Err(error);
                }
                self.fs.create_dir_all(folder_of(path))?;
                change()
            }
            changed => changed,
        }
    }

    fn writer(&self, name: &str) -> io::Result<FolderWriter> {
        let target = self.path(name);
        let in_place = bug::is(Bug::ManifestWrittenInPlace) && !is_part(name);
        let temporary = if in_place { target.clone() } else { temporary(&target) };
        let file = self.in_folder(&target, || self.fs.create(&temporary))?;
        Ok(FolderWriter { fs: Fs::clone(&self.fs), file, name: name.to_owned(), target, temporary })
    }

    /// Everything in a folder, also what is not finished.
    fn entries(&self, prefix: &str) -> io::Result<Vec<crate::FileInfo>> {
        match self.fs.list(&self.path(prefix)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed,
        }
    }
}

impl ObjectStore for FolderStore {
    fn lock(&self) -> io::Result<Option<Box<dyn Lock>>> {
        self.fs.create_dir_all(&self.root)?;
        let Some(lock) = self.fs.lock(&self.root.join("lock"))? else { return Ok(None) };
        let probe = self.root.join("probe.tmp");
        let mut file = self.fs.create(&probe)?;
        file.write_all(b"probe")?;
        file.sync()?;
        self.fs.remove_file(&probe)?;
        self.locked.store(true, Ordering::Relaxed);
        Ok(Some(lock))
    }

    fn begin(&self, name: &str) -> io::Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(self.writer(name)?))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.writer(name)?;
        writer.append(bytes)?;
        writer.settle(|fs, from, to| fs.rename(from, to))
    }

    fn get(&self, name: &str) -> io::Result<Vec<u8>> {
        self.fs.read(&self.path(name))
    }

    fn get_up_to(&self, name: &str, len_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.fs.open(&self.path(name))?.take(len_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.fs.exists(&self.path(name))
    }

    fn list(&self, prefix: &str) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for file in self.entries(prefix)? {
            if file.is_dir {
                listing.prefixes.push(format!("{prefix}{}/", file.name));
            } else if !file.name.ends_with(UNFINISHED) {
                let name = format!("{prefix}{}", file.name);
                listing.objects.push(ObjectInfo { name, len: file.len });
            }
        }
        Ok(listing)
    }

    fn unfinished(&self, prefix: &str) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for file in self.entries(prefix)? {
            if file.is_dir {
                found.extend(self.unfinished(&format!("{prefix}{}/", file.name))?);
            } else if file.name.ends_with(UNFINISHED) {
                found.push(format!("{prefix}{}", file.name));
            }
        }
        Ok(found)
    }

    fn delete(&self, names: &[String]) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        for name in names {
            let path = self.path(name);
            match self.fs.remove_file(&path) {
                // It may be gone only until the next crash.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => folders.insert(folder_of(&path).to_owned()),
            };
        }
        for folder in folders {
            match self.fs.sync_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    fn delete_all(&self, prefix: &str) -> io::Result<()> {
        let folder = self.path(prefix.trim_end_matches('/'));
        match self.fs.remove_dir_all(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.fs.sync_dir(folder_of(&folder)),
        }
    }

    fn prune(&self, prefix: &str) -> io::Result<()> {
        let folder = self.path(prefix.trim_end_matches('/'));
        match self.fs.remove_dir(&folder) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                Ok(())
            }
            Err(error) => Err(error),
            Ok(()) => self.fs.sync_dir(folder_of(&folder)),
        }
    }

    fn settle(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        let mut folder = folder_of(&path);
        while folder != self.root && folder.starts_with(&self.root) {
            self.fs.sync_dir(folder)?;
            folder = folder_of(folder);
        }
        self.fs.sync_dir(&self.root)
    }

    fn import(&self, from: &Path, name: &str) -> io::Result<()> {
        let path = self.path(name);
        self.in_folder(&path, || self.fs.import(from, &path))
    }

    fn export(&self, name: &str, to: &Path) -> io::Result<bool> {
        self.fs.export(&self.path(name), to)
    }

    fn location(&self, name: &str) -> PathBuf {
        self.path(name)
    }
}

struct FolderWriter {
    fs: Fs,
    file: Box<dyn FileWriter>,
    name: String,
    target: PathBuf,
    temporary: PathBuf,
}

impl FolderWriter {
    /// Makes the file durable under its name, which `rename` gives it.
    fn settle(&mut self, rename: impl FnOnce(&Fs, &Path, &Path) -> io::Result<()>) -> io::Result<()> {
        if !(bug::is(Bug::PartNotSynced) && is_part(&self.name)) {
            self.file.sync()?;
        }
        if self.temporary != self.target {
            rename(&self.fs, &self.temporary, &self.target)?;
        }
        if bug::is(Bug::ManifestFolderNotSynced) && is_manifest(&self.name) {
            return Ok(());
        }
        self.fs.sync_dir(folder_of(&self.target))
    }
}

impl ObjectWriter for FolderWriter {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let settled = self.settle(|fs, from, to| fs.rename_new(from, to));
        if settled.is_err() {
            self.discard();
        }
        settled
    }

    fn discard(self: Box<Self>) {
        let Self { fs, file, temporary, .. } = *self;
        drop(file);
        if let Err(error) = fs.remove_file(&temporary) {
            tracing::debug!(path = %shown(temporary.display()), %error, "a discarded file stays until the next collection");
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary(target: &Path) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(UNFINISHED);
    path.into()
}

fn is_part(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "part")
}

fn is_manifest(name: &str) -> bool {
    name == "manifest" || name.ends_with("/manifest")
}
