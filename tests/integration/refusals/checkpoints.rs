//! Checkpoints that do not fit the topology: refused with what is at odds, and how to go on all the same.

use watershed::prelude::*;
use watershed::{End, ErrorKind, Resume, SimulatedDisk, Simulation};

use super::{edit, refused};
use crate::fixture::{checkpoints, seeded, simulated};

/// Adds up numbers by what remains of them.
fn sums() -> Topology {
    sums_named("sums")
}

fn sums_named(name: &str) -> Topology {
    let topology = Topology::new(name);
    let numbers = numbers(&topology).key_by(|n| n % 7);
    numbers.reduce("sum", |a, b| a + b).sink_exactly_once("out", Files::jsonl("/out"));
    topology
}

fn numbers(topology: &Topology) -> Stream<u64> {
    topology.source("numbers", Generator::bounded(100, |n| n)).parallelism(1)
}

/// The disk of a job that was killed halfway.
fn killed(topology: &Topology) -> SimulatedDisk {
    let with_a_checkpoint = |step| {
        let disk = SimulatedDisk::new(1);
        assert_eq!(topology.run(on(&disk, Some(step))).unwrap().end, End::Died);
        (!checkpoints(&disk).is_empty()).then_some(disk)
    };
    (1..).find_map(with_a_checkpoint).unwrap()
}

fn on(disk: &SimulatedDisk, dies_at: Option<u64>) -> Config {
    let simulation = seeded(1).on_disk(disk);
    simulated(dies_at.into_iter().fold(simulation, Simulation::die_at)).parallelism(2)
}

/// Adds a number to each record: how many this instance has seen.
struct Number;

impl Process for Number {
    type Key = ();
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, record: u64, seen: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *seen += 1;
        context.emit((record, *seen));
        Ok(())
    }
}

#[test]
fn a_checkpoint_of_another_topology_is_refused() {
    let disk = killed(&sums());
    let says = [
        "topology `sums`",
        "this is `totals`",
        "another checkpoint folder",
        "is about /checkpoints/chk-",
        "/manifest",
    ];
    refused(sums_named("totals").run(on(&disk, None)), ErrorKind::Config, &says);
}

#[test]
fn state_of_an_operator_that_is_gone_is_refused_unless_it_is_to_be_dropped() {
    let disk = killed(&sums());
    let topology = Topology::new("sums");
    numbers(&topology).sink_exactly_once("out", Files::jsonl("/out"));
    let says = ["state of `sum`", "put it back", "Config::drop_state_of(\"sum\")"];
    refused(topology.run(on(&disk, None)), ErrorKind::Config, &says);
    refused(topology.run(on(&disk, None).drop_state_of("out")), ErrorKind::Config, &says);
    assert_eq!(topology.run(on(&disk, None).drop_state_of("sum")).unwrap().end, End::Finished);
}

#[test]
fn an_operator_that_is_new_starts_empty() {
    let disk = killed(&sums());
    let topology = Topology::new("sums");
    let sums = numbers(&topology).key_by(|n| n % 7).reduce("sum", |a, b| a + b);
    sums.sink_exactly_once("out", Files::jsonl("/out"));
    sums.actor("number", Number).sink_exactly_once("numbered", Files::jsonl("/numbered"));
    assert_eq!(topology.run(on(&disk, None)).unwrap().end, End::Finished);
}

#[test]
fn an_operator_that_has_become_something_else_is_refused() {
    let disk = killed(&sums());
    let topology = Topology::new("sums");
    numbers(&topology).sink_exactly_once("sum", Files::jsonl("/out"));
    let says = ["`sum` as process", "of kind exactly-once sink", "another name"];
    refused(topology.run(on(&disk, None)), ErrorKind::Config, &says);
}

#[test]
fn an_operator_that_has_lost_its_key_is_refused() {
    let disk = killed(&sums());
    let topology = Topology::new("sums");
    numbers(&topology).actor("sum", Number).sink_exactly_once("out", Files::jsonl("/out"));
    let says = ["`sum` has its state by key in the checkpoint and by instance now", "another name"];
    refused(topology.run(on(&disk, None)), ErrorKind::Config, &says);
}

