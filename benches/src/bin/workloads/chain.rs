//! W0: one chain, without an exchange.

use watershed::prelude::*;
use watershed_bench::generate::value;

use crate::rows::{Measured, Setup};
use crate::tally::Total;

/// Source → map → filter → sink.
pub(crate) fn w0(setup: Setup) -> watershed::Result<Measured> {
    let (topology, total) = (Topology::new("w0"), Total::default());
    let sink = total.clone();
    topology
        .source("numbers", Generator::bounded(setup.records, value).splits(setup.parallelism))
        .map(|value| value + 1)
        .filter(|value| value % 2 == 1)
        .for_each_instance(move |_| {
            let mut share = sink.share();
            move |value| share.add(value)
        });
    let outcome = topology.run(setup.config)?;
    Ok(Measured::new(setup.records, total.get(), &outcome))
}
