//! Runs one benchmark workload and prints one line of JSON.
//!
//! ```sh
//! cargo run --release -p watershed-bench --bin workloads -- W2 --parallelism 2 --checkpoint-interval-ms 1000
//! ```
//!
//! The workloads are those that stream processors are compared with elsewhere, written with the public API only, as a
//! user would write them. [`rows`] lists them.

mod chain;
mod exchange;
mod latency;
mod marked;
mod outgrown;
mod recovery;
mod regions;
mod rescale;
mod rows;
mod stall;
mod sums;
mod supervised;
mod tally;
mod tenth;
mod touched;
mod words;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use watershed::{Config, millis};
use watershed_bench::generate;
use watershed_bench::stopwatch::Stopwatch;

use crate::rows::{Backend, Figures, NAMES, Row, Setup};

/// What can be said on the command line.
#[derive(Parser, Debug)]
#[command(about = "Runs one benchmark workload and prints one line of JSON")]
struct Options {
    /// One of those that [`rows`] has; or `words`, which only writes the text of W4.
    workload: String,
    /// Instances of each actor.
    #[arg(long, default_value_t = 1)]
    parallelism: usize,
    /// Records; the workload's own number if not given.
    #[arg(long)]
    records: Option<u64>,
    /// The text of W4.
    #[arg(long, default_value = "words.txt")]
    words: PathBuf,
    /// Where the state of keys is kept; where the workload has it if not given.
    #[arg(long, value_enum)]
    state: Option<Backend>,
    /// With RocksDB, the memory of each instance in MiB.
    #[arg(long, default_value_t = 256)]
    memory_mib: usize,
    /// With RocksDB, the keys that each instance has in memory; the workload's own number, or as many as have room, if
    /// not given.
    #[arg(long)]
    cache_entries: Option<usize>,
    /// Milliseconds between two checkpoints; the workload's own number, or no checkpoints, if not given.
    #[arg(long)]
    checkpoint_interval_ms: Option<u64>,
    /// Folder for the checkpoints; a temporary one if not given.
    #[arg(long)]
    checkpoints: Option<PathBuf>,
}

/// The result.
#[derive(Debug, Serialize)]
struct Line {
    engine: &'static str,
    workload: String,
    parallelism: usize,
    records: u64,
    seconds: f64,
    records_per_s: f64,
    checksum: u64,
    peak_rss_mb: f64,
    checkpoints: u64,
    #[serde(flatten)]
    figures: Figures,
}

fn main() -> ExitCode {
    let since_start = Stopwatch::start();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    match run(Options::parse(), since_start) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the options say, and returns what is to be printed.
fn run(options: Options, since_start: Stopwatch) -> Result<String, Box<dyn Error>> {
    if options.workload == "words" {
        let words = options.records.unwrap_or(generate::WORDS);
        generate::write_words(&options.words, words)?;
        return Ok(format!("{words} words in {}", options.words.display()));
    }
    let row = rows::find(&options.workload).ok_or_else(|| format!("the workload is one of {NAMES}"))?;
    let parallelism = options.parallelism;
    // A run that is cut short measures nothing.
    let mut config = Config::local().parallelism(parallelism).ignore_signals();
    if options.state.unwrap_or(row.state) == Backend::Rocksdb {
        config = config.state_backend(rocksdb(&options, &row)?);
    }
    let scratch = tempfile::tempdir()?;
    if let Some(interval_ms) = options.checkpoint_interval_ms.or(row.checkpoint_interval_ms) {
        config = config
            .checkpoints(options.checkpoints.as_deref().unwrap_or(scratch.path()))
            .checkpoint_interval(millis(interval_ms));
    }
    let records = options.records.unwrap_or(row.records);
    let stopwatch = Stopwatch::start();
    let measured = (row.run)(Setup { config, parallelism, records, words: options.words, since_start })?;
    let seconds = stopwatch.seconds();
    let line = Line {
        engine: "watershed",
        workload: options.workload,
        parallelism,
        records: measured.records,
        seconds,
        records_per_s: measured.records as f64 / seconds,
        checksum: measured.checksum,
        peak_rss_mb: peak_rss_mb(),
        checkpoints: measured.checkpoints,
        figures: measured.figures,
    };
    Ok(serde_json::to_string(&line)?)
}

/// State in RocksDB, as the options say.
#[cfg(feature = "rocksdb")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it is an error")]
fn rocksdb(options: &Options, row: &Row) -> Result<watershed::StateBackend, Box<dyn Error>> {
    let config = watershed::RocksDb::new().memory_bytes(options.memory_mib << 20);
    Ok(match options.cache_entries.or(row.cache_entries) {
        Some(entries) => config.cache_entries(entries).into(),
        None => config.into(),
    })
}

#[cfg(not(feature = "rocksdb"))]
fn rocksdb(_: &Options, _: &Row) -> Result<watershed::StateBackend, Box<dyn Error>> {
    Err("this build has no RocksDB; build it with the feature `rocksdb`".into())
}

/// The most memory the process has had, from the kernel's account of it.
fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
