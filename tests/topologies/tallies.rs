//! A union of very unequal sources, one of them empty, into an aggregate whose results are gathered in memory.

use watershed::prelude::*;
use watershed::{Aggregate, Collector};

/// Counts.
struct Tally;

impl Aggregate for Tally {
    type In = u64;
    type Accumulator = u64;
    type Out = (u64, u64);

    fn add(&self, count: &mut u64, _n: u64) {
        *count += 1;
    }

    fn result(&self, count: &u64) -> (u64, u64) {
        (*count, *count % 2)
    }
}

pub(super) fn topology() -> Topology {
    let topology = Topology::new("tallies");
    let shown = Collector::new();
    let source = |name, count, splits| topology.source(name, Generator::bounded(count, |n| n).splits(splits));
    let (none, few, many) = (source("none", 0, 1), source("few", 4, 4), source("many", 130, 5));
    none.union(&few)
        .union(&many)
        .key_by(|n| n % 11)
        .aggregate("tally", Tally)
        .sink_exactly_once("shown", shown.sink());
    topology
}
