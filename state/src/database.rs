//! The database below tables that do not fit into memory: what is asked of one, and what is on its way to it.

mod copy;
#[cfg(feature = "rocksdb")]
mod rewrite;
#[cfg(feature = "rocksdb")]
mod scratch;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) use copy::remove_folder;
pub use copy::{DatabaseCopy, DatabaseFile};
#[cfg(feature = "rocksdb")]
pub(crate) use rewrite::rewrite_keys;
#[cfg(feature = "rocksdb")]
pub(crate) use scratch::ScratchFolder;

use crate::bug::{self, Bug};
use crate::{Objects, StoreError};

/// Changes by key, in the order of the keys: `None` where the key is gone.
pub(crate) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A sorted map of bytes on disk. A key begins with its key group, two bytes, the high one first, and the table that it
/// belongs to, one byte.
pub(crate) trait Database: Send + Sync + fmt::Debug {
    /// Calls `found` with what the key has, if it has anything.
    ///
    /// # Errors
    /// If the disk refuses, or what is on it is damaged.
    fn get(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<(), StoreError>;

    /// Applies all changes.
    ///
    /// # Errors
    /// If the disk refuses.
    fn write(&self, changes: &Changes) -> Result<(), StoreError>;

    /// Shows all keys of these groups, in their order, until `visit` says that it has had enough.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn scan(
        &self,
        groups: &Range<u16>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError>;

    /// Makes a copy of the database in a folder that does not exist yet, from which it can be opened. Files that never
    /// change are shared.
    ///
    /// # Errors
    /// If the disk refuses.
    fn copy_to(&self, folder: &Path) -> Result<(), StoreError>;

    /// A folder for copies, on the same disk.
    fn scratch(&self) -> &Path;

    /// So many changes are worth a write.
    fn worth_a_write(&self) -> usize {
        WRITE_AT
    }

    /// So many bytes may wait while a copy is being made, before whoever has more has to wait, too.
    fn waiting_bytes_max(&self) -> usize;
}

/// Changes that are gathered before they are written, because each write costs something, and because the database must
/// not change while a copy of it is being made.
#[derive(Debug)]
pub(crate) struct WriteBuffer {
    database: Arc<dyn Database>,
    waiting: Changes,
    /// That the changes take which wait.
    bytes: usize,
    latch: Arc<Latch>,
    copies: u64,
    /// The files of the newest copy that is part of a complete checkpoint: they need not be stored again.
    complete: Arc<DatabaseCopy>,
    /// Files of that copy are lost: the next one has to store all of them.
    is_lost: bool,
    /// Whether the database began empty, and never got a state.
    has_nothing: bool,
    /// Whether it got states because there was no room for them.
    spilled: bool,
    /// How often was written.
    writes: u64,
    /// How often had been when that copy was made, if the database was as it is.
    complete_writes: Option<u64>,
    /// The copy that is being made for a checkpoint, or was.
    making: Option<Making>,
}

#[derive(Debug)]
struct Making {
    checkpoint: u64,
    writes: u64,
    /// All files are stored.
    anew: bool,
    made: Arc<Mutex<Option<DatabaseCopy>>>,
}

/// Changes that are worth a write.
pub(crate) const WRITE_AT: usize = 512;

/// What a change takes besides its key and its state: two allocations and its place among the others.
const CHANGE_BYTES: usize = 96;

impl WriteBuffer {
    /// Over a database that was opened from this copy.
    #[cfg_attr(
        not(any(test, feature = "rocksdb")),
        expect(dead_code, reason = "without RocksDB there is no database")
    )]
    pub(crate) fn new(database: Arc<dyn Database>, complete: DatabaseCopy) -> Self {
        let (waiting, latch, complete) = (BTreeMap::new(), Arc::default(), Arc::new(complete));
        Self {
            database,
            waiting,
            bytes: 0,
            latch,
            copies: 0,
            complete,
            is_lost: false,
            has_nothing: false,
            spilled: false,
            writes: 0,
            complete_writes: None,
            making: None,
        }
    }

    /// The database is empty, and so is the copy that it was opened from.
    #[cfg_attr(
        not(any(test, feature = "rocksdb")),
        expect(dead_code, reason = "without RocksDB there is no database")
    )]
    pub(crate) fn empty(self) -> Self {
        Self { complete_writes: Some(0), has_nothing: true, ..self }
    }

    /// What is written to.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn database(&self) -> &Arc<dyn Database> {
        &self.database
    }

    /// Calls `found` with what the key has, if it has anything.
    pub(crate) fn get(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        match self.waiting.get(key) {
            Some(Some(state)) => found(state),
            Some(None) => {}
            None => return self.database.get(key, found),
        }
        Ok(())
    }

    /// Changes what a key has.
    pub(crate) fn put(&mut self, key: &[u8], state: Option<Vec<u8>>) -> Result<(), StoreError> {
        self.bytes += key.len() + state.as_ref().map_or(0, Vec::len) + CHANGE_BYTES;
        self.has_nothing = false;
        self.spilled |= state.is_some();
        self.waiting.insert(key.to_vec(), state);
        if self.waiting.len() < self.database.worth_a_write() {
            return Ok(());
        }
        if self.bytes >= self.database.waiting_bytes_max() {
            self.latch.wait();
        }
        self.flush()
    }

    /// Writes what waits, unless a copy is being made.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        if self.waiting.is_empty() || self.is_held() {
            return Ok(());
        }
        self.writes += 1;
        self.database.write(&self.waiting)?;
        self.waiting.clear();
        self.bytes = 0;
        Ok(())
    }

    /// What has not been written.
    pub(crate) fn waiting(&self) -> &Changes {
        &self.waiting
    }

    /// Whether no key has anything in the database.
    pub(crate) fn has_nothing(&self) -> bool {
        self.has_nothing
    }

    /// Whether what stays in memory is to be written as well: it is once there was no room for something, and not while
    /// a copy is being made.
    pub(crate) fn may_write_back(&self) -> bool {
        self.spilled && !self.is_held()
    }

    /// Whether a copy is being made.
    pub(crate) fn is_held(&self) -> bool {
        *self.latch.held() > 0 && !bug::is(Bug::DatabaseWrittenDuringCopy)
    }

    /// A copy of what has been written so far, for this checkpoint, to be made on another thread. Until that is done,
    /// or given up, nothing more is written. `None` if another table has begun to make it.
    pub(crate) fn link(&mut self, checkpoint: u64) -> Option<Link> {
        if self.making.as_ref().is_some_and(|making| making.checkpoint == checkpoint) {
            return None;
        }
        *self.latch.held() += 1;
        self.copies += 1;
        let made = Arc::default();
        let anew = self.is_lost;
        let unchanged = self.complete_writes == Some(self.writes) && !anew;
        self.making = Some(Making { checkpoint, writes: self.writes, anew, made: Arc::clone(&made) });
        Some(Link {
            database: Arc::clone(&self.database),
            folder: self.database.scratch().join(format!("copy-{}", self.copies)),
            latch: Arc::clone(&self.latch),
            before: Arc::clone(&self.complete),
            unchanged,
            anew,
            made,
        })
    }

    /// Files of the newest copy are lost: the next one does not refer to any of them.
    pub(crate) fn save_all(&mut self) {
        // A copy that has no files has lost none.
        self.is_lost = !self.complete.files.is_empty();
    }

    /// The checkpoint is complete: what was stored for it is there to stay.
    pub(crate) fn complete(&mut self, checkpoint: u64) {
        let making = self.making.take_if(|making| making.checkpoint == checkpoint);
        let Some(Making { writes, anew, made, .. }) = making else { return };
        if let Some(made) = made.lock().unwrap_or_else(PoisonError::into_inner).take() {
            (self.complete, self.complete_writes) = (Arc::new(made), Some(writes));
            self.is_lost &= !anew;
        }
    }
}