#[test]
fn an_operator_that_has_no_states_any_more_is_refused() {
    let disk = killed(&sums());
    let topology = Topology::new("sums");
    numbers(&topology).key_by(|n| n % 7).partition("sum").sink_exactly_once("out", Files::jsonl("/out"));
    let says = ["`sum`: the snapshot has states of keys", "another name", "Config::drop_state_of"];
    refused(topology.run(on(&disk, None)), ErrorKind::Config, &says);
}

/// Remembers nothing.
struct Forgetful;

impl Process for Forgetful {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = ();

    fn on_record(&self, n: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        context.emit(n);
        Ok(())
    }
}

#[test]
fn an_operator_whose_state_has_become_nothing_is_refused() {
    let disk = killed(&sums());
    let topology = Topology::new("sums");
    numbers(&topology)
        .key_by(|n| n % 7)
        .actor("sum", Forgetful)
        .sink_exactly_once("out", Files::jsonl("/out"));
    refused(topology.run(on(&disk, None)), ErrorKind::Config, &["`sum`: the snapshot has states of keys"]);
}

#[test]
fn another_number_of_key_groups_is_refused() {
    let disk = killed(&sums());
    let says = ["`sum` has 128 key groups in the checkpoint and 64 now", "Config::key_groups(128)"];
    refused(sums().run(on(&disk, None).key_groups(64).unwrap()), ErrorKind::Config, &says);
}

#[test]
fn another_parallelism_of_an_actor_with_state_per_instance_is_refused() {
    let numbered = |parallelism| {
        let topology = Topology::new("numbered");
        let numbers = numbers(&topology).actor("number", Number).parallelism(parallelism);
        numbers.sink_exactly_once("out", Files::jsonl("/out"));
        topology
    };
    let disk = killed(&numbered(2));
    for parallelism in [1, 3] {
        let says = [
            "`number`: it keeps its state per instance",
            "was saved with 2 instances",
            "put `key_by` before it",
        ];
        refused(numbered(parallelism).run(on(&disk, None)), ErrorKind::Config, &says);
    }
    assert_eq!(numbered(2).run(on(&disk, None)).unwrap().end, End::Finished);
}

#[test]
fn a_checkpoint_that_is_not_there_is_refused() {
    let disk = killed(&sums());
    let says = ["no checkpoint 999 in /checkpoints"];
    refused(sums().run(on(&disk, None).resume(Resume::From(999))), ErrorKind::Config, &says);
}

#[test]
fn checkpoints_whose_history_is_lost_are_refused_unless_one_is_named() {
    let disk = killed(&sums());
    let newest = checkpoints(&disk)[0];
    disk.fs().remove_file("/checkpoints/job".as_ref()).unwrap();
    let named = format!("Resume::From({newest})");
    let says = ["/checkpoints", "the file `job`", "Put back the file", &named];
    refused(sums().run(on(&disk, None)), ErrorKind::State, &says);

    let outcome = sums().run(on(&disk, None).resume(Resume::From(newest))).unwrap();
    assert_eq!(outcome.end, End::Finished);
    assert!(outcome.checkpoint > Some(newest), "ids of checkpoints begin anew");
    assert!(outcome.tree.regions[0].run > 1, "runs begin anew");
}

#[test]
fn a_damaged_file_job_is_refused() {
    let disk = killed(&sums());
    edit(&disk, "/checkpoints/job".as_ref(), |bytes| bytes[30] ^= 1);
    let says = ["/checkpoints/job is damaged", "checksum", "Put back the file", "`Resume::From("];
    refused(sums().run(on(&disk, None)), ErrorKind::State, &says);
}

/// Raises the format version of a small file, and makes its checksum right again.
fn from_the_future(bytes: &mut Vec<u8>) {
    bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
    let sealed = bytes.len() - 8;
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..sealed]);
    bytes.splice(sealed.., checksum.to_le_bytes());
}

#[test]
fn a_checkpoint_of_a_newer_format_is_refused_with_both_versions() {
    let disk = killed(&sums());
    let manifest = format!("/checkpoints/chk-{}/manifest", checkpoints(&disk)[0]);
    edit(&disk, manifest.as_ref(), from_the_future);
    let says = [&manifest, "format version 7", "reads up to 2", "with the version that wrote it"];
    refused(sums().run(on(&disk, None)), ErrorKind::State, &says);
    // What an older build cannot read is not damaged: no older checkpoint is taken for it.
    refused(sums().run(on(&disk, None).accept_duplicates()), ErrorKind::State, &says);
}
