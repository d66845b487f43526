//! What a stream processor remembers, and how that survives a crash.
//!
//! This crate holds keyed state, in memory or over RocksDB, and timers, writes them out in slices while the data
//! path goes on, and keeps the resulting checkpoints in a store in which either all of a checkpoint exists or none
//! of it. It knows nothing of actors, of time or of topologies: whoever owns a table decides when a snapshot
//! begins, and the caller makes every id.
//!
//! | concept | items |
//! |---|---|
//! | which instance owns a key | [`hash_key`], [`KeyGroups`] |
//! | state and timers of the keys | [`KeyedTable`], [`TimerQueue`] |
//! | what a key has besides its state | [`Collections`] |
//! | in memory, or more than fits there | [`StateBackend`], `RocksDb` |
//! | state without keys | [`SavedState`], [`deal`] |
//! | how values become bytes | [`encode`], [`decode`], [`Section`] |
//! | files | [`PartWriter`], [`read_part`], [`Manifest`], [`CheckpointStore`] |
//! | where they are | [`ObjectStore`], [`FolderStore`], [`MemoryStore`] |
//! | looking at snapshots from outside | [`Snapshots`] |
//! | the disk, real or simulated | [`FileSystem`], [`LocalFs`], [`SimulatedDisk`] |
//!
//! ```
//! use watershed_state::{KeyGroups, KeyedTable, SliceProgress, hash_key};
//!
//! let mut counts: KeyedTable<String, u64> = KeyedTable::new(KeyGroups::DEFAULT, 0..128);
//! let word = String::from("stream");
//! let (_, count) = counts.entry(hash_key(&word), word.clone());
//! *count += 1;
//!
//! counts.begin_snapshot(1);
//! *counts.entry(hash_key(&word), word.clone()).1 += 1; // what the snapshot shows stays 1
//! while counts.snapshot_slice(1_000)? == SliceProgress::More {}
//!
//! let mut restored: KeyedTable<String, u64> = KeyedTable::new(KeyGroups::DEFAULT, 0..128);
//! for section in counts.take_sections() {
//!     restored.restore(&section)?;
//! }
//! assert_eq!(restored.get(hash_key(&word), &word), Some(&1));
//! # Ok::<(), watershed_state::CodecError>(())
//! ```
//!
//! Invariants: this crate imports no other crate of the workspace, reads no clock, draws no random number,
//! and iterates over no map whose order depends on either.

mod backend;
#[doc(hidden)]
pub mod bug;
mod codec;
mod collections;
mod data;
mod database;
mod error;
mod expiry;
mod frame;
mod fs;
mod hash;
mod history;
mod huge_pages;
mod inspect;
mod key_group;
mod manifest;
mod objects;
mod operator_state;
mod part;
mod prefetch;
mod removed;
#[cfg(feature = "rocksdb")]
mod rocks;
mod saved;
mod savepoint;
mod saving;
mod section;
mod snapshot;
mod store;
#[cfg_attr(
    not(any(test, feature = "rocksdb")),
    expect(dead_code, reason = "without RocksDB there is no database")
)]
mod table;
mod text;
mod timers;
mod ttl;
mod uri;

pub use backend::{OpenBackend, StateBackend};
pub use codec::{MAX_DEPTH, SHOWN_LEVELS, Sampler, decode, encode, encode_for_keeps, levels, read_back};
pub use collections::{
    Aggregate, AggregatingState, Collection, CollectionKind, CollectionName, Collections, ListState,
    MapState, OpenAggregating, OpenList, OpenMap, OpenReducing, OpenValue, ReducingState, ValueState,
    names_in,
};
pub use data::{Data, Key, State};
pub use database::{DatabaseCopy, DatabaseFile, Link};
pub use error::{CodecError, Damage, StateFault, StoreError, chain_of};
pub use expiry::Expiry;
pub use fs::{DiskFault, FileInfo, FileReader, FileSystem, FileWriter, Fs, LocalFs, Lock, SimulatedDisk};
pub use hash::{FixedHasher, FixedState, hash_canary, hash_key};
pub use history::Additions;
pub use inspect::{CollectionEntry, FoundSnapshot, KeyedEntry, Snapshots};
pub use key_group::KeyGroups;
pub use manifest::{InstancePart, Manifest, OperatorPart, SnapshotId};
pub use objects::{FolderStore, Listing, MemoryStore, ObjectInfo, ObjectStore, ObjectWriter, Objects};
pub use operator_state::{DealtElement, DealtState, Receiver, Redistribution, SavedState, deal};
pub use part::{PartFile, PartWriter, is_plain_name, read_part};
#[cfg(feature = "rocksdb")]
pub use rocks::RocksDb;
/// What [`RocksDb::tune`] is given the options of.
#[cfg(feature = "rocksdb")]
pub use rocksdb;
pub use saved::{SavedDatabase, SavedInstance, SavedPart, read_saved};
pub use savepoint::{
    complete_savepoint, copy_to_savepoint, prepare_savepoint, read_savepoint, remove_savepoint,
    write_savepoint,
};
pub use section::{Section, SectionKind};
pub use snapshot::SliceProgress;
pub use store::{CheckpointStore, Collected, Identity, RescaledOperator, Scanned, durable_skips};
pub use table::{KeyedTable, SnapshotBegun, Sweep, TableKey, TableState, Timed, write_time};
pub use text::{Shown, is_shown_escaped, iso_time, shown};
pub use timers::{SavedTimer, TimerQueue, saved_timers};
pub use ttl::Ttl;
pub use uri::SnapshotPlace;
