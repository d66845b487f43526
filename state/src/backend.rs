//! Where keyed state lives, as it is chosen in the configuration.

use std::ops::Range;
use std::path::Path;
#[cfg(feature = "rocksdb")]
use std::path::PathBuf;

#[cfg(feature = "rocksdb")]
use crate::rocks::{RocksDatabase, RocksDb};
use crate::{Key, KeyGroups, KeyedTable, SavedDatabase, State, StoreError};

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

    /// A table for the key groups `owned`, which begins with what the databases have for them.
    ///
    /// `scratch` is a folder for this table alone: what may be there is removed, and it is gone with the table. A table
    /// that is in memory reads all of the databases.
    ///
    /// # Errors
    /// If a copy is damaged, or the disk refuses.
    pub fn table<K: Key, S: State>(
        &self,
        groups: KeyGroups,
        owned: Range<u16>,
        scratch: &Path,
        databases: &[&SavedDatabase],
    ) -> Result<KeyedTable<K, S>, StoreError> {
        match self {
            Self::Memory if databases.is_empty() => Ok(KeyedTable::new(groups, owned)),
            #[cfg(not(feature = "rocksdb"))]
            Self::Memory => Err(StoreError::NoDatabase { scratch: scratch.to_owned() }),
            #[cfg(feature = "rocksdb")]
            Self::Memory => {
                use crate::database::Database;

                let database = open(&RocksDb::default(), &owned, scratch, databases)?;
                let mut table = KeyedTable::new(groups, owned.clone());
                let mut read = Ok(());
                database.scan(&owned, &mut |key, value| {
                    read = table.restore_entry(key, value);
                    read.is_ok()
                })?;
                read.map_err(|source| StoreError::Codec { path: scratch.to_owned(), source })?;
                Ok(table)
            }
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(config) => {
                let database = open(config, &owned, scratch, databases)?;
                let config = config.clone();
                let first = databases.first().filter(|first| first.can_be_shared);
                let opened_from = first.map_or_else(crate::DatabaseCopy::default, |first| first.copy.clone());
                let database = (std::sync::Arc::new(database) as _, opened_from);
                Ok(KeyedTable::over(groups, owned, database, move |bytes| config.limit(bytes)))
            }
        }
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
    RocksDatabase::open(scratch, config, owned, fetch(databases, scratch)?)
}

/// Makes folders within `scratch` from which the databases can be opened, after checking each file.
#[cfg(feature = "rocksdb")]
fn fetch(databases: &[&SavedDatabase], scratch: &Path) -> Result<Vec<PathBuf>, StoreError> {
    crate::database::remove_folder(scratch)?;
    let fetch = |(index, database): (usize, &&SavedDatabase)| {
        let folder = scratch.join(format!("fetched-{index}"));
        database.copy.fetch(&database.objects, &folder)?;
        Ok(folder)
    };
    databases.iter().enumerate().map(fetch).collect()
}
