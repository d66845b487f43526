//! The workloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use watershed::prelude::*;

use crate::generate::{mix, value};
use crate::tally::{LastPerKey, Total};

/// A workload and its usual number of records.
pub(crate) struct Workload {
    pub(crate) records: u64,
    pub(crate) run: fn(Config, usize, u64, u64) -> watershed::Result<Measured>,
}

/// What a run has shown.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) checksum: u64,
    pub(crate) checkpoints: u64,
    pub(crate) recovery_ms: Option<f64>,
    pub(crate) start_ms: Option<f64>,
}

pub(crate) fn find(name: &str) -> Option<Workload> {
    let workload = |records, run| Some(Workload { records, run });
    match name {
        "W0" => workload(100_000_000, w0 as fn(Config, usize, u64, u64) -> watershed::Result<Measured>),
        "W1" => workload(20_000_000, w1),
        "W2" => workload(20_000_000, w2),
        "R1" => workload(20_000_000, r1),
        "S1" => workload(1, s1),
        _ => None,
    }
}

fn finish(topology: &Topology, config: Config, total: &Total) -> watershed::Result<Measured> {
    let outcome = topology.run(config)?;
    Ok(Measured { checksum: total.get(), checkpoints: outcome.checkpoints, ..Measured::default() })
}

/// Source → map → filter → sink, one chain.
fn w0(config: Config, parallelism: usize, records: u64, _keys: u64) -> watershed::Result<Measured> {
    let (topology, total) = (Topology::new("w0"), Total::default());
    let sink = total.clone();
    topology
        .source("numbers", Generator::bounded(records, value).splits(parallelism))
        .map(|value| value + 1)
        .filter(|value| value % 2 == 1)
        .for_each_instance(move |_| {
            let mut share = sink.share();
            move |value| share.add(value)
        });
    finish(&topology, config, &total)
}

/// Records with key and value.
fn pairs(parallelism: usize, records: u64, keys: u64) -> Generator<impl Fn(u64) -> (u64, u64)> {
    Generator::bounded(records, move |i| (mix(i) % keys, value(i))).splits(parallelism)
}

/// Source → by key → map → sink.
fn w1(config: Config, parallelism: usize, records: u64, keys: u64) -> watershed::Result<Measured> {
    let (topology, total) = (Topology::new("w1"), Total::default());
    let sink = total.clone();
    topology
        .source("pairs", pairs(parallelism, records, keys))
        .key_by(|(key, _)| *key)
        .partition("by-key")
        .map(|pair| pair)
        .for_each_instance(move |_| {
            let mut share = sink.share();
            move |(key, value)| share.add(key ^ value)
        });
    finish(&topology, config, &total)
}

/// The sum of the values of each key so far.
struct RunningSum {
    /// Panics once, at this record of the first instance.
    panic_at: Option<u64>,
    seen: AtomicU64,
    /// When it panicked, and when it saw the next record, in nanoseconds since the start.
    clock: Arc<(Instant, AtomicU64, AtomicU64)>,
}

impl Process for RunningSum {
    type Key = u64;
    type In = (u64, u64);
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, (key, value): (u64, u64), sum: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        if let Some(at) = self.panic_at {
            self.count(at);
        }
        *sum = sum.wrapping_add(value);
        context.emit((key, *sum));
        Ok(())
    }
}

impl RunningSum {
    fn plain() -> Self {
        Self { panic_at: None, seen: AtomicU64::new(0), clock: clock() }
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark measures by the clock of the machine")]
    #[inline(never)]
    fn count(&self, at: u64) {
        let (start, panicked, back) = &*self.clock;
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        if seen == at {
            panicked.store(Instant::now().duration_since(*start).as_nanos() as u64, Ordering::Relaxed);
            // Quietly, as the message is not what is measured.
            std::panic::resume_unwind(Box::new("a panic in the middle of the benchmark"));
        }
        if seen > at && back.load(Ordering::Relaxed) == 0 {
            back.store(Instant::now().duration_since(*start).as_nanos() as u64, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures by the clock of the machine")]
fn clock() -> Arc<(Instant, AtomicU64, AtomicU64)> {
    Arc::new((Instant::now(), AtomicU64::new(0), AtomicU64::new(0)))
}

/// Source → by key → running sum per key → sink. With one instance the checksum is the sum of all outputs, with more it
/// is the sum of the last output of each key.
fn running_sum(
    config: Config,
    (parallelism, records, keys): (usize, u64, u64),
    process: RunningSum,
) -> watershed::Result<Measured> {
    let (topology, total) = (Topology::new("w2"), Total::default());
    let sink = total.clone();
    let sums =
        topology.source("pairs", pairs(parallelism, records, keys)).key_by(|(key, _)| *key).actor("sum", process);
    if parallelism == 1 {
        sums.for_each_instance(move |_| {
            let mut share = sink.share();
            move |(_, sum)| share.add(sum)
        });
    } else {
        sums.for_each_instance(move |_| {
            let mut last = LastPerKey::new(&sink, keys);
            move |(key, sum)| last.set(key, sum)
        });
    }
    finish(&topology, config, &total)
}

fn w2(config: Config, parallelism: usize, records: u64, keys: u64) -> watershed::Result<Measured> {
    running_sum(config, (parallelism, records, keys), RunningSum::plain())
}

/// W2 with a panic in the middle: how long until the next record is processed.
fn r1(config: Config, parallelism: usize, records: u64, keys: u64) -> watershed::Result<Measured> {
    let process = RunningSum { panic_at: Some(records / 2), ..RunningSum::plain() };
    let clock = Arc::clone(&process.clock);
    let config = config.restart(Restart::from_snapshot().backoff(millis(0), millis(0)));
    let mut measured = running_sum(config, (parallelism, records, keys), process)?;
    let (_, panicked, back) = &*clock;
    let nanos = back.load(Ordering::Relaxed).saturating_sub(panicked.load(Ordering::Relaxed));
    measured.recovery_ms = Some(nanos as f64 / 1e6);
    Ok(measured)
}

/// From the start of the process to the first record at the sink of W1.
fn s1(config: Config, parallelism: usize, records: u64, keys: u64) -> watershed::Result<Measured> {
    let (topology, first) = (Topology::new("s1"), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&first);
    topology
        .source("pairs", pairs(parallelism, records, keys))
        .key_by(|(key, _)| *key)
        .partition("by-key")
        .map(|pair| pair)
        .for_each(move |_| seen.store(since_process_start_us(), Ordering::Relaxed));
    let outcome = topology.run(config)?;
    let start_ms = Some(first.load(Ordering::Relaxed) as f64 / 1e3);
    Ok(Measured { checkpoints: outcome.checkpoints, start_ms, ..Measured::default() })
}

/// Microseconds since the kernel started this process; the kernel counts the start in hundredths of a second.
fn since_process_start_us() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let stat = read("/proc/self/stat");
    let after_name = stat.rsplit(')').next().unwrap_or_default().to_string();
    let ticks: f64 = after_name.split_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0.0);
    let uptime: f64 = read("/proc/uptime").split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    ((uptime - ticks / 100.0).max(0.0) * 1e6) as u64
}
