//! One source for several uses: a broadcast, a partition, a sink that shows its records at least once.

use watershed::prelude::*;
use watershed::{Collector, SinkFn};

/// Passes everything on, as an actor of its own.
pub(crate) struct Pass;

impl Process for Pass {
    type Key = ();
    type In = u64;
    type Out = u64;
    type State = ();

    fn on_record(&self, record: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        context.emit(record);
        Ok(())
    }
}

pub(super) fn topology() -> Topology {
    let topology = Topology::new("fan-out");
    let copies = Collector::new();
    let numbers = topology.source("numbers", Generator::bounded(60, |n| n).splits(2)).parallelism(2);
    let wide = numbers.flat_map(|n| (0..3).map(move |copy| 100 * copy + n)).boxed();
    wide.clone()
        .broadcast()
        .actor("everywhere", Pass)
        .parallelism(2)
        .sink_exactly_once("copies", copies.sink())
        .parallelism(1);
    wide.key_by(|n| n % 13)
        .partition("by-thirteen")
        .map(|n| n * 2)
        .sink_exactly_once("lines", Files::lines("/out/lines"));
    // One instance for all, so that it seldom runs out of input.
    wide.rebalance().sink("seen", SinkFn::new(|_| |_: u64| Ok(()))).parallelism(1);
    topology
}
