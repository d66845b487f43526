//! Crashes at every step, and output that is exactly that of a run without any.

use watershed::{End, Outcome, Result, SimulatedDisk, Simulation, Topology};

use crate::fixture::{
    Shown, compare, expected_payments, expected_payments_of, finish, payments, payments_of, seeded,
    shown_payments, simulated,
};

/// How many steps are tried, one after the other.
const STEPS: u64 = 500;

/// One life of the process: how it is run, and how it must not end.
struct Life<'a> {
    topology: &'a Topology,
    disk: &'a SimulatedDisk,
    expected: &'a Shown,
}

impl Life<'_> {
    fn run(&self, simulation: Simulation, parallelism: usize) -> Result<Outcome> {
        self.topology.run(simulated(simulation.on_disk(self.disk)).parallelism(parallelism))
    }

    /// Who says that everything is done has to have done it.
    fn finished(&self) {
        compare(&shown_payments(self.disk), self.expected, "when the job said that it had finished");
    }

    /// Runs until the process dies at this step, or to the end if that comes first.
    fn die(&self, seed: u64, step: u64, parallelism: usize) {
        self.panic_and_die(seeded(seed).die_at(step), parallelism);
    }

    fn panic_and_die(&self, simulation: Simulation, parallelism: usize) {
        if self.run(simulation, parallelism).unwrap().end == End::Finished {
            self.finished();
        }
    }
}

/// Runs `lives` on a fresh disk for each of the first steps, then to the end, and compares what is visible.
fn at_every_step(lives: impl Fn(&Life<'_>, u64)) {
    let topology = payments();
    let expected = expected_payments();
    for step in 1..=STEPS {
        let disk = SimulatedDisk::new(step);
        lives(&Life { topology: &topology, disk: &disk, expected: &expected }, step);
        finish(&topology, step, &disk);
        compare(&shown_payments(&disk), &expected, &format!("after a crash at step {step}"));
    }
}

#[test]
fn a_panic_at_each_of_the_first_steps_changes_nothing() {
    let topology = payments();
    let expected = expected_payments();
    let mut restarts = 0;
    for step in 1..=STEPS {
        let disk = SimulatedDisk::new(step);
        let simulation = seeded(7).on_disk(&disk).panic_at(step);
        let outcome = topology.run(simulated(simulation)).unwrap();
        assert_eq!(outcome.end, End::Finished);
        restarts += outcome.restarts;
        compare(&shown_payments(&disk), &expected, &format!("after a crash at step {step}"));
    }
    assert!(restarts > 450, "only {restarts} panics hit something");
}

#[test]
fn three_panics_in_a_row_change_nothing() {
    at_every_step(|life, step| {
        let simulation = seeded(step).panic_at(step).panic_at(step + 40).panic_at(step + 95);
        assert_eq!(life.run(simulation, 2).unwrap().end, End::Finished);
        life.finished();
    });
}

#[test]
fn a_death_at_each_of_the_first_steps_changes_nothing() {
    at_every_step(|life, step| {
        life.die(7, step, 2);
    });
}

#[test]
fn two_deaths_change_nothing() {
    at_every_step(|life, step| {
        life.die(step, step, 2);
        life.die(step + 1000, 1 + step * 7919 % 311, 2);
    });
}

#[test]
fn a_death_and_a_panic_in_the_next_life_change_nothing() {
    at_every_step(|life, step| {
        life.die(step, step, 2);
        let simulation = seeded(step + 1000).panic_at(1 + step * 7919 % 311);
        life.panic_and_die(simulation, 2);
    });
}

#[test]
fn a_panic_and_a_death_while_it_is_healed_change_nothing() {
    at_every_step(|life, step| {
        let simulation = seeded(step).panic_at(step).die_at(step + 1 + step % 60);
        life.panic_and_die(simulation, 2);
    });
}

#[test]
fn deaths_with_another_parallelism_in_each_life_change_nothing() {
    at_every_step(|life, step| {
        life.die(step, step, 1 + step as usize % 3);
        life.die(step + 1000, 1 + step * 7919 % 311, 1 + (step as usize + 1) % 3);
        life.die(step + 2000, 1 + step * 104_729 % 293, 5);
    });
}

#[test]
fn a_death_in_the_middle_of_each_file_operation_changes_nothing() {
    at_every_step(|life, operation| {
        life.disk.die_at_operation(operation);
        // The job notices in whatever way it does, or has ended before.
        let end = life.run(seeded(operation).at_most_steps(2_000), 2).map(|outcome| outcome.end);
        life.disk.crash();
        if matches!(end, Ok(End::Finished)) {
            life.finished();
        }
    });
}

#[test]
fn one_of_two_sources_ends_long_before_the_other_and_a_death_comes_after_that() {
    let topology = payments_of(3, 150);
    let expected = expected_payments_of(3, 150);
    for step in (150..550).step_by(2) {
        let disk = SimulatedDisk::new(step);
        topology.run(simulated(seeded(step).on_disk(&disk).die_at(step))).unwrap();
        topology
            .run(simulated(seeded(step + 1).on_disk(&disk).panic_at(100).die_at(200)).parallelism(3))
            .unwrap();
        finish(&topology, step, &disk);
        compare(&shown_payments(&disk), &expected, &format!("killed at step {step}"));
    }
}

#[test]
fn a_stop_at_each_of_the_first_steps_changes_nothing() {
    at_every_step(|life, step| {
        let outcome = life.run(seeded(step).stop_at(step), 2).unwrap();
        // One that is asked late may have come to its end first.
        assert!(matches!(outcome.end, End::Stopped | End::Finished), "{:?} at step {step}", outcome.end);
    });
}

#[test]
fn a_stop_while_a_panic_is_healed_changes_nothing() {
    at_every_step(|life, step| {
        let outcome = life.run(seeded(step).panic_at(step).stop_at(step + step % 40), 2).unwrap();
        assert!(matches!(outcome.end, End::Stopped | End::Finished), "{:?} at step {step}", outcome.end);
    });
}
