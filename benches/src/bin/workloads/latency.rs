//! L1: how long a record is on its way at a moderate rate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed_bench::generate::{key, value};
use watershed_bench::percentile::percentile;
use watershed_bench::stopwatch::Stopwatch;

use crate::rows::{Figures, Measured, Setup};

const RECORDS_PER_S: u64 = 100_000;
const KEYS: u64 = 100_000;
/// What comes before is left out.
const WARM_UP_S: u64 = 5;

/// A record that knows when it was made.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Timed {
    number: u64,
    key: u64,
    value: u64,
    made_nanos: u64,
}

/// A keyed exchange and a running sum at a fixed rate. The time a record takes is counted from when it was due, which a
/// source that is late does not hide, and from when it was made.
pub(crate) fn l1(setup: Setup) -> watershed::Result<Measured> {
    let (stopwatch, topology) = (Stopwatch::start(), Topology::new("l1"));
    // When record 0 was made.
    let start_nanos = Arc::new(AtomicU64::new(0));
    let (first, begun, latencies) = (Arc::clone(&start_nanos), start_nanos, Latencies::default());
    let make = move |number| {
        let made_nanos = stopwatch.nanos();
        if number == 0 {
            first.store(made_nanos, Ordering::Relaxed);
        }
        Timed { number, key: key::<KEYS>(number), value: value(number), made_nanos }
    };
    let sink = latencies.clone();
    topology
        .source("records", Generator::bounded(setup.records, make).splits(setup.parallelism))
        .rate(RECORDS_PER_S as f64)
        .key_by(|record| record.key)
        .actor("sum", TimedSum)
        .for_each_instance(move |_| {
            let (mut share, begun) = (sink.share(setup.records), Arc::clone(&begun));
            move |record: Timed| {
                let own = &mut share.own;
                own.sum = own.sum.wrapping_add(record.value);
                if record.number < WARM_UP_S * RECORDS_PER_S {
                    return;
                }
                let now = stopwatch.nanos();
                let due = begun.load(Ordering::Relaxed) + record.number * (1_000_000_000 / RECORDS_PER_S);
                own.since_due.push(now.saturating_sub(due));
                own.since_made.push(now.saturating_sub(record.made_nanos));
            }
        });
    let outcome = topology.run(setup.config)?;
    let (figures, checksum) = latencies.figures();
    Ok(Measured { figures, ..Measured::new(setup.records, checksum, &outcome) })
}

/// The sum of each key so far, in place of the value.
struct TimedSum;

impl Process for TimedSum {
    type Key = u64;
    type In = Timed;
    type Out = Timed;
    type State = u64;

    fn on_record(&self, record: Timed, sum: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *sum = sum.wrapping_add(record.value);
        context.emit(Timed { value: *sum, ..record });
        Ok(())
    }
}

/// How long records took in all instances together, in nanoseconds, and the sum of the outputs.
#[derive(Clone, Default)]
struct Latencies(Arc<Mutex<Measures>>);

#[derive(Default)]
struct Measures {
    since_due: Vec<u64>,
    since_made: Vec<u64>,
    sum: u64,
}

/// What one instance measures; it is added to the rest when the instance ends.
struct Share {
    all: Latencies,
    own: Measures,
}

impl Latencies {
    /// With room for so many records, so that nothing has to grow meanwhile.
    fn share(&self, records: u64) -> Share {
        let room = || Vec::with_capacity(records as usize);
        Share { all: self.clone(), own: Measures { since_due: room(), since_made: room(), sum: 0 } }
    }

    /// Percentiles in microseconds, and the checksum.
    fn figures(&self) -> (Figures, u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut figures = Figures::new();
        let Measures { since_due, since_made, sum } = &mut *all;
        for (name, nanos) in [("due_us", since_due), ("us", since_made)] {
            nanos.sort_unstable();
            for (point, percent) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9), ("pmax", 100.0)] {
                figures.insert(format!("{name}_{point}"), percentile(nanos, percent) as f64 / 1e3);
            }
        }
        (figures, *sum)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.since_due.append(&mut self.own.since_due);
        all.since_made.append(&mut self.own.since_made);
        all.sum = all.sum.wrapping_add(self.own.sum);
    }
}
