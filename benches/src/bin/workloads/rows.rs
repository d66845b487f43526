//! The workloads by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use watershed::{Config, Outcome};
use watershed_bench::stopwatch::Stopwatch;

use crate::sums::KEYS;
use crate::{chain, exchange, latency, recovery, regions, stall, sums, supervised, tenth, touched, words};

/// A workload, with what it does unless told otherwise.
pub(crate) struct Row {
    pub(crate) records: u64,
    pub(crate) checkpoint_interval_ms: Option<u64>,
    pub(crate) run: fn(Setup) -> watershed::Result<Measured>,
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

pub(crate) const NAMES: &str =
    "W0, W1, W2, W3, W4, L1, R1, R1-100K, R1-10M, REGIONS, SUPERVISED, S1, STALL, TENTH and TOUCHED";

pub(crate) fn find(name: &str) -> Option<Row> {
    let (records, checkpoint_interval_ms, run): (_, _, fn(Setup) -> watershed::Result<Measured>) = match name
    {
        "W0" => (100_000_000, None, chain::w0),
        "W1" => (20_000_000, None, exchange::w1),
        "W2" => (20_000_000, None, sums::w2),
        // The same with its state in RocksDB.
        "W3" => (4_000_000, None, sums::w2),
        // So many that there are some checkpoints after all keys are there.
        "TOUCHED" => (200_000_000, Some(1000), touched::touched),
        "TENTH" => (200_000_000, None, tenth::tenth),
        // As many as there are words.
        "W4" => (0, None, words::w4),
        "L1" => (2_000_000, None, latency::l1),
        // So many that there are checkpoints before the panic in the middle.
        "R1" => (200_000_000, Some(1000), recovery::r1::<KEYS>),
        "R1-100K" => (200_000_000, Some(1000), recovery::r1::<100_000>),
        "R1-10M" => (200_000_000, Some(1000), recovery::r1::<10_000_000>),
        "REGIONS" => (100_000_000, Some(100), regions::regions),
        // Dead letters need a place; a checkpoint is not what is measured.
        "SUPERVISED" => (40_000_000, Some(60_000), supervised::supervised),
        "S1" => (1, None, exchange::s1),
        "STALL" => (400_000_000, Some(500), stall::stall),
        _ => return None,
    };
    Some(Row { records, checkpoint_interval_ms, run })
}
