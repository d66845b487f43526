//! Many lives of one job, each of which ends with the death of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use watershed::prelude::*;
use watershed::{End, Outcome, Resume, SimulatedDisk, Simulation};

use watershed_state::{CheckpointStore, FolderStore};

use crate::fixture::{
    checkpoints, compare, expected_payments, finish, lines_in, payments, seeded, shown_payments, simulated,
};

/// A life that ends at some step.
fn die(disk: &SimulatedDisk, life: u64) -> Outcome {
    payments().run(simulated(seeded(life).on_disk(disk).die_at(30 + life * 7919 % 211))).unwrap()
}

#[test]
fn runs_and_ids_of_checkpoints_only_ever_grow() {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let (mut highest_run, mut highest_id, mut known) = (0, 0, Vec::new());
        for life in 20 * seed..20 * (seed + 1) {
            let outcome = match life % 5 {
                3 => {
                    payments().run(simulated(seeded(life).on_disk(&disk).die_at(90)).resume(Resume::Nothing))
                }
                4 if !known.is_empty() => {
                    let from = Resume::From(*known.last().unwrap());
                    payments().run(simulated(seeded(life).on_disk(&disk).die_at(120)).resume(from))
                }
                _ => Ok(die(&disk, life)),
            };
            let run = outcome.unwrap().tree.regions[0].run;
            assert!(run > highest_run, "run {run} after {highest_run}");
            highest_run = run;
            let now = checkpoints(&disk);
            let new = now.iter().filter(|id| !known.contains(*id));
            assert!(new.clone().all(|id| *id > highest_id), "{now:?} after {known:?}");
            highest_id = new.copied().chain([highest_id]).max().unwrap();
            known = now;
        }
        assert!(highest_id > 10, "hardly any checkpoint was made");
    }
}

#[test]
fn only_the_newest_checkpoints_are_kept() {
    for retain in [1, 2, 5] {
        let (mut most, mut tidy) = (0, 0);
        for seed in 0..20 {
            let disk = SimulatedDisk::new(seed);
            let run = |life, dies_at: Option<u64>| {
                let simulation = seeded(life).on_disk(&disk);
                let simulation = dies_at.into_iter().fold(simulation, Simulation::die_at);
                payments().run(simulated(simulation).retain(retain)).unwrap()
            };
            for life in 0..12 {
                run(20 * seed + life, Some(60 + life * 7919 % 211));
                let kept = checkpoints(&disk).len();
                // The newest may be there before the oldest is gone.
                assert!(kept <= retain + 1, "{kept} checkpoints are kept instead of {retain}");
                most = most.max(kept);
            }
            run(seed, None);
            tidy += usize::from(checkpoints(&disk).len() == retain);
        }
        assert!(tidy > 15, "too many checkpoints are kept in the end, {tidy} times of 20 not");
        assert!(most >= retain);
    }
}

/// The folders of checkpoints, complete or not.
fn folders(disk: &SimulatedDisk) -> Vec<String> {
    let files = disk.fs().list(Path::new("/checkpoints")).unwrap();
    files.into_iter().map(|file| file.name).filter(|name| name.starts_with("chk-")).collect()
}

/// Those of the complete checkpoints, and those with a file that one of them builds on.
fn needed_folders(disk: &SimulatedDisk) -> BTreeSet<String> {
    let store = CheckpointStore::open(FolderStore::open(&disk.fs(), "/checkpoints")).unwrap();
    let mut needed = BTreeSet::new();
    for (id, manifest) in store.scan().unwrap() {
        needed.insert(format!("chk-{id}"));
        needed.extend(manifest.unwrap().files().map(|file| file.path.split('/').next().unwrap().to_string()));
    }
    needed
}

#[test]
fn what_dead_processes_have_left_is_removed() {
    let mut most = 0;
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        for life in 20 * seed..20 * (seed + 1) {
            die(&disk, life);
            most = most.max(folders(&disk).len());
        }
        finish(&payments(), seed, &disk);
        let needed = needed_folders(&disk);
        let kept = checkpoints(&disk).len();
        assert!(kept <= 3 + 1, "{kept} checkpoints are kept");
        let left: Vec<String> = folders(&disk).into_iter().filter(|name| !needed.contains(name)).collect();
        assert!(left.is_empty(), "{left:?} are left");
    }
    // What a process leaves, the next one removes.
    assert!((4..8).contains(&most), "up to {most} folders were there");
}