/// The one buffer of all tables of an instance.
#[derive(Clone, Debug)]
pub(crate) struct SharedBuffer(Arc<Mutex<WriteBuffer>>);

impl SharedBuffer {
    #[cfg_attr(
        not(any(test, feature = "rocksdb")),
        expect(dead_code, reason = "without RocksDB there is no database")
    )]
    pub(crate) fn new(buffer: WriteBuffer) -> Self {
        Self(Arc::new(Mutex::new(buffer)))
    }

    /// The buffer. All tables are used by one thread, so that nobody waits for it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, WriteBuffer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Key group, table and encoded key of a key in the database.
pub(crate) fn split_key(key: &[u8]) -> Option<(u16, u8, &[u8])> {
    let (group, key) = key.split_first_chunk()?;
    let (space, key) = key.split_first()?;
    Some((u16::from_be_bytes(*group), *space, key))
}

/// The right to make a copy of a database as it is: as long as it exists, nothing is written there.
#[derive(Debug)]
pub struct Link {
    database: Arc<dyn Database>,
    folder: PathBuf,
    latch: Arc<Latch>,
    before: Arc<DatabaseCopy>,
    /// The database is as it was when that copy was made.
    unchanged: bool,
    /// Nothing of that copy can be referred to.
    anew: bool,
    made: Arc<Mutex<Option<DatabaseCopy>>>,
}

impl Link {
    /// Makes the copy and stores its files, as [`DatabaseCopy::store`] tells.
    ///
    /// # Errors
    /// If a disk refuses.
    pub fn store(self, objects: &Objects, prefix: &str) -> Result<DatabaseCopy, StoreError> {
        if self.unchanged {
            let copy = DatabaseCopy::clone(&self.before);
            *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy.clone());
            return Ok(copy);
        }
        self.database.copy_to(&self.folder)?;
        let (folder, before, made) = (self.folder.clone(), Arc::clone(&self.before), Arc::clone(&self.made));
        let anew = self.anew;
        // The database may change from here on: what was copied does not.
        drop(self);
        let stored = if anew {
            DatabaseCopy::store_anew(objects, prefix, &folder, &before)
        } else {
            DatabaseCopy::store(objects, prefix, &folder, &before)
        };
        let removed = remove_folder(&folder);
        let stored = stored?;
        removed?;
        *made.lock().unwrap_or_else(PoisonError::into_inner) = Some(stored.clone());
        Ok(stored)
    }
}

#[cfg(test)]
impl Link {
    /// Makes the copy and says where.
    pub(crate) fn make(self) -> PathBuf {
        self.database.copy_to(&self.folder).unwrap();
        self.folder.clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        *self.latch.held() -= 1;
        self.latch.free.notify_all();
    }
}

/// Counts who does not want the database to change.
#[derive(Debug, Default)]
struct Latch {
    held: Mutex<usize>,
    free: Condvar,
}

impl Latch {
    fn held(&self) -> MutexGuard<'_, usize> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let mut held = self.held();
        while *held > 0 {
            held = self.free.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
