//! Parts of a topology without a channel between them fail, and heal, apart.

use std::sync::atomic::{AtomicU64, Ordering};

use watershed::prelude::*;
use watershed::{Collector, End, Outcome, SimulatedDisk, Simulation};

use crate::fixture::{Shown, compare, json, lines_in, now, pause, seeded, simulated};

const RECORDS: u64 = 300;
const INSTANCES: u64 = 2;

/// Numbers the records of an instance, all of which are of one split.
struct Number;

impl Process for Number {
    type Key = ();
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, record: u64, nth: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *nth += 1;
        context.emit((record, *nth));
        Ok(())
    }
}

/// Forward channels only: two chains side by side.
fn chains() -> Topology {
    let topology = Topology::new("chains");
    topology
        .source("source", Generator::bounded(RECORDS, |n| n).splits(INSTANCES as usize))
        .actor("number", Number)
        .sink_exactly_once("files", Files::jsonl("/out"));
    topology
}

fn expected() -> Shown {
    let mut lines: Vec<String> = (0..RECORDS).map(|n| json(&(n, n / INSTANCES + 1))).collect();
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

/// Panics after every few records until it has done so a hundred times.
struct Shaky(AtomicU64);

const CRASHES: u64 = 100;

impl Process for Shaky {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, record: u64, nth: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        let seen = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if seen.is_multiple_of(40) && seen <= 40 * CRASHES {
            // Without the message that a hundred panics would print.
            std::panic::resume_unwind(Box::new("shaken"));
        }
        *nth += 1;
        context.emit((record, *nth));
        Ok(())
    }
}

#[test]
fn a_region_that_crashes_a_hundred_times_on_real_threads_holds_up_no_checkpoint_of_another() {
    const SHAKEN: u64 = 6_000;
    let (shaken, steady) = (Collector::new(), Collector::new());
    let topology = Topology::new("shaken");
    let numbers = topology.source("numbers", Generator::bounded(SHAKEN, |n| n)).rate(4_000.0);
    let shaky = numbers.key_by(|n| n % 7).actor("shaky", Shaky(AtomicU64::new(0)));
    shaky.sink_exactly_once("shaken", shaken.sink());
    let others = topology.source("others", Generator::unbounded(|n| n)).rate(5_000.0);
    others.sink_exactly_once("steady", steady.sink());
    let restart = Restart::failure_rate(CRASHES as usize, minutes(60), millis(1));
    let config = Config::local().parallelism(1).slots(6).ignore_signals().restart(restart);
    let job = topology.start(config.checkpoint_interval(millis(5))).unwrap();
    let begin = now();
    // Checkpoints that were complete when the other region had crashed so often.
    let mut seen: Vec<(u32, u64)> = Vec::new();
    loop {
        let tree = job.tree().unwrap();
        seen.extend(tree.checkpoint.map(|checkpoint| (tree.regions[0].restarts, checkpoint)));
        if tree.regions[0].restarts == CRASHES as u32 && shaken.snapshot().len() == SHAKEN as usize {
            break;
        }
        assert!(begin.elapsed() < std::time::Duration::from_mins(2), "it takes too long: {tree}");
        pause(millis(2));
    }
    job.stop().unwrap();
    let outcome = job.wait().unwrap();
    let restarts: Vec<u32> = outcome.tree.regions.iter().map(|region| region.restarts).collect();
    assert_eq!(restarts, [CRASHES as u32, 0]);
    seen.retain(|(restarts, _)| *restarts < CRASHES as u32);
    seen.dedup_by_key(|(_, checkpoint)| *checkpoint);
    assert!(seen.len() > 10, "only {} checkpoints while the other region crashed", seen.len());
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
}
