//! Parts of a topology without a channel between them fail, and heal, apart.

use watershed::prelude::*;
use watershed::{End, Outcome, SimulatedDisk, Simulation};

use crate::fixture::{Shown, compare, json, lines_in, seeded, simulated};

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
