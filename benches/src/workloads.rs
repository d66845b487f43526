//! The workloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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
    clock: Arc<Recovery>,
}

/// When the panic was, and when the first record came out of an instance that was made after it.
struct Recovery {
    start: Instant,
    panicked_nanos: AtomicU64,
    back_nanos: AtomicU64,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures by the clock of the machine")]
impl Recovery {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            panicked_nanos: AtomicU64::new(0),
            back_nanos: AtomicU64::new(0),
        })
    }

    fn nanos(&self) -> u64 {
        Instant::now().duration_since(self.start).as_nanos() as u64
    }

    fn has_panicked(&self) -> bool {
        self.panicked_nanos.load(Ordering::Relaxed) > 0
    }

    #[inline(never)]
    fn back(&self) {
        // The first of the new instances counts.
        let _ = self.back_nanos.compare_exchange(0, self.nanos(), Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Process for RunningSum {
    type Key = u64;
    type In = (u64, u64);
    type Out = (u64, u64);
    type State = u64;

    fn on_record(
        &self,
        (key, value): (u64, u64),
        sum: &mut u64,
        context: &mut Context<'_, Self>,
    ) -> UserResult {
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
        Self { panic_at: None, seen: AtomicU64::new(0), clock: Recovery::new() }
    }

    #[inline(never)]
    fn count(&self, at: u64) {
        if self.seen.fetch_add(1, Ordering::Relaxed) == at {
            self.clock.panicked_nanos.store(self.clock.nanos(), Ordering::Relaxed);
            // Quietly, as the message is not what is measured.
            std::panic::resume_unwind(Box::new("a panic in the middle of the benchmark"));
        }
    }
}

/// Source → by key → running sum per key, for whatever takes the sums.
fn running_sums(
    (parallelism, records, keys): (usize, u64, u64),
    process: RunningSum,
) -> (Topology, Stream<(u64, u64)>) {
    let topology = Topology::new("w2");
    let pairs = topology.source("pairs", pairs(parallelism, records, keys));
    let sums = pairs.key_by(|(key, _)| *key).actor("sum", process);
    (topology, sums)
}

/// Running sums into a sink. With one instance the checksum is the sum of all outputs, with more it is the sum of the
/// last output of each key.
fn w2(config: Config, parallelism: usize, records: u64, keys: u64) -> watershed::Result<Measured> {
    let (topology, sums) = running_sums((parallelism, records, keys), RunningSum::plain());
    if parallelism == 1 {
        let total = Total::default();
        let sink = total.clone();
        sums.for_each_instance(move |_| {
            let mut share = sink.share();
            move |(_, sum)| share.add(sum)
        });
        return finish(&topology, config, &total);
    }
    let last = LastPerKey::new(keys);
    let sink = last.clone();
    sums.for_each(move |(key, sum)| sink.set(key, sum));
    let outcome = topology.run(config)?;
    Ok(Measured { checksum: last.sum(), checkpoints: outcome.checkpoints, ..Measured::default() })
}

/// W2 with a panic in the middle: how long until the next record is processed. The checksum is the sum of the last output
/// of each key, which the panic must not change.
fn r1(config: Config, parallelism: usize, records: u64, keys: u64) -> watershed::Result<Measured> {
    let process = RunningSum { panic_at: Some(records / 2), ..RunningSum::plain() };
    let clock = Arc::clone(&process.clock);
    let (topology, sums) = running_sums((parallelism, records, keys), process);
    let last = LastPerKey::new(keys);
    let (sink, recovery) = (last.clone(), Arc::clone(&clock));
    sums.for_each_instance(move |_| {
        let mut first = recovery.has_panicked();
        let (recovery, sink) = (Arc::clone(&recovery), sink.clone());
        move |(key, sum)| {
            if std::mem::take(&mut first) {
                recovery.back();
            }
            sink.set(key, sum);
        }
    });
    let outcome = topology.run(config.restart(Restart::from_snapshot().backoff(millis(0), millis(0))))?;
    let nanos =
        clock.back_nanos.load(Ordering::Relaxed).saturating_sub(clock.panicked_nanos.load(Ordering::Relaxed));
    let recovery_ms = Some(nanos as f64 / 1e6);
    Ok(Measured { checksum: last.sum(), checkpoints: outcome.checkpoints, recovery_ms, start_ms: None })
}

/// From the start of the process to the first record at the sink of W1. Whoever starts the process says when, in
/// `WATERSHED_STARTED_US` (microseconds since the Unix epoch: `$(date +%s%6N)`).
fn s1(config: Config, parallelism: usize, records: u64, keys: u64) -> watershed::Result<Measured> {
    let (topology, first) = (Topology::new("s1"), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&first);
    topology
        .source("pairs", pairs(parallelism, records, keys))
        .key_by(|(key, _)| *key)
        .partition("by-key")
        .map(|pair| pair)
        .for_each(move |_| seen.store(epoch_us(), Ordering::Relaxed));
    let outcome = topology.run(config)?;
    let started = std::env::var("WATERSHED_STARTED_US").ok().and_then(|text| text.parse::<u64>().ok());
    let first = first.load(Ordering::Relaxed);
    let start_ms = started.map(|started| first.saturating_sub(started) as f64 / 1e3);
    Ok(Measured { checkpoints: outcome.checkpoints, start_ms, ..Measured::default() })
}

/// Microseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures by the clock of the machine")]
fn epoch_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
