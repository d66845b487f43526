//! REGIONS: what a region notices of another that crashes again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed::{Outcome, Process, Resume, prelude::*};
use watershed_bench::stopwatch::Stopwatch;

use crate::rows::{Measured, Setup, median};
use crate::sums::{KEYS, RunningSum, pairs};
use crate::tally::LastPerKey;

/// Pairs of runs; the medians count.
const ROUNDS: usize = 5;
/// How often the other region crashes.
const CRASHES: u64 = 100;
/// Records that it processes between two crashes, and in a second: the crashes go on for five seconds and longer.
const BETWEEN: u64 = 250;
const RATE: f64 = 5_000.0;
/// Records that it has.
const OTHERS: u64 = 20_000;
/// Records between two looks at the clock.
const LOOK_RECORDS: u64 = 4096;

/// W2 beside a region of its own that crashes a hundred times, and beside the same without a crash. The rate, the
/// number of checkpoints and the checksum are those of W2.
#[expect(clippy::needless_pass_by_value, reason = "all workloads take it like that")]
pub(crate) fn regions(setup: Setup) -> watershed::Result<Measured> {
    let (mut calm, mut shaken) = (run(&setup, 0)?, run(&setup, CRASHES)?);
    let mut ratios = vec![calm.seconds / shaken.seconds];
    let mut seconds = [vec![calm.seconds], vec![shaken.seconds]];
    for round in 1..ROUNDS {
        // By turns, whoever comes first: a machine gets slower and faster by itself.
        if round % 2 == 1 {
            shaken = run(&setup, CRASHES)?;
            calm = run(&setup, 0)?;
        } else {
            calm = run(&setup, 0)?;
            shaken = run(&setup, CRASHES)?;
        }
        ratios.push(calm.seconds / shaken.seconds);
        seconds[0].push(calm.seconds);
        seconds[1].push(shaken.seconds);
    }
    let [calm_seconds, shaken_seconds] = seconds.map(median);
    let mut measured = Measured::new(setup.records, shaken.checksum, &shaken.outcome);
    let restarts = |operator: &str| {
        let mut regions = shaken.outcome.tree.regions.iter();
        let region = regions.find(|region| region.operators.iter().any(|node| node.operator == operator));
        region.map_or(0, |region| region.restarts)
    };
    measured.figures.extend(
        [
            ("calm_records_per_s", setup.records as f64 / calm_seconds),
            ("shaken_records_per_s", setup.records as f64 / shaken_seconds),
            ("shaken_to_calm", median(ratios)),
            ("calm_checkpoints", calm.outcome.checkpoints as f64),
            ("shaken_checkpoints", shaken.outcome.checkpoints as f64),
            ("restarts_of_the_other", f64::from(restarts("shaky"))),
            ("restarts", f64::from(restarts("sum"))),
            ("same_output", f64::from(u8::from(calm.checksum == shaken.checksum))),
        ]
        .map(|(name, figure)| (name.to_string(), figure)),
    );
    Ok(measured)
}

struct Run {
    /// From the first record of W2 at its sink to the last.
    seconds: f64,
    checksum: u64,
    outcome: Outcome,
}

fn run(setup: &Setup, crashes: u64) -> watershed::Result<Run> {
    let topology = Topology::new("regions");
    let sums = topology.source("pairs", pairs(setup)).key_by(|(key, _)| *key).actor("sum", RunningSum);
    let (last, stretch) = (LastPerKey::new(KEYS), Arc::new(Stretch::new()));
    let (sink, clock) = (last.clone(), Arc::clone(&stretch));
    sums.for_each_instance(move |_| {
        let (sink, clock, mut seen) = (sink.clone(), Arc::clone(&clock), 0u64);
        move |(key, sum)| {
            if seen.is_multiple_of(LOOK_RECORDS) {
                clock.touch();
            }
            seen += 1;
            sink.set(key, sum);
        }
    });
    let others = topology.source("other", Generator::bounded(OTHERS, |n| n)).parallelism(1);
    let shaky = Shaky { left: AtomicU64::new(crashes), seen: AtomicU64::new(0) };
    others.rate(RATE).key_by(|n| n % 16).actor("shaky", shaky).parallelism(1).for_each(|_| {});
    let restart = Restart::failure_rate(CRASHES as usize + 1, minutes(60), millis(0));
    let outcome = topology.run(setup.config.clone().resume(Resume::Nothing).restart(restart))?;
    Ok(Run { seconds: stretch.seconds(), checksum: last.sum(), outcome })
}

/// Counts, and panics after each stretch of records until it has done so often enough.
struct Shaky {
    left: AtomicU64,
    seen: AtomicU64,
}

impl Process for Shaky {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, _: u64, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        if seen % BETWEEN == BETWEEN - 1 && self.left.load(Ordering::Relaxed) > 0 {
            self.left.fetch_sub(1, Ordering::Relaxed);
            // Quietly, as the message is not what is measured.
            std::panic::resume_unwind(Box::new("a crash of the other region"));
        }
        *count += 1;
        context.emit(*count);
        Ok(())
    }
}

/// When the first record came to the sink, and when the last.
struct Stretch {
    stopwatch: Stopwatch,
    first_nanos: AtomicU64,
    last_nanos: AtomicU64,
}

impl Stretch {
    fn new() -> Self {
        let (first_nanos, last_nanos) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        Self { stopwatch: Stopwatch::start(), first_nanos, last_nanos }
    }

    fn touch(&self) {
        let now = self.stopwatch.nanos();
        self.first_nanos.fetch_min(now, Ordering::Relaxed);
        self.last_nanos.fetch_max(now, Ordering::Relaxed);
    }

    fn seconds(&self) -> f64 {
        let (first, last) =
            (self.first_nanos.load(Ordering::Relaxed), self.last_nanos.load(Ordering::Relaxed));
        last.saturating_sub(first) as f64 / 1e9
    }
}
