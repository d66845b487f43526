//! Two lives of one history: a checkpoint folder was copied, and both go on with it into the same output.

use std::path::Path;

use watershed::prelude::*;
use watershed::{ErrorKind, FaultKind, OutputClosed, Resume, Seed, SimulatedDisk, Simulator};
use watershed_state::bug::{self, Bug};

use crate::fixture::{
    checkpoints, compare, expected_payments, finish, pause, payments, seeded, shown_payments, simulated,
};

/// Copies a folder of the disk with all that is in it.
fn copy(disk: &SimulatedDisk, from: &Path, to: &Path) {
    let fs = disk.fs();
    fs.create_dir_all(to).unwrap();
    for file in fs.list(from).unwrap() {
        let (from, to) = (from.join(&file.name), to.join(&file.name));
        if file.is_dir {
            copy(disk, &from, &to);
        } else {
            let mut copied = fs.create_new(&to).unwrap();
            copied.write_all(&fs.read(&from).unwrap()).unwrap();
            copied.sync().unwrap();
            fs.sync_dir(to.parent().unwrap()).unwrap();
        }
    }
}

fn from_copy(disk: &SimulatedDisk) -> Config {
    simulated(seeded(7).on_disk(disk)).checkpoints("/copy")
}

#[test]
fn whichever_life_of_a_history_is_second_is_refused_and_harms_nothing() {
    for seed in 0..40 {
        let disk = SimulatedDisk::new(seed);
        let die = |config: Config| payments().run(config).map(drop);
        die(simulated(seeded(seed).on_disk(&disk).die_at(60 + seed * 7919 % 150))).unwrap();
        copy(&disk, Path::new("/checkpoints"), Path::new("/copy"));
        // Both go on from the same moment; which of them comes first is the same to both.
        die(simulated(seeded(seed + 100).on_disk(&disk).die_at(40 + seed * 31 % 90))).unwrap();
        let error = die(from_copy(&disk)).unwrap_err();
        let said = error.to_string();
        assert_eq!(error.kind, ErrorKind::Config, "{said}");
        assert!(said.contains("checkpoints /checkpoints") && said.contains("checkpoints /copy"), "{said}");
        assert!(said.contains("has written to /out/") && said.contains("Resume::From"), "{said}");
        // A second try is not taken for a later life.
        assert!(die(from_copy(&disk)).is_err());
        finish(&payments(), seed, &disk);
        compare(&shown_payments(&disk), &expected_payments(), "the life that went on");
    }
}

#[test]
fn a_copy_begins_a_history_of_its_own_where_that_is_said() {
    let disk = SimulatedDisk::new(3);
    payments().run(simulated(seeded(3).on_disk(&disk).die_at(150))).unwrap();
    let newest = *checkpoints(&disk).first().unwrap();
    copy(&disk, Path::new("/checkpoints"), Path::new("/copy"));
    payments().run(simulated(seeded(4).on_disk(&disk).die_at(40))).unwrap();
    payments().run(from_copy(&disk).resume(Resume::From(newest))).unwrap();
}

#[test]
fn a_second_process_is_refused_while_the_first_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (own, copied, out) =
        (folder.path().join("own"), folder.path().join("copy"), folder.path().join("out"));
    let start = |checkpoints: &Path| {
        let topology = Topology::new("endless");
        let numbers = topology.source("numbers", Generator::unbounded(|n| n)).rate(1_000.0).parallelism(1);
        numbers.sink_exactly_once("files", Files::jsonl(&out));
        // The copy is older than what is shown, which is refused as well unless one says that it may be.
        let config = Config::local().checkpoints(checkpoints).checkpoint_interval(millis(20));
        topology.start(config.accept_duplicates())
    };
    let first = start(&own).unwrap();
    while first.tree().unwrap().checkpoint.is_none() {
        pause(millis(5));
    }
    std::fs::create_dir(&copied).unwrap();
    for file in ["job", "lock"] {
        std::fs::copy(own.join(file), copied.join(file)).unwrap();
    }
    let said = start(&copied).unwrap_err().to_string();
    assert!(said.contains("is writing to") && said.contains("has not ended"), "{said}");
    for path in [&own, &copied, &out] {
        assert!(said.contains(&*path.to_string_lossy()), "both are named: {said}");
    }
    first.stop().unwrap();
    first.wait().unwrap();
    // The same job goes on, as ever.
    let again = start(&own).unwrap();
    again.stop().unwrap();
    again.wait().unwrap();
}

#[test]
fn a_job_whose_output_nobody_reads_any_more_ends_at_once_and_without_an_error() {
    let topology = Topology::new("piped");
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).parallelism(1);
    let closing = SinkFn::new(|_| |n: u64| if n < 5 { Ok(()) } else { Err(OutputClosed.into()) });
    numbers.sink("out", closing).parallelism(1);
    let outcome = topology.run(Config::local()).unwrap();
    assert_eq!((outcome.end, outcome.restarts), (End::Cancelled, 0));
}

#[test]
fn the_simulator_takes_names_of_output_and_finds_an_engine_that_replaces_files() {
    let topology = payments();
    let faults = [FaultKind::NameTaken, FaultKind::Kill, FaultKind::PowerCut];
    let mut simulator = Simulator::new(&topology).faults(&faults).without_shrinking();
    simulator.rehearse().unwrap();
    for seed in 0..60 {
        if let Err(failure) = simulator.run(Seed(seed)) {
            panic!("{failure}");
        }
    }
    let found = (0..60).find_map(|seed| {
        let _seeded = bug::seed(Bug::OutputReplaced);
        simulator.run(Seed(seed)).err()
    });
    let said = found.expect("it is found").violation.to_string();
    assert!(said.contains("which another process had written, was replaced"), "{said}");
}
