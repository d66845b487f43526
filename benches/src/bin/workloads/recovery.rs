//! R1: how long it takes to recover from a panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed::prelude::*;
use watershed_bench::stopwatch::Stopwatch;

use crate::rows::{Measured, Setup};
use crate::sums::{pairs_of, running_sums};
use crate::tally::LastPerKey;

/// W2, with so many keys, with a panic in the middle: how long until the next record is processed. The checksum is the
/// sum of the last output of each key, which the panic must not change.
pub(crate) fn r1<const KEYS: u64>(setup: Setup) -> watershed::Result<Measured> {
    let (topology, sums) = running_sums(pairs_of::<KEYS>(&setup));
    let (last, recovery) = (LastPerKey::new(KEYS), Arc::new(Recovery::new()));
    let (sink, clock) = (last.clone(), Arc::clone(&recovery));
    let half = setup.records / 2 / setup.parallelism as u64;
    sums.for_each_instance(move |instance| {
        let (sink, clock) = (sink.clone(), Arc::clone(&clock));
        let again = clock.has_panicked();
        // Of the first instance only; and of one that is made after the panic the first record is of interest.
        let mut left = if again { 0 } else { half };
        let mut armed = again || instance.index == 0;
        move |(key, sum)| {
            if armed {
                if left > 0 {
                    left -= 1;
                } else {
                    armed = false;
                    if again { clock.back() } else { clock.panic() }
                }
            }
            sink.set(key, sum);
        }
    });
    let at_once = Restart::from_snapshot().backoff(millis(0), millis(0));
    let outcome = topology.run(setup.config.restart(at_once))?;
    let mut measured = Measured::new(setup.records, last.sum(), &outcome);
    measured.figures.insert("recovery_ms".to_string(), recovery.millis());
    Ok(measured)
}

/// When the panic was, and when the first record came out of an instance that was made after it; 0 for not yet.
struct Recovery {
    stopwatch: Stopwatch,
    panicked_nanos: AtomicU64,
    back_nanos: AtomicU64,
}

impl Recovery {
    fn new() -> Self {
        let (panicked_nanos, back_nanos) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { stopwatch: Stopwatch::start(), panicked_nanos, back_nanos }
    }

    fn has_panicked(&self) -> bool {
        self.panicked_nanos.load(Ordering::Relaxed) > 0
    }

    #[inline(never)]
    fn panic(&self) {
        self.panicked_nanos.store(self.stopwatch.nanos(), Ordering::Relaxed);
        // Quietly, as the message is not what is measured.
        std::panic::resume_unwind(Box::new("a panic in the middle of the benchmark"));
    }

    #[inline(never)]
    fn back(&self) {
        // The first of the new instances counts.
        let now = self.stopwatch.nanos();
        let _ = self.back_nanos.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn millis(&self) -> f64 {
        let (panicked, back) = (&self.panicked_nanos, &self.back_nanos);
        back.load(Ordering::Relaxed).saturating_sub(panicked.load(Ordering::Relaxed)) as f64 / 1e6
    }
}
