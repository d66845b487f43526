//! Where checkpoints are kept, said as a URI: a folder, or the memory of this process.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Claim, Collector, Drain, ErrorKind, RocksDb, SimulatedDisk, StateBackend};
use watershed_state::{SnapshotPlace, Snapshots};

use crate::fixture::{
    compare, expected_payments, payments, plain_counts, seeded, shown_payments, simulated, text,
    visible_lines, word_counts,
};

fn backends() -> [(&'static str, StateBackend); 2] {
    [("memory", StateBackend::Memory), ("rocksdb", RocksDb::new().memory_bytes(0).cache_entries(3).into())]
}

/// A place in memory that no other test has.
fn in_memory(name: &str) -> String {
    format!("memory://places-{}/{name}", std::process::id())
}

fn checkpoints_in(uri: &str) -> usize {
    Snapshots::open(SnapshotPlace::parse(uri).unwrap()).unwrap().all().unwrap().len()
}

/// Counts the numbers of each of some keys, and panics once.
struct CountOnce(&'static AtomicBool, u64);

impl Process for CountOnce {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, n: u64, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        assert!(n != self.1 || self.0.swap(true, Ordering::Relaxed), "once");
        context.emit((*context.key(), *count));
        Ok(())
    }
}

/// Counts 4,000 numbers of 100 keys, not at once, and what is shown of that.
fn counting() -> (Topology, Collector<(u64, u64)>) {
    static NEVER: AtomicBool = AtomicBool::new(true);
    let (topology, seen) = (Topology::new("numbers"), Collector::new());
    let numbers = topology.source("numbers", Generator::bounded(4_000, |n| n)).rate(20_000.0).parallelism(1);
    numbers
        .key_by(|n| n % 100)
        .actor("count", CountOnce(&NEVER, u64::MAX))
        .sink_exactly_once("out", seen.sink());
    (topology, seen)
}

fn sorted(seen: &Collector<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut all = seen.take();
    all.sort_unstable();
    all
}

/// What is shown where each of 100 keys has come so often.
fn each_key(times: u64) -> Vec<(u64, u64)> {
    (0..100).flat_map(|key| (1..=times).map(move |nth| (key, nth))).collect()
}

#[test]
fn a_job_that_is_started_again_in_the_same_process_goes_on_from_its_checkpoints_in_memory() {
    for (name, backend) in backends() {
        let (folder, uri) = (TempDir::new().unwrap(), in_memory(name));
        let (input, output) = (folder.path().join("text.txt"), folder.path().join("out"));
        std::fs::write(&input, text(8_000)).unwrap();
        let config = |parallelism| {
            let config = Config::local().checkpoints_at(&uri).unwrap().checkpoint_interval(millis(5));
            config.state_backend(backend.clone()).parallelism(parallelism).ignore_signals()
        };
        for parallelism in [2, 3, 1] {
            let job = word_counts(&input, &output).start(config(parallelism)).unwrap();
            let other = word_counts(&input, &output).start(config(1)).unwrap_err();
            assert_eq!(other.kind, ErrorKind::Config);
            assert!(other.to_string().contains(&uri) && other.to_string().contains("in use"), "{other}");
            // It may have ended by itself.
            let _ = job.stop();
            job.wait().unwrap();
        }
        word_counts(&input, &output).run(config(2)).unwrap();
        assert_eq!(visible_lines(&output), plain_counts(&input), "{name}");
        let again = word_counts(&input, &output).run(config(2)).unwrap();
        assert_eq!(again.end, End::AlreadyFinished, "{name}");
        assert!((1..=3).contains(&checkpoints_in(&uri)), "old ones are collected there, too");
    }
}

#[test]
fn a_job_without_a_place_keeps_databases_as_links_and_nothing_after_its_end() {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let scratch = TempDir::new().unwrap();
    let (topology, seen) = (Topology::new("numbers"), Collector::new());
    let numbers = topology.source("numbers", Generator::bounded(20_000, |n| n)).rate(40_000.0).parallelism(1);
    numbers
        .key_by(|n| n % 100)
        .actor("count", CountOnce(&PANICKED, 15_000))
        .sink_exactly_once("out", seen.sink());
    let config = Config::local().scratch(scratch.path()).checkpoint_interval(millis(20)).ignore_signals();
    let job = topology.start(config.state_backend(RocksDb::new().cache_entries(10))).unwrap();
    let links = scratch.path().join("databases/checkpoints");
    let outcome = job.wait().unwrap();
    assert!(outcome.checkpoints > 1, "{} checkpoints", outcome.checkpoints);
    assert_eq!((outcome.end, outcome.restarts), (End::Finished, 1), "it went back to a checkpoint");
    assert!(!links.exists(), "they go with the job");
    let mut all = seen.take();
    all.sort_unstable();
    let expected: Vec<(u64, u64)> = (0..100).flat_map(|key| (1..=200).map(move |nth| (key, nth))).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_folder_may_be_named_by_its_uri_and_is_the_same_as_by_its_path() {
    let disk = SimulatedDisk::new(3);
    let at = |uri: &str| simulated(seeded(3).on_disk(&disk)).checkpoints_at(uri).unwrap();
    let stopped =
        payments().run(at("file:///elsewhere").with_simulation(seeded(3).on_disk(&disk).die_at(150)));
    stopped.unwrap();
    assert!(disk.fs().exists(Path::new("/elsewhere/job")).unwrap());
    payments().run(at("/elsewhere")).unwrap();
    compare(&shown_payments(&disk), &expected_payments(), "after a start by URI and one by path");
    assert!(!disk.fs().exists(Path::new("/checkpoints")).unwrap());
}

#[test]
fn a_place_of_an_unknown_kind_is_refused_with_those_there_are() {
    let refused = |uri: &str| {
        let error = Config::local().checkpoints_at(uri).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        error.to_string()
    };
    let scheme = refused("s3://bucket/checkpoints");
    assert!(scheme.contains("`s3://bucket/checkpoints`"), "{scheme}");
    assert!(scheme.contains("knows `file://` and `memory://`"), "{scheme}");
    assert!(refused("file://relative/path").contains("absolute path"));
    assert!(refused("memory://").contains("names no folder") && refused("").contains("names no folder"));
}

#[test]
fn savepoints_and_checkpoints_may_be_in_different_kinds_of_places() {
    static NEVER: AtomicBool = AtomicBool::new(true);
    for (name, backend) in backends() {
        let (folder, checkpoints) = (TempDir::new().unwrap(), in_memory(&format!("both-{name}")));
        let seen = Collector::new();
        // With a rate it takes seconds to read all, and so it is not at the end when a savepoint is asked for.
        let counts = |rate: Option<f64>| {
            let topology = Topology::new("numbers");
            let numbers = topology.source("numbers", Generator::bounded(6_000, |n| n)).parallelism(1);
            let numbers = match rate {
                Some(rate) => numbers.rate(rate),
                None => numbers,
            };
            let counted = numbers.key_by(|n| n % 100).actor("count", CountOnce(&NEVER, u64::MAX));
            counted.sink_exactly_once("out", seen.sink());
            topology
        };
        let config =
            || Config::local().checkpoint_interval(millis(5)).state_backend(backend.clone()).ignore_signals();
        let local = folder.path().join("savepoint").display().to_string();
        let first = config().checkpoints_at(&checkpoints).unwrap();
        let job = counts(Some(600.0)).start(first).unwrap();
        job.stop_with_savepoint(&local, Drain::No).unwrap();
        assert_eq!(job.wait().unwrap().end, End::Stopped);
        // From a folder into memory, and from memory into a folder.
        let in_memory = in_memory(&format!("savepoint-{name}"));
        let next = config().checkpoints(folder.path().join("next")).start_from(&local, Claim::Yes);
        let job = counts(Some(600.0)).start(next).unwrap();
        job.stop_with_savepoint(&in_memory, Drain::No).unwrap();
        assert_eq!(job.wait().unwrap().end, End::Stopped);
        let last = config().checkpoints(folder.path().join("last")).start_from(&in_memory, Claim::Yes);
        assert_eq!(counts(None).run(last).unwrap().end, End::Finished);
        assert_eq!(sorted(&seen), each_key(60), "{name}");
    }
}

#[test]
fn a_scratch_folder_of_a_running_job_is_refused_to_another() {
    let folder = TempDir::new().unwrap();
    let (topology, seen) = counting();
    let config = |checkpoints: &str| {
        let config = Config::local().checkpoints(folder.path().join(checkpoints)).ignore_signals();
        let config = config.scratch(folder.path().join("scratch")).checkpoint_interval(millis(20));
        config.state_backend(RocksDb::new().cache_entries(10))
    };
    let job = topology.start(config("one")).unwrap();
    let refused = topology.start(config("other")).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Config);
    let said = refused.to_string();
    assert!(said.contains("in use by another job") && said.contains("/scratch"), "{said}");
    let outcome = job.wait().unwrap();
    assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0));
    assert_eq!(seen.take().len(), 4_000);
    topology.run(config("other")).unwrap();
}

