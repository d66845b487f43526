//! RocksDB as the database below a table. The one file that knows it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::compaction_filter::Decision;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, DBRawIterator, Error, ErrorKind,
    IngestExternalFileOptions, LogLevel, Options, ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};

use crate::database::{Changes, Database, ScratchFolder, WRITE_AT};
use crate::error::failed;
use crate::expiry::Expiry;
use crate::{Damage, StoreError};

/// Changes the options of a database.
type Tune = Arc<dyn Fn(&mut Options) + Send + Sync>;

/// State that outgrows memory, in RocksDB: what was used lately is in memory, as it is without RocksDB, and the rest on
/// disk. Each operator instance has a database of its own, in the scratch folder.
#[derive(Clone)]
pub struct RocksDb {
    memory_bytes: usize,
    cache_entries: Option<usize>,
    compacts: bool,
    tune: Option<Tune>,
    expiry: Option<Arc<Expiry>>,
}

/// The least and the most memory of an instance. RocksDB maps tables for as much as it may use, and aborts if it
/// cannot.
const MEMORY_BYTES: (usize, usize) = (1 << 20, 256 << 30);

/// More than memory of any machine has room for, and few enough to be reckoned with.
const CACHE_ENTRIES_MAX: usize = 1 << 40;

impl Default for RocksDb {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * 1024 * 1024,
            cache_entries: None,
            compacts: true,
            tune: None,
            expiry: None,
        }
    }
}

impl fmt::Debug for RocksDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksDb")
            .field("memory_bytes", &self.memory_bytes)
            .field("cache_entries", &self.cache_entries)
            .finish_non_exhaustive()
    }
}

impl RocksDb {
    /// With 256 MiB of memory for each operator instance.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much memory an operator instance may use for its state, in bytes. Seven sixteenths are for keys and states
    /// as they are, three for blocks of the database, three for what is written to it, and three are left to snapshots,
    /// to compactions and to what the allocator keeps. How much a state takes is known from how long it is when it is
    /// encoded. From 1 MiB to 256 GiB: less counts as the one, and more as the other.
    ///
    /// While the room for keys and states grows to its full size, half as much again is in use. Timers are in memory
    /// and are not counted.
    pub fn memory_bytes(self, bytes: usize) -> Self {
        Self { memory_bytes: bytes.clamp(MEMORY_BYTES.0, MEMORY_BYTES.1), ..self }
    }

    /// How many keys and states are kept in memory as they are, instead of as many as have room in their part of
    /// [`memory_bytes`](Self::memory_bytes). Where keys have collections, half of these are for pages of them.
    pub fn cache_entries(self, entries: usize) -> Self {
        Self { cache_entries: Some(entries.min(CACHE_ENTRIES_MAX)), ..self }
    }

    /// Changes RocksDB's options, after the engine has made its choice. What the engine depends on (no write-ahead log,
    /// one column family, the bytewise order of keys) must stay.
    pub fn tune(self, tune: impl Fn(&mut Options) + Send + Sync + 'static) -> Self {
        Self { tune: Some(Arc::new(tune)), ..self }
    }

    /// Nothing in the background, so that the files are a function of what was written.
    #[doc(hidden)]
    pub fn deterministic(self) -> Self {
        Self { compacts: false, ..self }
    }

    /// Forgets what has expired when it comes by it.
    pub(crate) fn expiring(self, expiry: &Arc<Expiry>) -> Self {
        Self { expiry: Some(Arc::clone(expiry)), ..self }
    }

    /// The entries that fit, if each takes so many bytes.
    pub(crate) fn limit(&self, entry_bytes: usize) -> usize {
        self.cache_entries.unwrap_or(self.memory_bytes / 16 * 7 / entry_bytes.max(1)).max(1)
    }