/// The visible files of an output folder, each with the checkpoint in its name.
fn visible(disk: &SimulatedDisk, folder: &str) -> Vec<(u64, String)> {
    let files = disk.fs().list(Path::new(folder)).unwrap_or_default();
    let names = files.into_iter().map(|file| file.name).filter(|name| !name.starts_with('.'));
    names.map(|name| (name.rsplit('-').nth(1).unwrap().parse().unwrap(), name)).collect()
}

#[test]
fn nothing_is_visible_before_its_checkpoint_is_complete() {
    let expected = expected_payments();
    for seed in 0..100 {
        let disk = SimulatedDisk::new(seed);
        for life in 20 * seed..20 * seed + 6 {
            die(&disk, life);
            let newest = checkpoints(&disk).first().copied().unwrap_or(0);
            for (folder, expected) in &expected {
                for (checkpoint, name) in visible(&disk, folder) {
                    assert_eq!(name.split('.').next_back(), Some("jsonl"), "{name}");
                    assert!(checkpoint <= newest, "{name} is visible, but the newest checkpoint is {newest}");
                }
                let mut left = BTreeMap::new();
                for line in expected {
                    *left.entry(line.clone()).or_insert(0) += 1;
                }
                for line in lines_in(&disk, folder) {
                    let left =
                        left.get_mut(&line).unwrap_or_else(|| panic!("{line:?} is not a whole record"));
                    assert!(*left > 0, "{line} is visible too often");
                    *left -= 1;
                }
            }
        }
        finish(&payments(), seed, &disk);
        compare(&shown_payments(&disk), &expected, &format!("in the end, with seed {seed}"));
        for folder in expected.keys() {
            let files = disk.fs().list(Path::new(folder)).unwrap();
            let (owners, others): (Vec<_>, Vec<_>) =
                files.into_iter().partition(|file| file.name.starts_with(".owner-"));
            assert_eq!(others.len(), visible(&disk, folder).len(), "a hidden file is left in {folder}");
            assert_eq!(owners.len(), 1, "of earlier processes nothing is left either");
        }
    }
}

#[test]
fn without_a_checkpoint_folder_a_region_that_failed_begins_anew() {
    let (topology, expected) = (payments(), expected_payments());
    let mut restarts = 0;
    for step in 1..=300 {
        let disk = SimulatedDisk::new(step);
        let simulation = seeded(step).on_disk(&disk).panic_at(step).panic_at(2 * step);
        let config =
            Config::local().with_simulation(simulation).watermark_interval(millis(1)).batch_records(4);
        let outcome = topology.run(config).unwrap();
        // The first checkpoint is the last.
        assert_eq!(outcome.end, End::Finished);
        restarts += outcome.restarts;
        compare(&shown_payments(&disk), &expected, &format!("after a crash at step {step}"));
        assert_eq!(checkpoints(&disk), [] as [u64; 0]);
    }
    assert!(restarts > 200, "only {restarts} panics hit something");
}

#[test]
fn without_a_checkpoint_folder_nothing_is_visible_before_the_end() {
    let mut ends = 0;
    for step in (1..800).step_by(2) {
        let disk = SimulatedDisk::new(step);
        let simulation = seeded(7).on_disk(&disk).die_at(step);
        let config =
            Config::local().with_simulation(simulation).watermark_interval(millis(1)).batch_records(4);
        let outcome = payments().run(config).unwrap();
        let shown: usize = shown_payments(&disk).values().map(Vec::len).sum();
        assert!(shown == 0 || outcome.checkpoint.is_some(), "{shown} lines are visible at step {step}");
        ends += u64::from(outcome.end != End::Died);
    }
    assert!((1..390).contains(&ends), "{ends} of the runs came to their end");
}