#[test]
fn what_lives_in_the_checkpoint_folder_needs_another_place_where_there_is_none() {
    let quarantined = || {
        let topology = Topology::new("numbers");
        let numbers = topology.source("numbers", Generator::bounded(100, |n| n)).parallelism(1);
        let checked = numbers.key_by(|n| n % 3).actor("check", RefuseSome);
        checked.supervise(Supervision::quarantine()).for_each(|_| {});
        topology
    };
    let config = |name: &str| Config::local().checkpoints_at(&in_memory(name)).unwrap().ignore_signals();
    let error = quarantined().run(config("letters-1")).unwrap_err();
    assert!(error.to_string().contains("no place for dead letters"), "{error}");

    let letters = TempDir::new().unwrap();
    quarantined().run(config("letters-2").dead_letters(letters.path())).unwrap();
    let folder = letters.path().join("check");
    assert_eq!(visible_lines(&folder).len(), 14, "one for each that is refused");
}

/// Refuses some numbers.
struct RefuseSome;

impl Process for RefuseSome {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, n: u64, _: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        if n % 7 == 3 {
            return Err(format!("{n} is refused").into());
        }
        context.emit(n);
        Ok(())
    }
}

#[test]
fn a_scratch_folder_that_cannot_be_used_is_refused_before_anything_is_read() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let topology = || {
        let topology = Topology::new("numbers");
        let numbers = topology.source("numbers", Generator::bounded(10, |n| n));
        numbers.key_by(|n| n % 3).reduce("sum", |a, b| a + b).for_each(|_| {});
        topology
    };
    let config = || Config::local().checkpoints(folder.path().join("checkpoints")).ignore_signals();
    let error =
        topology().run(config().scratch(file.join("below")).state_backend(RocksDb::new())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    let said = error.to_string();
    assert!(said.contains(file.to_str().unwrap()) && said.contains("`Config::scratch`"), "{said}");
    topology().run(config().scratch(folder.path().join("other")).state_backend(RocksDb::new())).unwrap();
}

