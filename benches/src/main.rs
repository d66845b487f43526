//! Runs one benchmark workload and prints one line of JSON.
//!
//! ```sh
//! cargo run --release -p watershed-bench -- W2 --parallelism 2 --checkpoint-interval-ms 1000
//! ```
//!
//! Written with the public API only, as a user would write it. The workloads are those that stream processors are
//! compared with elsewhere: W0 a chain without an exchange, W1 a keyed exchange without state, W2 a running sum per
//! key, R1 the time to recover W2 from a panic, S1 the time from the start of the process to the first record.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures by the clock of the machine")]

mod generate;
mod tally;
mod workloads;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Serialize;
use watershed::Config;

/// What can be said on the command line.
#[derive(Parser, Debug)]
#[command(about = "Runs one benchmark workload and prints one line of JSON")]
struct Options {
    /// W0, W1, W2, R1 or S1.
    workload: String,
    /// Instances of each actor.
    #[arg(long, default_value_t = 1)]
    parallelism: usize,
    /// Records; the workload's own number if not given.
    #[arg(long)]
    records: Option<u64>,
    /// Distinct keys; 1 M if not given.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Milliseconds between two checkpoints; none if not given.
    #[arg(long)]
    checkpoint_interval_ms: Option<u64>,
    /// Folder for the checkpoints; a temporary one if not given.
    #[arg(long)]
    checkpoints: Option<PathBuf>,
}

/// The result, one line of JSON.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ms: Option<f64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let options = Options::parse();
    let parallelism = options.parallelism;
    let mut config = Config::local().parallelism(parallelism).slots(parallelism);
    let scratch = tempfile::tempdir()?;
    if let Some(interval_ms) = options.checkpoint_interval_ms {
        config = config
            .checkpoints(options.checkpoints.clone().unwrap_or_else(|| scratch.path().to_path_buf()))
            .checkpoint_interval(Duration::from_millis(interval_ms));
    }
    let workload = workloads::find(&options.workload).ok_or("the workload is one of W0, W1, W2, R1, S1")?;
    let records = options.records.unwrap_or(workload.records);
    let begin = Instant::now();
    let result = (workload.run)(config, parallelism, records, options.keys)?;
    let seconds = begin.elapsed().as_secs_f64();
    let line = Line {
        engine: "watershed",
        workload: options.workload,
        parallelism,
        records,
        seconds,
        records_per_s: records as f64 / seconds,
        checksum: result.checksum,
        peak_rss_mb: peak_rss_mb(),
        checkpoints: result.checkpoints,
        recovery_ms: result.recovery_ms,
        start_ms: result.start_ms,
    };
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
}

/// The most memory the process has had, from the kernel's account of it.
fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
