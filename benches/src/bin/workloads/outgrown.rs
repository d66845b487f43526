//! OUTGROWN: a state several times as large as its memory, at a rate that stays what it is.

use std::sync::{Arc, Mutex, PoisonError};

use watershed_bench::stopwatch::Stopwatch;

use crate::rows::{Figures, Measured, Setup};
use crate::sums::{pairs_of, running_sums};

/// Keys that have a state in the end.
const KEYS: u64 = 20_000_000;
/// The parts of the work that have a rate of their own.
const PARTS: u64 = 8;

/// W3 with so many keys. The figures are the rates of eight parts of the work, one after the other; with more than one instance
/// those of the last one to begin.
pub(crate) fn outgrown(setup: Setup) -> watershed::Result<Measured> {
    let (topology, sums) = running_sums(pairs_of::<KEYS>(&setup));
    let rates = Arc::new(Mutex::new(Figures::new()));
    let (part, noted) = (setup.records / setup.parallelism as u64 / PARTS, Arc::clone(&rates));
    sums.for_each_instance(move |_| {
        let (noted, mut seen, mut stopwatch) = (Arc::clone(&noted), 0, Stopwatch::start());
        move |_| {
            seen += 1;
            if part > 0 && seen % part == 0 {
                let rate = part as f64 / stopwatch.seconds();
                let name = format!("part_{}_records_per_s", seen / part);
                noted.lock().unwrap_or_else(PoisonError::into_inner).insert(name, rate);
                stopwatch = Stopwatch::start();
            }
        }
    });
    let outcome = topology.run(setup.config)?;
    let mut measured = Measured::new(setup.records, 0, &outcome);
    measured.figures.append(&mut rates.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(measured)
}
