//! Where keyed state lives, as it is chosen in the configuration.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(feature = "rocksdb")]
use crate::database::{ScratchFolder, SharedBuffer, WriteBuffer, rewrite_keys, split_key};
use crate::expiry::Expiry;
#[cfg(feature = "rocksdb")]
use crate::rocks::{RocksDatabase, RocksDb};
use crate::table::{TableKey, TableState};
use crate::{KeyGroups, KeyedTable, SavedDatabase, StoreError};

/// Where the state of keys lives while a job runs. What snapshots hold can be restored into either.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum StateBackend {
    /// All of it in memory.
    #[default]
    Memory,
    /// What was used lately in memory, the rest on disk.
    #[cfg(feature = "rocksdb")]
    RocksDb(RocksDb),
}

#[cfg(feature = "rocksdb")]
impl From<RocksDb> for StateBackend {
    fn from(config: RocksDb) -> Self {
        Self::RocksDb(config)
    }
}

impl StateBackend {
    /// Its name, as it is written in options and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(_) => "rocksdb",
        }
    }

    /// Nothing happens in the background that depends on time.
    #[doc(hidden)]
    pub fn deterministic(self) -> Self {
        match self {
            Self::Memory => self,
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(config) => Self::RocksDb(config.deterministic()),
        }
    }

    /// Opens what is below the tables of an instance that owns the key groups `owned`, with what the databases have for
    /// them.
    ///
    /// `scratch` is a folder for this instance alone: what may be there is removed, and it is gone with the tables.
    ///
    /// # Errors
    /// If a copy is damaged, or the disk refuses.
    pub fn open(
        &self,
        groups: KeyGroups,
        owned: Range<u16>,
        scratch: &Path,
        databases: &[&SavedDatabase],
    ) -> Result<OpenBackend, StoreError> {
        // One that was never given anything has no files to be opened.
        let databases: Vec<_> =
            databases.iter().filter(|database| !database.copy.files.is_empty()).copied().collect();
        let expiry = Arc::<Expiry>::default();
        let below = match self {
            Self::Memory if databases.is_empty() => None,
            #[cfg(not(feature = "rocksdb"))]
            Self::Memory => return Err(StoreError::NoDatabase { scratch: scratch.to_owned() }),
            #[cfg(feature = "rocksdb")]
            Self::Memory => {
                Some(Below::ToRead(Box::new(open(&RocksDb::default(), &owned, scratch, &databases)?)))
            }
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(config) => {
                let database = open(&config.clone().expiring(&expiry), &owned, scratch, &databases)?;
                let first = databases.first().filter(|first| first.can_be_shared);
                let opened_from = first.map_or_else(crate::DatabaseCopy::default, |first| first.copy.clone());
                let buffer = WriteBuffer::new(Arc::new(database), opened_from);
                let buffer = if databases.is_empty() { buffer.empty() } else { buffer };
                let old = databases.iter().any(|database| database.has_old_keys);
                let old = old.then(|| Arc::clone(buffer.database()));
                Some(Below::Over { buffer: SharedBuffer::new(buffer), config: config.clone(), old })
            }
        };
        Ok(OpenBackend { groups, owned, scratch: scratch.to_owned(), below, sharers: Arc::default(), expiry })
    }
}

/// What is below the tables of one instance.
#[derive(Debug)]
pub struct OpenBackend {
    groups: KeyGroups,
    owned: Range<u16>,
    #[cfg_attr(not(feature = "rocksdb"), expect(dead_code, reason = "it is that of a database"))]
    scratch: PathBuf,
    #[cfg_attr(not(feature = "rocksdb"), expect(dead_code, reason = "there is none without a database"))]
    below: Option<Below>,
    /// Tables that share the memory.
    sharers: Arc<AtomicUsize>,
    expiry: Arc<Expiry>,
}

#[derive(Debug)]
enum Below {
    /// Tables in memory begin with what is there.
    #[cfg(feature = "rocksdb")]
    ToRead(Box<dyn crate::database::Database>),
    #[cfg(feature = "rocksdb")]
    Over {
        buffer: SharedBuffer,
        config: RocksDb,
        /// The database, if it has keys that an older version wrote.
        old: Option<Arc<dyn crate::database::Database>>,
    },
}

