//! Objects in the memory of this process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{Listing, ObjectInfo, ObjectStore, ObjectWriter, Objects};
use crate::fs::Lock;
use crate::{FileSystem, LocalFs};

/// Objects in memory, gone with the process. Clones are the same store.
#[derive(Clone)]
pub struct MemoryStore {
    memory: Arc<Mutex<Memory>>,
    /// What the names of all objects of this store begin with.
    prefix: String,
    /// Where imported files are linked to, instead of being read into memory.
    links: Option<PathBuf>,
}

#[derive(Default)]
struct Memory {
    objects: BTreeMap<String, Content>,
    locked: BTreeSet<String>,
    links: u64,
}

#[derive(Clone)]
enum Content {
    Bytes(Arc<[u8]>),
    /// A file of the local disk that belongs to the store.
    Link(PathBuf, u64),
}

impl MemoryStore {
    /// An empty store that is gone with the last of its clones.
    pub fn new() -> Self {
        Self { memory: Arc::default(), prefix: String::new(), links: None }
    }

    /// The store that has this name in this process. It stays for as long as the process does.
    pub fn named(name: &str) -> Self {
        static MEMORY: OnceLock<Arc<Mutex<Memory>>> = OnceLock::new();
        let memory = Arc::clone(MEMORY.get_or_init(Arc::default));
        Self { memory, prefix: format!("{}/", name.trim_matches('/')), links: None }
    }

    /// Keeps imported files as links in this folder of the local disk, which is to last as long as the store and is
    /// somebody else's to remove: large ones need no memory then.
    pub fn linking_into(self, folder: impl Into<PathBuf>) -> Self {
        Self { links: Some(folder.into()), ..self }
    }

    /// This, to be shared.
    pub fn shared(self) -> Objects {
        Arc::new(self)
    }

    fn lock_memory(&self) -> MutexGuard<'_, Memory> {
        // Each change is one insertion or removal.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn put(&self, name: &str, content: Content, if_absent: bool) -> io::Result<()> {
        let mut memory = self.lock_memory();
        let key = self.key(name);
        if if_absent && memory.objects.contains_key(&key) {
            content.drop_link();
            return Err(ErrorKind::AlreadyExists.into());
        }
        if let Some(before) = memory.objects.insert(key, content) {
            before.drop_link();
        }
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<Content> {
        Ok(self.lock_memory().objects.get(&self.key(name)).ok_or(ErrorKind::NotFound)?.clone())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl ObjectStore for MemoryStore {
    fn lock(&self) -> io::Result<Option<Box<dyn Lock>>> {
        let taken = self.lock_memory().locked.insert(self.prefix.clone());
        Ok(taken.then(|| -> Box<dyn Lock> { Box::new(MemoryLock(self.clone())) }))
    }

    fn begin(&self, name: &str) -> io::Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(MemoryWriter { store: self.clone(), name: name.to_owned(), bytes: Vec::new() }))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.put(name, Content::Bytes(bytes.into()), false)
    }

    fn get(&self, name: &str) -> io::Result<Vec<u8>> {
        match self.find(name)? {
            Content::Bytes(bytes) => Ok(bytes.to_vec()),
            Content::Link(path, _) => fs::read(path),
        }
    }

    fn get_up_to(&self, name: &str, len_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.find(name)? {
            Content::Bytes(all) => all.take(len_max).read_to_end(&mut bytes)?,
            Content::Link(path, _) => LocalFs.open(&path)?.take(len_max).read_to_end(&mut bytes)?,
        };
        Ok(bytes)
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.lock_memory().objects.contains_key(&self.key(name)))
    }

    fn list(&self, prefix: &str) -> io::Result<Listing> {
        let (memory, from) = (self.lock_memory(), self.key(prefix));
        let mut listing = Listing::default();
        for (key, content) in
            memory.objects.range(from.clone()..).take_while(|(key, _)| key.starts_with(&from))
        {
            match key[from.len()..].split_once('/') {
                None => {
                    let name = key[self.prefix.len()..].to_owned();
                    listing.objects.push(ObjectInfo { name, len: content.len() });
                }
                Some((next, _)) => {
                    let next = format!("{prefix}{next}/");
                    if listing.prefixes.last() != Some(&next) {
                        listing.prefixes.push(next);
                    }
                }
            }
        }
        Ok(listing)
    }

    fn unfinished(&self, _prefix: &str) -> io::Result<Vec<String>> {
        // What is not finished is in its writer, and gone with it.
        Ok(Vec::new())
    }

    fn delete(&self, names: &[String]) -> io::Result<()> {
        let mut memory = self.lock_memory();
        for name in names {
            if let Some(content) = memory.objects.remove(&self.key(name)) {
                content.drop_link();
            }
        }
        Ok(())
    }

    fn delete_all(&self, prefix: &str) -> io::Result<()> {
        let from = self.key(prefix);
        let below = |key: &String, _: &mut Content| key.starts_with(&from);
        self.lock_memory().objects.extract_if(.., below).for_each(|(_, content)| content.drop_link());
        Ok(())
    }

    fn settle(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn import(&self, from: &Path, name: &str) -> io::Result<()> {
        let Some(folder) = &self.links else {
            return self.put(name, Content::Bytes(fs::read(from)?.into()), true);
        };
        LocalFs.create_dir_all(folder)?;
        let number = {
            let mut memory = self.lock_memory();
            memory.links += 1;
            memory.links
        };
        let link = folder.join(number.to_string());
        LocalFs.import(from, &link)?;
        let len = fs::metadata(&link)?.len();
        self.put(name, Content::Link(link, len), true)
    }

    fn export(&self, name: &str, to: &Path) -> io::Result<bool> {
        match self.find(name)? {
            Content::Bytes(_) => Ok(false),
            Content::Link(path, _) => match fs::hard_link(path, to) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
                linked => Ok(linked.is_ok()),
            },
        }
    }

    fn location(&self, name: &str) -> PathBuf {
        format!("memory://{}", self.key(name)).into()
    }
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Link(_, len) => *len,
        }
    }

    /// The object is gone; what cannot be removed goes with the folder.
    fn drop_link(&self) {
        if let Self::Link(path, _) = self {
            let _ = fs::remove_file(path);
        }
    }
}

struct MemoryLock(MemoryStore);

impl Lock for MemoryLock {
    fn is_in_place(&self) -> io::Result<bool> {
        Ok(true)
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.lock_memory().locked.remove(&self.0.prefix);
    }
}

struct MemoryWriter {
    store: MemoryStore,
    name: String,
    bytes: Vec<u8>,
}

impl ObjectWriter for MemoryWriter {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.store.put(&self.name, Content::Bytes(self.bytes.into()), true)
    }

    fn discard(self: Box<Self>) {}
}
