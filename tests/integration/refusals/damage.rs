//! Damaged checkpoints: an older one is taken only where nothing would be shown twice by that, or if that is accepted.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use watershed::prelude::*;
use watershed::{End, ErrorKind, Resume, SimulatedDisk};

use super::{edit, refused};
use crate::fixture::{checkpoints, finish, lines_in, seeded, simulated};

const RECORDS: u64 = 100;

/// Writes running sums into exactly-once files.
fn to_files() -> Topology {
    let topology = Topology::new("sums");
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    let sums = numbers.key_by(|n| n % 7).reduce("sum", |a, b| a + b);
    sums.sink_exactly_once("out", Files::jsonl("/out"));
    topology
}

/// Writes the same into memory, at least once.
fn to_memory(seen: &Arc<Mutex<Vec<String>>>) -> Topology {
    let topology = Topology::new("sums");
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    let seen = Arc::clone(seen);
    let sums = numbers.key_by(|n| n % 7).reduce("sum", |a, b| a + b);
    sums.for_each(move |sum| seen.lock().unwrap().push(sum.to_string()));
    topology
}

fn sums() -> Vec<String> {
    let sum = |n: u64| (n % 7..=n).step_by(7).sum::<u64>().to_string();
    sorted((0..RECORDS).map(sum).collect())
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn on(disk: &SimulatedDisk) -> Config {
    simulated(seeded(2).on_disk(disk))
}

/// What can happen to a checkpoint: its name, and how it is done.
type Accident = (&'static str, fn(&SimulatedDisk, u64) -> PathBuf);

const ACCIDENTS: [Accident; 6] = [
    ("a flipped bit in a part", |disk, id| flip(disk, part(disk, id))),
    ("a part that lost its end", |disk, id| truncate(disk, part(disk, id))),
    ("a part that is gone", |disk, id| {
        let part = part(disk, id);
        disk.fs().remove_file(&part).unwrap();
        part
    }),
    ("a flipped bit in the manifest", |disk, id| flip(disk, manifest(id))),
    ("a manifest that lost its end", |disk, id| truncate(disk, manifest(id))),
    ("an empty manifest", |disk, id| {
        edit(disk, &manifest(id), Vec::clear);
        manifest(id)
    }),
];

fn manifest(id: u64) -> PathBuf {
    format!("/checkpoints/chk-{id}/manifest").into()
}

/// A part of the checkpoint.
fn part(disk: &SimulatedDisk, id: u64) -> PathBuf {
    let folder = PathBuf::from(format!("/checkpoints/chk-{id}"));
    let files = disk.fs().list(&folder).unwrap();
    folder.join(&files.iter().find(|file| file.name != "manifest").unwrap().name)
}

fn flip(disk: &SimulatedDisk, path: PathBuf) -> PathBuf {
    edit(disk, &path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    });
    path
}

fn truncate(disk: &SimulatedDisk, path: PathBuf) -> PathBuf {
    edit(disk, &path, |bytes| bytes.truncate(bytes.len() - 3));
    path
}

/// Leaves only the newest checkpoint. Returns its id.
fn only_the_newest(disk: &SimulatedDisk) -> u64 {
    let ids = checkpoints(disk);
    for id in &ids[1..] {
        disk.fs().remove_dir_all(format!("/checkpoints/chk-{id}").as_ref()).unwrap();
    }
    ids[0]
}

/// Runs a job to its end, then damages its newest checkpoint. Returns that, the one before, and the damaged file.
fn damaged(topology: &Topology, accident: &Accident) -> (SimulatedDisk, u64, u64, PathBuf) {
    let disk = SimulatedDisk::new(1);
    finish(topology, 1, &disk);
    let (newest, older) = (checkpoints(&disk)[0], checkpoints(&disk)[1]);
    let path = accident.1(&disk, newest);
    (disk, newest, older, path)
}

#[test]
fn a_damaged_checkpoint_is_refused_if_output_past_the_older_one_is_visible() {
    for accident in &ACCIDENTS {
        let (disk, newest, older, path) = damaged(&to_files(), accident);
        let says = [
            "`out`",
            &format!("shown output up to checkpoint {newest} in /out, but"),
            &format!("newest that can be read in /checkpoints is {older}"),
            &format!("Restore checkpoint {newest}"),
            "Config::accept_duplicates",
            path.to_str().unwrap(),
        ];
        println!("{}", accident.0);
        refused(to_files().run(on(&disk)), ErrorKind::State, &says);
        assert_eq!(lines_in(&disk, "/out"), sums(), "a refusal changes nothing");
    }
}

#[test]
fn the_older_checkpoint_is_taken_if_duplicates_are_accepted() {
    for accident in &ACCIDENTS {
        let (disk, _, older, _) = damaged(&to_files(), accident);
        let outcome = to_files().run(on(&disk).accept_duplicates()).unwrap();
        assert_eq!(outcome.end, End::Finished, "{}", accident.0);
        assert!(outcome.checkpoint > Some(older));
        let shown = lines_in(&disk, "/out");
        assert!(
            shown.len() > sums().len() && shown.len() < 2 * sums().len(),
            "{}: it began anew",
            accident.0
        );
        assert!(sums().iter().all(|sum| shown.contains(sum)), "{}: records are lost", accident.0);
    }
}

#[test]
fn the_older_checkpoint_is_taken_and_that_is_logged_if_no_output_is_exactly_once() {
    for accident in &ACCIDENTS {
        let seen = Arc::default();
        let (disk, newest, older, path) = damaged(&to_memory(&seen), accident);
        assert_eq!(sorted(std::mem::take(&mut seen.lock().unwrap())), sums());
        let (outcome, log) = logged(|| to_memory(&seen).run(on(&disk)).unwrap());
        assert_eq!(outcome.end, End::Finished, "{}", accident.0);
        let again = seen.lock().unwrap().clone();
        assert!(!again.is_empty() && again.len() < sums().len(), "{}: it began anew", accident.0);
        assert!(log.contains(&format!("a checkpoint is damaged checkpoint={newest}")), "{log}");
        assert!(
            log.contains(&format!("an older checkpoint is taken damaged={newest} taken={older}")),
            "{log}"
        );
        assert!(log.contains(path.to_str().unwrap()), "{log}");
    }
}

#[test]
fn the_only_checkpoint_may_not_be_damaged() {
    for accident in &ACCIDENTS {
        let (disk, seen) = (SimulatedDisk::new(1), Arc::default());
        finish(&to_memory(&seen), 1, &disk);
        let newest = only_the_newest(&disk);
        let path = accident.1(&disk, newest);
        let checkpoint = format!("checkpoint {newest} is damaged");
        let says = [&checkpoint, "no older one", "restore it", "Resume::Nothing", path.to_str().unwrap()];
        refused(to_memory(&seen).run(on(&disk)), ErrorKind::State, &says);
        refused(to_memory(&seen).run(on(&disk).accept_duplicates()), ErrorKind::State, &says);
        let outcome = to_memory(&seen).run(on(&disk).resume(Resume::Nothing)).unwrap();
        assert_eq!(outcome.end, End::Finished, "{}", accident.0);
    }
}

#[test]
fn a_damaged_checkpoint_that_is_named_is_refused() {
    for accident in &ACCIDENTS {
        let (disk, newest, _, path) = damaged(&to_files(), accident);
        let config = on(&disk).accept_duplicates().resume(Resume::From(newest));
        refused(to_files().run(config), ErrorKind::State, &[path.to_str().unwrap()]);
    }
}

#[test]
fn a_checkpoint_that_was_taken_away_is_refused_if_its_output_is_visible() {
    let disk = SimulatedDisk::new(1);
    finish(&to_files(), 1, &disk);
    let newest = checkpoints(&disk)[0];
    disk.fs().remove_dir_all(format!("/checkpoints/chk-{newest}").as_ref()).unwrap();
    let visible = format!("shown output up to checkpoint {newest}");
    let says = ["`out`", &visible, "its checkpoint is gone", "Config::accept_duplicates"];
    refused(to_files().run(on(&disk)), ErrorKind::State, &says);
}

/// Runs this and returns what it logged too.
fn logged<R>(run: impl FnOnce() -> R) -> (R, String) {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let result = tracing::subscriber::with_default(subscriber, run);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (result, text)
}

#[test]
fn a_checkpoint_that_cannot_be_read_for_a_moment_is_not_taken_for_damaged() {
    let mut refused = 0;
    for operation in 1..60 {
        let disk = SimulatedDisk::new(operation);
        let run = |die_at| to_files().run(simulated(seeded(operation).on_disk(&disk).die_at(die_at)));
        run(150).unwrap();
        disk.fail_during(operation..operation + 1);
        // If an older one were taken, what was prepared for the newest would be removed here.
        if let Err(error) = run(20) {
            // Where it hits what the sink has shown, it is that that cannot be read.
            let of_output = error.to_string().contains("`out`: its output cannot be read");
            let is_connector = error.kind == ErrorKind::Connector;
            assert_eq!(is_connector, of_output, "{error}");
            assert!(is_connector || matches!(error.kind, ErrorKind::State | ErrorKind::Config), "{error}");
            refused += usize::from(error.to_string().contains("cannot be read"));
        }
        disk.mend();
        finish(&to_files(), operation, &disk);
        assert_eq!(lines_in(&disk, "/out"), sums(), "after a failure of operation {operation}");
    }
    assert!(refused > 3, "only {refused} failures hit a checkpoint");
}
