//! Finished jobs that are started again, and histories that begin at a checkpoint or with nothing.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{End, Resume, SimulatedDisk};

use crate::fixture::{
    Shown, checkpoints, compare, expected_payments, finish, lines_in, lines_in_files, payments, seeded,
    shown_payments, simulated,
};

#[test]
fn a_finished_job_that_is_started_again_adds_nothing() {
    let disk = SimulatedDisk::new(1);
    assert_eq!(finish(&payments(), 1, &disk).end, End::Finished);
    for seed in 2..20 {
        let outcome = finish(&payments(), seed, &disk);
        assert_eq!((outcome.end, outcome.restarts), (End::AlreadyFinished, 0));
        compare(&shown_payments(&disk), &expected_payments(), "after another start");
    }
}

#[test]
fn a_finished_job_that_is_started_again_and_crashes_adds_nothing() {
    let disk = SimulatedDisk::new(1);
    finish(&payments(), 1, &disk);
    for step in 1..100 {
        payments().run(simulated(seeded(step).on_disk(&disk).panic_at(step).die_at(2 * step))).unwrap();
    }
    assert_eq!(finish(&payments(), 1, &disk).end, End::AlreadyFinished);
    compare(&shown_payments(&disk), &expected_payments(), "after another hundred starts");
}

#[test]
fn files_that_are_new_in_the_folder_are_read_and_no_other_again_whenever_it_is_killed() {
    let (input, disk) = (TempDir::new().unwrap(), SimulatedDisk::new(1));
    let topology = Topology::new("folder");
    let lines = topology.source("lines", Lines::from_folder(input.path()).split_bytes(50));
    let longest = lines.key_by(|line| line.len() as u64).reduce("last", String::max);
    longest.sink_exactly_once("files", Files::jsonl("/out"));
    let mut expected = Vec::new();
    for day in 0..5 {
        // Each line of a length of its own, so that every line is a result of its own.
        let lines: Vec<String> = (0..20).map(|n| "x".repeat(1 + 20 * day + n)).collect();
        fs::write(input.path().join(format!("day-{}", 9 - day)), lines.join("\n")).unwrap();
        expected.extend(lines.iter().map(|line| format!("{line:?}")));
        expected.sort();
        for step in [40, 70 + 9 * day as u64] {
            topology.run(simulated(seeded(step).on_disk(&disk).panic_at(30).die_at(step))).unwrap();
        }
        finish(&topology, 1, &disk);
        assert_eq!(finish(&topology, 1, &disk).end, End::AlreadyFinished);
        let shown = Shown::from([("/out", lines_in(&disk, "/out"))]);
        compare(&shown, &[("/out", expected.clone())].into(), &format!("on day {day}"));
    }
}

#[test]
fn from_nothing_everything_is_there_once_more() {
    let disk = SimulatedDisk::new(1);
    finish(&payments(), 1, &disk);
    let outcome = payments().run(simulated(seeded(2).on_disk(&disk)).resume(Resume::Nothing)).unwrap();
    assert_eq!(outcome.end, End::Finished);
    let mut twice = expected_payments();
    for lines in twice.values_mut() {
        lines.extend(lines.clone());
        lines.sort();
    }
    compare(&shown_payments(&disk), &twice, "after a second history");
}

const FOLDERS: [&str; 2] = ["/out/entries", "/out/large"];

/// A job that was killed, the last but one of its checkpoints, and what is visible.
fn killed() -> (SimulatedDisk, u64, Vec<String>) {
    let disk = SimulatedDisk::new(1);
    assert_eq!(payments().run(simulated(seeded(1).on_disk(&disk).die_at(600))).unwrap().end, End::Died);
    let (older, files) = (checkpoints(&disk)[1], files(&disk));
    (disk, older, files)
}

fn files(disk: &SimulatedDisk) -> Vec<String> {
    let names = |folder: &str| {
        let files = disk.fs().list(Path::new(folder)).unwrap();
        files.into_iter().map(|file| format!("{folder}/{}", file.name)).collect::<Vec<_>>()
    };
    FOLDERS.into_iter().flat_map(names).collect()
}

/// What is visible of the files up to a checkpoint, and of those that were not there before.
fn without_what_was_past(disk: &SimulatedDisk, checkpoint: u64, before: &[String]) -> Shown {
    let of_folder = |folder: &'static str| {
        let chosen = lines_in_files(disk, folder, |name| {
            let number: u64 = name.rsplit('-').nth(1).unwrap().parse().unwrap();
            number <= checkpoint || !before.contains(&format!("{folder}/{name}"))
        });
        (folder, chosen)
    };
    FOLDERS.map(of_folder).into()
}

#[test]
fn from_an_older_checkpoint_what_comes_after_it_is_written_anew() {
    let (disk, older, before) = killed();
    let first = finish(&payments(), 1, &killed().0).tree.lineage;
    let config = simulated(seeded(2).on_disk(&disk)).resume(Resume::From(older));
    let outcome = payments().run(config).unwrap();
    assert_eq!(outcome.end, End::Finished);
    assert_ne!(outcome.tree.lineage, first, "it goes on in the same history");
    compare(&without_what_was_past(&disk, older, &before), &expected_payments(), "after a second history");
}

#[test]
fn a_history_that_began_at_an_older_checkpoint_goes_on_exactly_whenever_it_is_killed() {
    for step in 1..300 {
        let (disk, older, before) = killed();
        let config = simulated(seeded(step).on_disk(&disk).die_at(step)).resume(Resume::From(older));
        payments().run(config).unwrap();
        finish(&payments(), step, &disk);
        let shown = without_what_was_past(&disk, older, &before);
        compare(&shown, &expected_payments(), &format!("killed at step {step}"));
    }
}

#[test]
fn a_history_that_has_no_checkpoint_of_its_own_yet_begins_again_where_it_began() {
    let (disk, older, _) = killed();
    let config = simulated(seeded(2).on_disk(&disk).die_at(3)).resume(Resume::From(older));
    assert_eq!(payments().run(config).unwrap().checkpoints, 0);
    let again = payments().run(simulated(seeded(3).on_disk(&disk).die_at(1))).unwrap();
    assert_eq!(again.checkpoint, Some(older));

    let config = simulated(seeded(4).on_disk(&disk).die_at(3)).resume(Resume::Nothing);
    assert_eq!(payments().run(config).unwrap().checkpoints, 0);
    let again = payments().run(simulated(seeded(5).on_disk(&disk).die_at(1))).unwrap();
    assert_eq!(again.checkpoint, None);
}
