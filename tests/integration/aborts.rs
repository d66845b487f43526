//! Checkpoints that fail: the job goes on, and nothing is lost.

use std::time::Duration;

use watershed::SimulatedDisk;
use watershed::prelude::*;

use crate::fixture::{compare, expected_payments, payments, seeded, seeds, shown_payments, simulated};

/// From "hardly any checkpoint is in time" to "hardly any is not".
fn timeout(seed: u64) -> Duration {
    Duration::from_micros(2_000 + 100 * (seed % 60))
}

#[test]
fn checkpoints_that_time_out_in_whatever_phase_lose_nothing() {
    let (topology, expected) = (payments(), expected_payments());
    let (mut steps, mut given_up) = (0, 0);
    for seed in seeds(500) {
        let disk = SimulatedDisk::new(seed);
        let timeout = timeout(seed);
        let config = simulated(seeded(seed).on_disk(&disk)).checkpoint_timeout(timeout);
        let outcome = topology.run(config).unwrap();
        assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0), "seed {seed}");
        compare(&shown_payments(&disk), &expected, &format!("with seed {seed}"));
        steps += outcome.steps;
        given_up += outcome.checkpoint.unwrap() - outcome.checkpoints;
    }
    assert!(given_up > 100, "only {given_up} checkpoints were given up in {steps} steps");
}

#[test]
fn checkpoints_that_time_out_before_a_crash_lose_nothing() {
    let (topology, expected) = (payments(), expected_payments());
    for seed in seeds(500) {
        let disk = SimulatedDisk::new(seed);
        let timeout = timeout(seed);
        for (life, step) in [(0, seed + 1), (1, 50 + seed / 2)] {
            let simulation = seeded(seed + 1000 * life).on_disk(&disk).panic_at(step).die_at(step + 100);
            topology.run(simulated(simulation).checkpoint_timeout(timeout)).unwrap();
        }
        topology.run(simulated(seeded(seed).on_disk(&disk)).checkpoint_timeout(timeout)).unwrap();
        compare(&shown_payments(&disk), &expected, &format!("with seed {seed}"));
    }
}

#[test]
fn a_disk_that_is_full_for_long_holds_the_job_up_and_does_not_end_it() {
    let (topology, expected) = (payments(), expected_payments());
    let mut restarts = 0;
    for operation in [20, 60, 100] {
        let disk = SimulatedDisk::new(operation);
        let once = Restart::from_snapshot().at_most(1, minutes(60));
        let job = topology.start(simulated(seeded(operation).on_disk(&disk)).restart(once)).unwrap();
        disk.full_during(operation..operation + 2_000);
        let outcome = job.wait().unwrap();
        assert_eq!(outcome.end, End::Finished);
        compare(&shown_payments(&disk), &expected, &format!("after no room from operation {operation} on"));
        restarts = restarts.max(outcome.restarts);
    }
    assert!(restarts > 1, "the budget was never exceeded");
}

#[test]
fn a_disk_that_is_full_for_a_while_loses_nothing() {
    let (topology, expected) = (payments(), expected_payments());
    for operation in 1..300 {
        let disk = SimulatedDisk::new(operation);
        let config = simulated(seeded(operation).on_disk(&disk));
        let job = topology.start(config).unwrap();
        disk.full_during(operation..operation + 1 + operation % 7);
        let outcome = job.wait().unwrap();
        assert_eq!(outcome.end, End::Finished);
        compare(&shown_payments(&disk), &expected, &format!("after no room at operation {operation}"));
    }
}
