//! OUTGROWN: a state several times as large as its memory, at a rate that stays what it is.

use std::sync::{Arc, Mutex, PoisonError};

use watershed::prelude::*;
use watershed_bench::generate::{key, value};
use watershed_bench::stopwatch::Stopwatch;

use crate::rows::{Figures, Measured, Setup};
use crate::sums::running_sums;

/// Keys that have a state.
const KEYS: u64 = 20_000_000;
/// The parts of the work that have a rate of their own.
const PARTS: u64 = 8;

/// All keys once, so that each has a state, then all of them at random, in eight parts. The figures are the rate of the
/// beginning and of each part; with more than one instance those of the last one to begin.
pub(crate) fn outgrown(setup: Setup) -> watershed::Result<Measured> {
    let records = setup.records.max(KEYS);
    let pairs =
        Generator::bounded(records, |i| if i < KEYS { (i, value(i)) } else { (key::<KEYS>(i), value(i)) });
    let (topology, sums) = running_sums(pairs.splits(setup.parallelism));
    let rates = Arc::new(Mutex::new(Figures::new()));
    let instances = setup.parallelism as u64;
    let (load, part) = (KEYS / instances, (records - KEYS) / instances / PARTS);
    let noted = Arc::clone(&rates);
    sums.for_each_instance(move |_| {
        let (noted, mut seen, mut stopwatch) = (Arc::clone(&noted), 0, Stopwatch::start());
        let mut note = move |name: String, records: u64| {
            let rate = records as f64 / stopwatch.seconds();
            noted.lock().unwrap_or_else(PoisonError::into_inner).insert(name, rate);
            stopwatch = Stopwatch::start();
        };
        move |_| {
            seen += 1;
            if seen == load {
                note("load_records_per_s".to_string(), load);
            } else if seen > load && part > 0 && (seen - load).is_multiple_of(part) {
                note(format!("part_{}_records_per_s", (seen - load) / part), part);
            }
        }
    });
    let outcome = topology.run(setup.config)?;
    let mut measured = Measured::new(records, 0, &outcome);
    measured.figures.append(&mut rates.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(measured)
}
