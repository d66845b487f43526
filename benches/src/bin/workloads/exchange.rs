//! W1: a keyed exchange without state; and S1, how long it takes to get one record through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed::prelude::*;
use watershed_bench::stopwatch::epoch_us;

use crate::rows::{Measured, Setup};
use crate::sums::pairs;
use crate::tally::Total;

/// Source → by key → map → sink.
pub(crate) fn w1(setup: Setup) -> watershed::Result<Measured> {
    let (topology, total) = (Topology::new("w1"), Total::default());
    let sink = total.clone();
    exchange(&topology, &setup).map(|pair| pair).for_each_instance(move |_| {
        let mut share = sink.share();
        move |(key, value)| share.add(key ^ value)
    });
    let outcome = topology.run(setup.config)?;
    Ok(Measured::new(setup.records, total.get(), &outcome))
}

fn exchange(topology: &Topology, setup: &Setup) -> Stream<(u64, u64)> {
    topology.source("pairs", pairs(setup)).key_by(|(key, _)| *key).partition("by-key")
}

/// From the start of the process to the first record at the sink of W1. Whoever starts the process may say when, in
/// `WATERSHED_STARTED_US` (microseconds since the Unix epoch: `$(date +%s%6N)`); else the time begins with `main`.
pub(crate) fn s1(setup: Setup) -> watershed::Result<Measured> {
    let (topology, total) = (Topology::new("s1"), Total::default());
    let (sink, first_us) = (total.clone(), Arc::new(AtomicU64::new(0)));
    let (seen, before_us) = (Arc::clone(&first_us), epoch_us() - setup.since_start.nanos() / 1000);
    exchange(&topology, &setup).for_each_instance(move |_| {
        let (mut share, seen) = (sink.share(), Arc::clone(&seen));
        move |(key, value)| {
            // Only the first of all counts.
            let _ = seen.compare_exchange(0, epoch_us(), Ordering::Relaxed, Ordering::Relaxed);
            share.add(key ^ value);
        }
    });
    let outcome = topology.run(setup.config)?;
    let said = std::env::var("WATERSHED_STARTED_US").ok().and_then(|text| text.parse().ok());
    let start_us = first_us.load(Ordering::Relaxed).saturating_sub(said.unwrap_or(before_us));
    let mut measured = Measured::new(setup.records, total.get(), &outcome);
    measured.figures.insert("start_ms".to_string(), start_us as f64 / 1e3);
    Ok(measured)
}
