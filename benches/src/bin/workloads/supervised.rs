//! SUPERVISED: what it costs to keep what was there before each record, in case it ends in an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed::{Outcome, Resume, prelude::*};
use watershed_bench::stopwatch::Stopwatch;

use crate::rows::{Measured, Setup, median};
use crate::sums::{KEYS, RunningSum, pairs};
use crate::tally::LastPerKey;

/// Runs of each kind, in turn.
const ROUNDS: usize = 7;

/// W2 whose records are left out if they end in an error, and W2 without, in turn. No record does. The checksum is that
/// of W2.
#[expect(clippy::needless_pass_by_value, reason = "all workloads take it like that")]
pub(crate) fn supervised(setup: Setup) -> watershed::Result<Measured> {
    let mut rates = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    let mut last = None;
    for _ in 0..ROUNDS {
        let plain = run(&setup, None)?;
        let kept = run(&setup, Some(Supervision::quarantine()))?;
        ratios.push(plain.0 / kept.0);
        rates[0].push(setup.records as f64 / plain.0);
        rates[1].push(setup.records as f64 / kept.0);
        last = Some(kept);
    }
    let Some((_, checksum, outcome)) = last else { unreachable!("there are rounds") };
    let mut measured = Measured::new(setup.records, checksum, &outcome);
    let [plain, kept] = rates.map(median);
    let figures =
        [("plain_records_per_s", plain), ("kept_records_per_s", kept), ("kept_to_plain", median(ratios))];
    measured.figures.extend(figures.map(|(name, figure)| (name.to_string(), figure)));
    Ok(measured)
}

/// Seconds from the first record at the sink to the end, checksum, and outcome.
fn run(setup: &Setup, supervision: Option<Supervision>) -> watershed::Result<(f64, u64, Outcome)> {
    let topology = Topology::new("supervised");
    let mut sums = topology.source("pairs", pairs(setup)).key_by(|(key, _)| *key).actor("sum", RunningSum);
    if let Some(supervision) = supervision {
        sums = sums.supervise(supervision);
    }
    let (last, stopwatch) = (LastPerKey::new(KEYS), Stopwatch::start());
    let first = Arc::new(AtomicU64::new(u64::MAX));
    let (sink, begin) = (last.clone(), Arc::clone(&first));
    sums.for_each_instance(move |_| {
        begin.fetch_min(stopwatch.nanos(), Ordering::Relaxed);
        let sink = sink.clone();
        move |(key, sum)| sink.set(key, sum)
    });
    let outcome = topology.run(setup.config.clone().resume(Resume::Nothing))?;
    let nanos = stopwatch.nanos() - first.load(Ordering::Relaxed);
    Ok((nanos as f64 / 1e9, last.sum(), outcome))
}
