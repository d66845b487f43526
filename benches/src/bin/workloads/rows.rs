//! The workloads by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use watershed::{Config, Outcome};
use watershed_bench::stopwatch::Stopwatch;

use crate::sums::KEYS;
use crate::{
    chain, exchange, latency, outgrown, recovery, regions, rescale, stall, sums, supervised, tenth, touched,
    words,
};

/// A workload, with what it does unless told otherwise.
pub(crate) struct Row {
    pub(crate) records: u64,
    pub(crate) checkpoint_interval_ms: Option<u64>,
    pub(crate) state: Backend,
    /// With RocksDB, the keys that each instance has in memory; as many as have room if not given.
    pub(crate) cache_entries: Option<usize>,
    pub(crate) run: fn(Setup) -> watershed::Result<Measured>,
}

/// A state backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    Memory,
    Rocksdb,
}

/// How a workload is run.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) parallelism: usize,
    pub(crate) records: u64,
    /// The text of W4.
    pub(crate) words: PathBuf,
    /// Started with the process, or nearly so.
    pub(crate) since_start: Stopwatch,
}

/// What a run has shown.
pub(crate) struct Measured {
    pub(crate) records: u64,
    pub(crate) checksum: u64,
    pub(crate) checkpoints: u64,
    pub(crate) figures: Figures,
}

/// What a workload measures beside its rate, by the names of the line.
pub(crate) type Figures = BTreeMap<String, f64>;

impl Measured {
    /// A run with nothing but a rate.
    pub(crate) fn new(records: u64, checksum: u64, outcome: &Outcome) -> Self {
        Self { records, checksum, checkpoints: outcome.checkpoints, figures: Figures::new() }
    }
}

/// The one in the middle, or the higher of the two there.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub(crate) const NAMES: &str = "W0, W1, W2, W3, W3-QUARTER, OUTGROWN, W4, L1, R1, R1-100K, R1-10M, RESCALE, RESCALE-100K, RESCALE-10M, \
                                REGIONS, SUPERVISED, S1, STALL, TENTH, TENTH-ROCKSDB and TOUCHED";

pub(crate) fn find(name: &str) -> Option<Row> {
    let row = Row::new;
    Some(match name {
        "W0" => row(100_000_000, chain::w0),
        "W1" => row(20_000_000, exchange::w1),
        "W2" => row(20_000_000, sums::w2),
        "W3" => row(4_000_000, sums::w2).in_rocksdb(),
        "W3-QUARTER" => row(4_000_000, sums::w2).in_rocksdb().cached(QUARTER_ENTRIES),
        // As many as there are words.
        "W4" => row(0, words::w4),
        "L1" => row(2_000_000, latency::l1),
        // So many that there are checkpoints before the panic in the middle.
        "R1" => row(200_000_000, recovery::r1::<KEYS>).every(1000),
        "R1-100K" => row(200_000_000, recovery::r1::<100_000>).every(1000),
        "R1-10M" => row(200_000_000, recovery::r1::<10_000_000>).every(1000),
        "RESCALE" => row(60_000_000, rescale::rescale::<KEYS>).every(1000),
        "RESCALE-100K" => row(60_000_000, rescale::rescale::<100_000>).every(1000),
        "RESCALE-10M" => row(60_000_000, rescale::rescale::<10_000_000>).every(1000),
        "REGIONS" => row(100_000_000, regions::regions).every(100),
        // Dead letters need a place; a checkpoint is not what is measured.
        "SUPERVISED" => row(40_000_000, supervised::supervised).every(60_000),
        "S1" => row(1, exchange::s1),
        "STALL" => row(400_000_000, stall::stall).every(500),
        "OUTGROWN" => row(36_000_000, outgrown::outgrown).in_rocksdb().every(10_000),
        "TENTH" => row(200_000_000, tenth::tenth),
        "TENTH-ROCKSDB" => row(200_000_000, tenth::tenth).in_rocksdb(),
        // So many that there are some checkpoints after all keys are there.
        "TOUCHED" => row(200_000_000, touched::touched).every(1000),
        _ => return None,
    })
}

/// The keys that W3-QUARTER has in memory.
const QUARTER_ENTRIES: usize = 1 << 18;

impl Row {
    /// In memory, without checkpoints.
    fn new(records: u64, run: fn(Setup) -> watershed::Result<Measured>) -> Self {
        Self { records, checkpoint_interval_ms: None, state: Backend::Memory, cache_entries: None, run }
    }

    fn every(self, checkpoint_interval_ms: u64) -> Self {
        Self { checkpoint_interval_ms: Some(checkpoint_interval_ms), ..self }
    }

    fn in_rocksdb(self) -> Self {
        Self { state: Backend::Rocksdb, ..self }
    }

    fn cached(self, entries: usize) -> Self {
        Self { cache_entries: Some(entries), ..self }
    }
}