impl OpenBackend {
    /// In memory, with nothing to begin with.
    pub fn in_memory(groups: KeyGroups, owned: Range<u16>) -> Self {
        Self {
            groups,
            owned,
            scratch: PathBuf::new(),
            below: None,
            sharers: Arc::default(),
            expiry: Arc::default(),
        }
    }

    /// A table of this instance, which begins with what the databases have for it. There is one for each type of keys.
    ///
    /// # Errors
    /// If a database cannot be read.
    pub fn table<K: TableKey, S: TableState>(&self) -> Result<KeyedTable<K, S>, StoreError> {
        #[cfg_attr(not(feature = "rocksdb"), expect(unused_mut, reason = "there is nothing to read"))]
        let mut table = self.fresh_table();
        #[cfg(feature = "rocksdb")]
        if let Some(Below::Over { old: Some(database), .. }) = &self.below {
            rewrite_keys::<K>(&**database, &self.owned, &self.scratch)?;
        }
        #[cfg(feature = "rocksdb")]
        if let Some(Below::ToRead(database)) = &self.below {
            let is_one = |key: &[u8]| split_key(key).is_some_and(|(_, space, _)| space == K::SPACE);
            let (mut keys, mut read) = (0, Ok(()));
            // In the order of their tags they need to have room from the start.
            if K::IS_SPREAD {
                database.scan(&self.owned, &mut |key, _| {
                    keys += usize::from(is_one(key));
                    true
                })?;
            }
            table.reserve(keys);
            database.scan(&self.owned, &mut |key, value| {
                if is_one(key) {
                    read = table.restore_entry(key, value);
                }
                read.is_ok()
            })?;
            read.map_err(|source| StoreError::Codec { path: self.scratch.clone(), source })?;
        }
        Ok(table)
    }

    /// A table of this instance that has nothing to begin with.
    pub(crate) fn fresh_table<K: TableKey, S: TableState>(&self) -> KeyedTable<K, S> {
        let Self { groups, owned, .. } = self;
        #[cfg(feature = "rocksdb")]
        if let Some(Below::Over { buffer, config, .. }) = &self.below {
            let (config, sharers) = (config.clone(), Arc::clone(&self.sharers));
            let limit = move |bytes| config.limit(bytes) / sharers.load(Ordering::Relaxed).max(1);
            return KeyedTable::over(*groups, owned.clone(), buffer.clone(), limit);
        }
        KeyedTable::new(*groups, owned.clone())
    }

    /// What the database may forget.
    pub fn expiry(&self) -> &Arc<Expiry> {
        &self.expiry
    }

    /// All tables that begin with something have been made. What they read it from can go.
    #[cfg_attr(
        not(feature = "rocksdb"),
        expect(clippy::unused_self, reason = "there is nothing to read without a database")
    )]
    pub(crate) fn has_been_read(&mut self) {
        #[cfg(feature = "rocksdb")]
        if matches!(self.below, Some(Below::ToRead(_))) {
            self.below = None;
        }
    }

    /// Tells how many tables there are entries in.
    pub fn shared_by(&self, tables: usize) {
        self.sharers.store(tables, Ordering::Relaxed);
    }
}

/// Opens copies of the databases in `scratch`, with what they have for the key groups `owned`.
#[cfg(feature = "rocksdb")]
pub(crate) fn open(
    config: &RocksDb,
    owned: &Range<u16>,
    scratch: &Path,
    databases: &[&SavedDatabase],
) -> Result<RocksDatabase, StoreError> {
    let folder = ScratchFolder::take(scratch)?;
    let copies = fetch(databases, scratch)?;
    let origins = databases.iter().flat_map(|database| {
        let location = |file: &crate::DatabaseFile| database.objects.location(&file.file.path);
        database.copy.files.iter().map(move |file| (file.name.clone(), location(file)))
    });
    RocksDatabase::open(folder, config, owned, (copies, origins.collect()))
}

/// Makes folders within `scratch` from which the databases can be opened, after checking each file.
#[cfg(feature = "rocksdb")]
fn fetch(databases: &[&SavedDatabase], scratch: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let fetch = |(index, database): (usize, &&SavedDatabase)| {
        let folder = scratch.join(format!("fetched-{index}"));
        database.copy.fetch(&database.objects, &folder)?;
        Ok(folder)
    };
    databases.iter().enumerate().map(fetch).collect()
}