    fn options(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        // The memory of indexes and filters is part of the budget, so they live in the block cache: in pieces, so that
        // of a state with more of them than have room some stay. Each lookup looks for several pieces. So they are not
        // small, this cache is one without locks, and those of files that were just flushed, which each lookup asks,
        // need not be looked for.
        blocks.set_block_cache(&Cache::new_hyper_clock_cache(self.memory_bytes / 16 * 3, 0));
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(64 * 1024);
        blocks.set_pin_top_level_index_and_filter(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // States are looked up one by one, and often there is none: a filter spares the read in 99 of 100 files.
        blocks.set_bloom_filter(10.0, false);
        // Of a block one state is wanted: the rest is read, checked and unpacked for nothing.
        blocks.set_block_size(2 * 1024);
        // The checksum of a block says also which file it is of.
        blocks.set_format_version(6);

        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        options.create_if_missing(true);
        // Two buffers: one is filled while the other goes to disk.
        options.set_write_buffer_size(self.memory_bytes / 32 * 3);
        options.set_max_write_buffer_number(2);
        // A key that was just evicted may be wanted again: most lookups that find nothing in a buffer end at its
        // filter.
        options.set_memtable_prefix_bloom_ratio(0.05);
        options.set_memtable_whole_key_filtering(true);
        options.set_target_file_size_base(FILE_BYTES);
        // Nine tenths are in the lowest level however much there is, so that little is there twice.
        options.set_level_compaction_dynamic_level_bytes(true);
        // Numbers and short texts take half the space. Each lookup unpacks a block, which this does fastest.
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_bottommost_compression_type(DBCompressionType::Lz4);
        // What is flushed is rewritten soon: compressing it costs more than it saves.
        options.set_compression_per_level(&[
            DBCompressionType::None,
            DBCompressionType::None,
            DBCompressionType::Lz4,
            DBCompressionType::Lz4,
            DBCompressionType::Lz4,
            DBCompressionType::Lz4,
            DBCompressionType::Lz4,
        ]);
        // One flush and one compaction: the processors are for the records.
        options.set_max_background_jobs(2);
        options.set_disable_auto_compactions(!self.compacts);
        // Dirty pages go to disk bit by bit, not all at the next sync.
        options.set_bytes_per_sync(1024 * 1024);
        // Opening a database must not read all of its files, and nobody reads its statistics or its log.
        options.set_skip_stats_update_on_db_open(true);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_log_level(LogLevel::Error);
        options.set_keep_log_file_num(1);
        if let Some(expiry) = self.expiry.clone() {
            options.set_compaction_filter("expired", move |_, key, value| {
                if expiry.has_expired(key, value) { Decision::Remove } else { Decision::Keep }
            });
        }
        if let Some(tune) = &self.tune {
            tune(&mut options);
        }
        options
    }
}

/// A database, in a folder that goes with it. One that has nothing to begin with is made when it is first written to:
/// as long as all keys have room in memory it costs nothing, also where an instance begins again.
pub(crate) struct RocksDatabase {
    db: OnceLock<DB>,
    options: Options,
    write: WriteOptions,
    worth_a_write: usize,
    waiting_bytes_max: usize,
    path: PathBuf,
    /// What it began with: names of its files, and where the snapshot has them.
    origins: Vec<(String, PathBuf)>,
    // Dropped after the database is closed.
    folder: ScratchFolder,
}

impl fmt::Debug for RocksDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksDatabase").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Keys of these groups, in the database: from the first of these on and before the second.
pub(crate) fn bounds(groups: &Range<u16>) -> (Vec<u8>, Vec<u8>) {
    (groups.start.to_be_bytes().to_vec(), groups.end.to_be_bytes().to_vec())
}

impl RocksDatabase {
    /// A database in this folder. It begins with what the copies have for the key groups `owned`; they are folders on
    /// the same disk, and gone when this returns. `origins` are their files, by name, and where the snapshot has them.
    pub(crate) fn open(
        folder: ScratchFolder,
        config: &RocksDb,
        owned: &Range<u16>,
        (mut copies, origins): (Vec<PathBuf>, Vec<(String, PathBuf)>),
    ) -> Result<Self, StoreError> {
        let mut write = WriteOptions::default();
        // What is not in a snapshot is made again from the input: a log of it would be written for nothing.
        write.disable_wal(true);
        let database = Self {
            db: OnceLock::new(),
            options: config.options(),
            write,
            // In a simulation there are few changes, and much is to happen between two writes.
            worth_a_write: if config.compacts { WRITE_AT } else { 2 },
            // In a simulation the thread that would wait is the one that makes the copy.
            waiting_bytes_max: if config.compacts { config.memory_bytes / 16 } else { usize::MAX },
            path: folder.path().join("db"),
            origins,
            folder,
        };
        if config.tune.is_some() && copies.is_empty() {
            // Options that cannot be are refused at the start rather than when there is no room for the first time.
            database.db()?;
        }
        if !copies.is_empty() {
            let first = copies.remove(0);
            fs::rename(&first, &database.path).map_err(failed(&first, "rename"))?;
            database.db()?;
            database.keep_only(owned)?;
        }
        for copy in copies {
            database.merge(owned, &copy)?;
            fs::remove_dir_all(&copy).map_err(failed(&copy, "remove"))?;
        }
        Ok(database)
    }

    /// The database, if it began with something or was ever written to.
    fn written(&self) -> Option<&DB> {
        self.db.get()
    }

    /// The database, which is made if need be. That is the first write: nobody copies a database that was never written
    /// to.
    fn db(&self) -> Result<&DB, StoreError> {
        if let Some(db) = self.db.get() {
            return Ok(db);
        }
        let db = DB::open(&self.options, &self.path).map_err(self.refused("open"))?;
        Ok(self.db.get_or_init(|| db))
    }

