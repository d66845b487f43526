//! Parts of a topology without a channel between them fail, and heal, apart.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use watershed::prelude::*;
use watershed::{Collector, End, Outcome, SimulatedDisk, Simulation, Tree};

use crate::fixture::{Shown, compare, json, lines_in, now, pause, seeded, simulated};
use crate::topologies::chains::chains_of;

const RECORDS: u64 = 300;
const INSTANCES: u64 = 2;

/// Forward channels only: two chains side by side.
fn chains() -> Topology {
    chains_of(RECORDS, "/out")
}

fn expected() -> Shown {
    expected_chains(RECORDS)
}

/// What [`chains_of`] so many records shows in the end.
pub(crate) fn expected_chains(records: u64) -> Shown {
    let mut lines: Vec<String> = (0..records).map(|n| json(&(n, n / INSTANCES + 1))).collect();
    lines.sort();
    [("/out", lines)].into()
}

fn shown(disk: &SimulatedDisk) -> Shown {
    [("/out", lines_in(disk, "/out"))].into()
}

/// A region that failed stays down for a good part of the run.
fn run(topology: &Topology, simulation: Simulation) -> Outcome {
    let restart = Restart::from_snapshot().backoff(millis(8), millis(8));
    topology.run(simulated(simulation).parallelism(INSTANCES as usize).restart(restart)).unwrap()
}

#[test]
fn a_crash_of_one_region_leaves_the_other_alone() {
    let (topology, expected) = (chains(), expected());
    let mut checkpoints_meanwhile = 0;
    for step in 1..=500 {
        let disk = SimulatedDisk::new(step);
        let calm = run(&topology, seeded(5));
        let outcome = run(&topology, seeded(5).on_disk(&disk).panic_at(step));
        assert_eq!(outcome.end, End::Finished);
        assert_eq!(outcome.tree.regions.len(), 2);
        let restarts: Vec<u32> = outcome.tree.regions.iter().map(|region| region.restarts).collect();
        assert!(restarts.iter().sum::<u32>() <= 1, "crash at step {step}: restarts {restarts:?}");
        compare(&shown(&disk), &expected, &format!("after a crash at step {step}"));
        checkpoints_meanwhile += u64::from(outcome.checkpoints > calm.checkpoints);
    }
    assert!(checkpoints_meanwhile > 100, "checkpoints stop while a region is down");
}

#[test]
fn a_death_while_a_region_is_down_changes_nothing() {
    let (topology, expected) = (chains(), expected());
    for step in 1..=500 {
        let disk = SimulatedDisk::new(step);
        run(&topology, seeded(step).on_disk(&disk).panic_at(step).die_at(step + 20 + step % 150));
        run(&topology, seeded(step + 1000).on_disk(&disk).panic_at(1 + step * 7919 % 311).die_at(350));
        run(&topology, seeded(step).on_disk(&disk));
        compare(&shown(&disk), &expected, &format!("after a crash at step {step}"));
    }
}

#[test]
fn two_regions_that_are_down_at_once_both_come_back() {
    let (topology, expected) = (chains(), expected());
    for step in 1..=300 {
        let disk = SimulatedDisk::new(step);
        let simulation =
            (0..8).fold(seeded(step).on_disk(&disk), |simulation, n| simulation.panic_at(step + 9 * n));
        assert_eq!(run(&topology, simulation).end, End::Finished);
        compare(&shown(&disk), &expected, &format!("after crashes from step {step} on"));
    }
}

#[test]
fn a_stop_while_a_region_is_down_waits_for_it_and_loses_nothing() {
    let (topology, expected) = (chains(), expected());
    for step in 1..=300 {
        let disk = SimulatedDisk::new(step);
        let outcome =
            run(&topology, seeded(step).on_disk(&disk).panic_at(step).stop_at(step + 1 + step % 60));
        assert!(matches!(outcome.end, End::Stopped | End::Finished), "{:?}", outcome.end);
        assert_eq!(run(&topology, seeded(step).on_disk(&disk)).tree.regions.len(), 2);
        compare(&shown(&disk), &expected, &format!("after a crash and a stop from step {step} on"));
    }
}

/// Panics after every few records until it has done so often enough.
struct Shaky {
    seen: AtomicU64,
    crashes: u64,
}

impl Process for Shaky {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, record: u64, nth: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if seen.is_multiple_of(40) && seen <= 40 * self.crashes {
            // Without the message that a hundred panics would print.
            std::panic::resume_unwind(Box::new("shaken"));
        }
        *nth += 1;
        context.emit((record, *nth));
        Ok(())
    }
}

const SHAKEN: u64 = 6_000;

/// Two regions on real threads, one of which crashes so often and is down for longer than it is up. Returns how many
/// checkpoints a second were complete meanwhile.
fn checkpoints_a_second(crashes: u64) -> f64 {
    let (shaken, steady) = (Collector::new(), Collector::new());
    let topology = Topology::new("shaken");
    let numbers = topology.source("numbers", Generator::bounded(SHAKEN, |n| n)).rate(4_000.0);
    let shaky = Shaky { seen: AtomicU64::new(0), crashes };
    numbers.key_by(|n| n % 7).actor("shaky", shaky).sink_exactly_once("shaken", shaken.sink());
    let others = topology.source("others", Generator::unbounded(|n| n)).rate(5_000.0);
    others.sink_exactly_once("steady", steady.sink());
    let restart = Restart::failure_rate(1 + crashes as usize, minutes(60), millis(30));
    let config = Config::local().parallelism(1).slots(6).ignore_signals().restart(restart);
    let job = topology.start(config.checkpoint_interval(millis(5))).unwrap();
    let begin = now();
    let mut seen = BTreeSet::new();
    let is_over = |tree: &Tree| {
        let done = shaken.snapshot().len() == SHAKEN as usize;
        // Once it is healthy nothing is to be seen any more.
        if crashes == 0 { done } else { tree.regions[0].restarts == crashes as u32 }
    };
    let elapsed = loop {
        let tree = job.tree().unwrap();
        seen.extend(tree.checkpoint);
        if is_over(&tree) {
            break begin.elapsed();
        }
        assert!(begin.elapsed() < Duration::from_mins(2), "it takes too long: {tree}");
        pause(millis(2));
    };
    while shaken.snapshot().len() < SHAKEN as usize {
        assert!(begin.elapsed() < Duration::from_mins(2), "it takes too long");
        pause(millis(2));
    }
    job.stop().unwrap();
    let outcome = job.wait().unwrap();
    let restarts: Vec<u32> = outcome.tree.regions.iter().map(|region| region.restarts).collect();
    assert_eq!(restarts, [crashes as u32, 0]);
    let mut nth = [0; 7];
    let mut expected: Vec<(u64, u64)> = Vec::new();
    for n in 0..SHAKEN {
        nth[(n % 7) as usize] += 1;
        expected.push((n, nth[(n % 7) as usize]));
    }
    let mut shown = shaken.take();
    shown.sort_unstable();
    assert!(shown == expected, "the region that crashed has lost or repeated something");
    let steady = steady.take();
    assert!(steady.iter().copied().eq(0..steady.len() as u64), "the other has lost or repeated something");
    seen.len() as f64 / elapsed.as_secs_f64()
}

#[test]
fn a_region_that_crashes_a_hundred_times_on_real_threads_holds_up_no_checkpoint_of_another() {
    let (calm, shaken) = (checkpoints_a_second(0), checkpoints_a_second(100));
    // If they waited for it there would be one or two each time that it is up.
    assert!(shaken > calm / 2.0, "{shaken:.0} checkpoints a second instead of {calm:.0}");
}
