//! Actors that never come back from what they are doing: the watchdog finds them, and their threads are left behind.

use watershed::prelude::*;
use watershed::{End, ErrorKind, SimulatedDisk, Simulation};

use crate::fixture::{
    compare, expected_payments, finish, lines_in, payments, seeded, shown_payments, simulated,
};
use crate::regions::expected_chains;
use crate::topologies::chains::chains_of;

/// Virtual time after which a step counts as hanging; a step takes none.
fn watched(simulation: Simulation) -> Config {
    simulated(simulation).hang_timeout(millis(3))
}

#[test]
fn a_hang_at_each_of_the_first_steps_changes_nothing() {
    let (topology, expected) = (payments(), expected_payments());
    let mut restarts = 0;
    for step in 1..=500 {
        let disk = SimulatedDisk::new(step);
        let outcome = topology.run(watched(seeded(step).on_disk(&disk).hang_at(step))).unwrap();
        assert_eq!(outcome.end, End::Finished);
        restarts += outcome.restarts;
        compare(&shown_payments(&disk), &expected, &format!("after a hang at step {step}"));
    }
    assert!(restarts > 400, "only {restarts} hangs hit something");
}

#[test]
fn two_hangs_and_a_panic_change_nothing_whichever_comes_first() {
    let (topology, expected) = (payments(), expected_payments());
    for step in 1..=300 {
        let disk = SimulatedDisk::new(step);
        let simulation = seeded(step).on_disk(&disk).hang_at(step).hang_at(step + 1 + step % 90);
        let simulation = simulation.panic_at(step + 1 + step * 7919 % 50);
        let outcome = topology.run(watched(simulation)).unwrap();
        assert_eq!(outcome.end, End::Finished);
        compare(&shown_payments(&disk), &expected, &format!("after hangs from step {step} on"));
    }
}

#[test]
fn a_hang_and_the_death_of_the_process_while_it_is_healed_change_nothing() {
    let (topology, expected) = (payments(), expected_payments());
    for step in 1..=300 {
        let disk = SimulatedDisk::new(step);
        topology
            .run(watched(seeded(step).on_disk(&disk).hang_at(step).die_at(step + 1 + step % 80)))
            .unwrap();
        finish(&topology, step, &disk);
        compare(&shown_payments(&disk), &expected, &format!("after a hang at step {step}"));
    }
}

#[test]
fn an_actor_that_does_not_stop_after_a_failure_of_its_region_is_left_behind() {
    let (topology, expected) = (payments(), expected_payments());
    let mut left_behind = 0;
    for step in 1..=300 {
        let disk = SimulatedDisk::new(step);
        // Nobody looks for hangs: only after the panic is it waited for, and not for ever.
        let simulation = seeded(step).on_disk(&disk).hang_at(step).panic_at(step + 1);
        let config = simulated(simulation).hang_timeout(millis(0)).checkpoint_timeout(minutes(100));
        match topology.run(config) {
            Ok(outcome) => {
                assert_eq!(outcome.end, End::Finished);
                compare(&shown_payments(&disk), &expected, &format!("after a hang at step {step}"));
                left_behind += outcome.restarts;
            }
            // The panic hit nobody, or the one that hangs already.
            Err(error) => assert!(error.to_string().contains("the simulated job"), "{error}"),
        }
    }
    assert!(left_behind > 150, "only {left_behind} runs went on without the one that hangs");
}

#[test]
fn a_region_without_an_actor_on_the_stuck_thread_does_not_notice() {
    let (topology, expected) = (chains_of(200, "/out"), expected_chains(200));
    let mut hits = 0;
    for step in 1..=300 {
        let disk = SimulatedDisk::new(step);
        let config = watched(seeded(step).on_disk(&disk).hang_at(step)).parallelism(2).slots(2);
        let outcome = topology.run(config).unwrap();
        let mut restarts: Vec<u32> = outcome.tree.regions.iter().map(|region| region.restarts).collect();
        restarts.sort_unstable();
        assert!(matches!(restarts[..], [0, 0 | 1]), "after a hang at step {step}: restarts {restarts:?}");
        hits += restarts[1];
        compare(&[("/out", lines_in(&disk, "/out"))].into(), &expected, &format!("after a hang at {step}"));
    }
    assert!(hits > 200, "only {hits} hangs hit something");
}

#[test]
fn all_regions_with_an_actor_on_the_stuck_thread_are_rolled_back_and_only_one_pays_for_it() {
    let (topology, expected) = (chains_of(200, "/out"), expected_chains(200));
    let mut together = 0;
    for step in 1..=300 {
        let disk = SimulatedDisk::new(step);
        let once = Restart::from_snapshot().at_most(1, minutes(60));
        let simulation = seeded(step).on_disk(&disk).hang_at(step);
        let config = watched(simulation).parallelism(2).slots(1).restart(once);
        let outcome = topology.run(config).unwrap();
        let restarts: Vec<u32> = outcome.tree.regions.iter().map(|region| region.restarts).collect();
        together += u32::from(restarts == [1, 1]);
        compare(&[("/out", lines_in(&disk, "/out"))].into(), &expected, &format!("after a hang at {step}"));
    }
    assert!(together > 200, "only {together} hangs took both regions with them");
}

#[test]
fn a_hang_that_no_budget_is_left_for_ends_the_job_and_says_where_it_was() {
    let topology = payments();
    let mut said = 0;
    for step in 30..60 {
        let config = watched(seeded(step).hang_at(step)).restart(Restart::never());
        let Err(error) = topology.run(config) else { continue };
        let text = error.to_string();
        assert_eq!(error.kind, ErrorKind::User, "{text}");
        assert!(text.contains("has taken") && text.contains("its restart budget is spent"), "{text}");
        let operators = ["left", "right", "ledger", "entries", "large"];
        assert!(operators.iter().any(|name| text.contains(&format!("`{name}["))), "{text}");
        said += 1;
    }
    assert!(said > 20, "only {said} hangs hit something");
}

#[test]
fn the_same_seed_gives_the_same_run_with_a_hang_in_it() {
    let run = || {
        let disk = SimulatedDisk::new(5);
        let outcome = payments().run(watched(seeded(5).on_disk(&disk).hang_at(90).hang_at(200))).unwrap();
        (outcome.steps, outcome.restarts, outcome.tree, shown_payments(&disk))
    };
    assert_eq!(run(), run());
}