    fn refused(&self, doing: &'static str) -> impl Fn(Error) -> StoreError + '_ {
        move |error| self.refusal(&self.path, doing, error)
    }

    /// What RocksDB says. If it is about what the snapshot holds, trying again would change nothing.
    fn refusal(&self, path: &Path, doing: &'static str, error: Error) -> StoreError {
        if error.kind() == ErrorKind::Corruption {
            let reason = error.to_string();
            let is_about = |(name, _): &&(String, PathBuf)| reason.contains(name.as_str());
            // Where no file is named, it was not opened at all.
            let any = || self.origins.first().filter(|_| self.db.get().is_none());
            if let Some((_, origin)) = self.origins.iter().find(is_about).or_else(any) {
                return StoreError::Damaged { path: origin.clone(), what: Damage::Database { reason } };
            }
        }
        refused(path, doing, error)
    }

    /// Removes what belongs to other instances.
    fn keep_only(&self, owned: &Range<u16>) -> Result<(), StoreError> {
        let (from, to) = bounds(owned);
        let (lowest, highest) = (Vec::new(), vec![0xff; 3]);
        for (from, to) in [(&lowest, &from), (&to, &highest)] {
            if from < to {
                // Whole files go at once; a marker hides the rest until it is compacted away.
                self.db()?.delete_file_in_range(from, to).map_err(self.refused("clear"))?;
                let mut batch = WriteBatch::default();
                batch.delete_range(from, to);
                self.db()?.write_opt(batch, &self.write).map_err(self.refused("clear"))?;
            }
        }
        Ok(())
    }

    /// Adds what a copy has for these groups, sorted as it is.
    fn merge(&self, owned: &Range<u16>, copy: &Path) -> Result<(), StoreError> {
        let unreadable = |error| self.refusal(copy, "read", error);
        let other = DB::open_for_read_only(&self.options, copy, false).map_err(unreadable)?;
        let mut iterator = other.raw_iterator_opt(range_options(owned));
        iterator.seek_to_first();
        let mut paths = Vec::new();
        while iterator.valid() {
            let path = self.folder.path().join(format!("merged-{}.sst", paths.len()));
            self.write_file(&path, &mut iterator)?;
            paths.push(path);
        }
        iterator.status().map_err(unreadable)?;
        if paths.is_empty() {
            return Ok(());
        }
        let mut how = IngestExternalFileOptions::default();
        how.set_move_files(true);
        self.db()?.ingest_external_file_opts(&how, paths).map_err(self.refused("write"))
    }

    /// Writes a file of what the iterator comes to next.
    fn write_file(&self, path: &Path, iterator: &mut DBRawIterator<'_>) -> Result<(), StoreError> {
        let refused = |error| refused(path, "write", error);
        let mut writer = SstFileWriter::create(&self.options);
        writer.open(path).map_err(refused)?;
        while writer.file_size() < FILE_BYTES
            && let Some((key, value)) = iterator.item()
        {
            writer.put(key, value).map_err(refused)?;
            iterator.next();
        }
        writer.finish().map_err(refused)
    }
}

/// How large the database's files become. Those that a snapshot has need not be stored again: smaller ones survive
/// compactions more often.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

fn range_options(owned: &Range<u16>) -> ReadOptions {
    let (from, to) = bounds(owned);
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    // It is read once: what is in the cache now is worth more.
    options.fill_cache(false);
    options
}

impl Database for RocksDatabase {
    fn get(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let Some(db) = self.written() else { return Ok(()) };
        if let Some(value) = db.get_pinned(key).map_err(self.refused("read"))? {
            found(&value);
        }
        Ok(())
    }

    fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (key, state) in changes {
            match state {
                Some(state) => batch.put(key, state),
                None => batch.delete(key),
            }
        }
        self.db()?.write_opt(batch, &self.write).map_err(self.refused("write"))
    }

    fn scan(
        &self,
        groups: &Range<u16>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let Some(db) = self.written() else { return Ok(()) };
        let mut iterator = db.raw_iterator_opt(range_options(groups));
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            if !visit(key, value) {
                return Ok(());
            }
            iterator.next();
        }
        iterator.status().map_err(self.refused("read"))
    }

    fn copy_to(&self, folder: &Path) -> Result<(), StoreError> {
        let checkpoint = Checkpoint::new(self.db()?).map_err(self.refused("copy"))?;
        checkpoint.create_checkpoint(folder).map_err(self.refused("copy"))
    }

    fn scratch(&self) -> &Path {
        self.folder.path()
    }

    fn worth_a_write(&self) -> usize {
        self.worth_a_write
    }

    fn waiting_bytes_max(&self) -> usize {
        self.waiting_bytes_max
    }
}

/// What RocksDB says, as an error of the file system if it is one.
fn refused(path: &Path, doing: &'static str, error: Error) -> StoreError {
    let text = error.to_string();
    let kind = match error.kind() {
        _ if text.contains("No space left") => io::ErrorKind::StorageFull,
        _ if text.contains("Permission denied") => io::ErrorKind::PermissionDenied,
        ErrorKind::Corruption => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    StoreError::Io { path: path.to_owned(), doing, source: io::Error::new(kind, error) }
}
