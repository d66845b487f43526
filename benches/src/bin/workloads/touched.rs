//! TOUCHED: the size of checkpoints of a large state of which little changes between two of them.

use watershed::prelude::*;
use watershed_bench::generate::{mix, value};

use crate::rows::{Measured, Setup};
use crate::sums::running_sums;

/// Keys that have a state.
const KEYS: u64 = 10_000_000;

/// Keys that change once all are there: one in a hundred, all of them again and again.
const TOUCHED: u64 = KEYS / 100;

/// All keys once, then a hundredth of them for as long as there are records. The figures are of the last checkpoint:
/// the bytes of all that it consists of, and of what was written for it.
pub(crate) fn touched(setup: Setup) -> watershed::Result<Measured> {
    let pairs = Generator::bounded(setup.records.max(KEYS), |i| {
        if i < KEYS { (i, value(i)) } else { (mix(i) % TOUCHED * 100, value(i)) }
    });
    let (topology, sums) = running_sums(pairs);
    sums.for_each(|_| {});
    let outcome = topology.run(setup.config)?;
    let mut measured = Measured::new(setup.records, 0, &outcome);
    if let Some(newest) = &outcome.tree.newest_checkpoint {
        measured.figures.insert("state_mb".to_string(), newest.bytes as f64 / 1e6);
        measured.figures.insert("new_mb".to_string(), newest.new_bytes as f64 / 1e6);
    }
    Ok(measured)
}