#[test]
fn a_job_that_is_refused_leaves_the_databases_of_the_one_that_runs_alone() {
    let folder = TempDir::new().unwrap();
    let (topology, seen) = counting();
    let config =
        || Config::local().checkpoints(folder.path()).checkpoint_interval(millis(20)).ignore_signals();
    let over_a_database = || config().state_backend(RocksDb::new().cache_entries(10));
    let job = topology.start(over_a_database()).unwrap();
    let refused = topology.start(over_a_database()).unwrap_err().to_string();
    assert!(refused.contains("in use by another job"), "{refused}");
    let outcome = job.wait().unwrap();
    assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0));
    assert_eq!(sorted(&seen), each_key(40));
}

#[test]
fn a_full_disk_costs_a_job_over_databases_its_checkpoint_and_no_record() {
    let (topology, expected) = (payments(), expected_payments());
    let mut given_up = 0;
    for operation in (1..400).step_by(9) {
        let disk = SimulatedDisk::new(operation);
        let config = simulated(seeded(operation).on_disk(&disk)).state_backend(backends()[1].1.clone());
        let job = topology.start(config).unwrap();
        let fault = disk.full_during(operation..operation + 1 + operation % 7);
        let outcome = job.wait().unwrap();
        assert_eq!(outcome.end, End::Finished);
        compare(&shown_payments(&disk), &expected, &format!("after no room at operation {operation}"));
        given_up += u64::from(disk.refused(fault) > 0 && outcome.restarts == 0);
    }
    assert!(given_up > 5, "{given_up} times only a checkpoint failed");
}
