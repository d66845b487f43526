//! What the checkpoint folder and the output say of the job's past does not fit: a start is refused, and says the way
//! out.

use std::path::Path;
use std::sync::{Arc, Mutex};

use watershed::prelude::*;
use watershed::{End, ErrorKind, Resume, SimulatedDisk};

use super::refused;
use crate::fixture::{checkpoints, finish, lines_in, seeded, simulated};

const RECORDS: u64 = 400;
const JOB: &str = "/checkpoints/job";

/// Sums up by key, into files, exactly once.
fn sums() -> Topology {
    let topology = Topology::new("sums");
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    numbers.key_by(|n| n % 7).reduce("sum", |a, b| a + b).sink_exactly_once("out", Files::lines("/out"));
    topology
}

fn expected() -> Vec<String> {
    let sum = |n: u64| (n % 7..=n).step_by(7).sum::<u64>().to_string();
    let mut lines: Vec<String> = (0..RECORDS).map(sum).collect();
    lines.sort();
    lines
}

fn on(disk: &SimulatedDisk, seed: u64) -> Config {
    simulated(seeded(seed).on_disk(disk))
}

/// Runs until it is killed at this step.
fn kill(disk: &SimulatedDisk, seed: u64, step: u64) {
    assert_eq!(sums().run(simulated(seeded(seed).on_disk(disk).die_at(step))).unwrap().end, End::Died);
}

fn read(disk: &SimulatedDisk, path: &str) -> Vec<u8> {
    disk.fs().read(Path::new(path)).unwrap()
}

fn write(disk: &SimulatedDisk, path: &str, bytes: &[u8]) {
    let mut file = disk.fs().create(Path::new(path)).unwrap();
    file.write_all(bytes).and_then(|()| file.sync()).unwrap();
    disk.fs().sync_dir(Path::new(path).parent().unwrap()).unwrap();
}

fn remove(disk: &SimulatedDisk, folder: &str) {
    disk.fs().remove_dir_all(Path::new(folder)).unwrap();
}

#[test]
fn an_older_file_job_that_is_put_back_is_refused_and_names_the_checkpoint_to_go_on_from() {
    for older in 0..3 {
        let (disk, mut jobs) = (SimulatedDisk::new(1), Vec::new());
        for life in 0..4 {
            kill(&disk, life, 120);
            jobs.push(read(&disk, JOB));
        }
        let (newest, before) = (checkpoints(&disk)[0], lines_in(&disk, "/out"));
        write(&disk, JOB, &jobs[older]);
        let (manifest, way_out) =
            (format!("/checkpoints/chk-{newest}/manifest"), format!("`Resume::From({newest})`"));
        let says = [JOB, "is older than the checkpoints beside it", &manifest, "not an older copy", &way_out];
        refused(sums().run(on(&disk, 9)), ErrorKind::State, &says);
        assert_eq!(lines_in(&disk, "/out"), before, "a refusal changes nothing");
        // The one that belongs there.
        write(&disk, JOB, &jobs[3]);
        finish(&sums(), 9, &disk);
        assert_eq!(lines_in(&disk, "/out"), expected());
    }
}

#[test]
fn without_the_file_job_a_job_goes_on_from_the_checkpoint_that_is_named() {
    let disk = SimulatedDisk::new(1);
    kill(&disk, 1, 300);
    disk.fs().remove_file(Path::new(JOB)).unwrap();
    let newest = checkpoints(&disk)[0];
    let way_out = format!("`Resume::From({newest})`");
    refused(sums().run(on(&disk, 2)), ErrorKind::State, &["/checkpoints", &way_out, "not an older copy"]);
    let outcome = sums().run(on(&disk, 2).resume(Resume::From(newest))).unwrap();
    assert_eq!(outcome.end, End::Finished);
    let shown = lines_in(&disk, "/out");
    assert!(expected().iter().all(|line| shown.contains(line)));
    // Nothing stands in the way of what comes after that.
    assert_eq!(finish(&sums(), 3, &disk).end, End::AlreadyFinished);
}

#[test]
fn the_file_job_of_another_job_is_refused() {
    let (disk, other) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    // In a simulation the first histories are all alike, so that these are second ones. The other job has done more, so
    // that its numbers are higher.
    for (disk, lives) in [(&disk, 1), (&other, 3)] {
        (0..lives).for_each(|life| kill(disk, life, 100));
        let anew = simulated(seeded(9).on_disk(disk).die_at(200)).resume(Resume::Nothing);
        assert_eq!(sums().run(anew).unwrap().end, End::Died);
    }
    let before = lines_in(&disk, "/out");
    write(&disk, JOB, &read(&other, JOB));
    let says =
        [JOB, "is not that of the checkpoints beside it", "/manifest", "another job's", "`Resume::From("];
    refused(sums().run(on(&disk, 2)), ErrorKind::State, &says);
    assert_eq!(lines_in(&disk, "/out"), before);
}

/// A job that has finished, whose checkpoint folder is lost.
fn without_checkpoints() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    finish(&sums(), 1, &disk);
    remove(&disk, "/checkpoints");
    disk
}

#[test]
fn output_of_a_history_that_is_lost_is_not_shown_again_unasked() {
    let disk = without_checkpoints();
    let says = [
        "`out`",
        " in /out of the history ",
        "knows nothing",
        "/checkpoints",
        "Resume::Nothing",
        "Config::accept_duplicates",
        "empty the output",
    ];
    for seed in 2..5 {
        refused(sums().run(on(&disk, seed)), ErrorKind::State, &says);
    }
    assert_eq!(lines_in(&disk, "/out"), expected(), "a refusal changes nothing");
}

#[test]
fn each_way_out_of_a_lost_history_is_one_that_is_taken_once() {
    type Way = (&'static str, fn(Config) -> Config, usize);
    let ways: [Way; 2] = [
        ("from nothing", |config| config.resume(Resume::Nothing), 2),
        ("with duplicates", Config::accept_duplicates, 2),
    ];
    for (way, change, times) in ways {
        let disk = without_checkpoints();
        let config = change(simulated(seeded(2).on_disk(&disk).die_at(200)));
        assert_eq!(sums().run(config).unwrap().end, End::Died, "{way}");
        kill(&disk, 3, 120);
        finish(&sums(), 4, &disk);
        assert_eq!(lines_in(&disk, "/out").len(), times * RECORDS as usize, "{way}");
    }
    let disk = without_checkpoints();
    remove(&disk, "/out");
    finish(&sums(), 2, &disk);
    assert_eq!(lines_in(&disk, "/out"), expected());
}

#[test]
fn a_file_job_that_knows_less_than_the_output_shows_is_refused() {
    let disk = SimulatedDisk::new(1);
    kill(&disk, 1, 300);
    let job = read(&disk, JOB);
    // Another history, whose checkpoints go as well.
    sums().run(on(&disk, 2).resume(Resume::Nothing)).unwrap();
    for id in checkpoints(&disk) {
        remove(&disk, &format!("/checkpoints/chk-{id}"));
    }
    write(&disk, JOB, &job);
    let error = sums().run(on(&disk, 3)).unwrap_err().to_string();
    assert!(error.contains("`out`") && error.contains("/checkpoints"), "{error}");
}

#[test]
fn another_operator_may_have_written_into_the_folder() {
    let disk = SimulatedDisk::new(1);
    let others = Topology::new("others");
    others.source("numbers", Generator::bounded(9, |n| n)).sink_exactly_once("others", Files::lines("/out"));
    others.run(on(&disk, 1).checkpoints("/elsewhere")).unwrap();
    finish(&sums(), 1, &disk);
    assert_eq!(lines_in(&disk, "/out").len(), RECORDS as usize + 9);
}

#[test]
fn a_job_goes_on_after_another_one_of_its_program_has_written_into_the_folder() {
    let disk = SimulatedDisk::new(1);
    kill(&disk, 1, 300);
    assert!(!checkpoints(&disk).is_empty());
    let other = on(&disk, 2).checkpoints("/elsewhere").resume(Resume::Nothing);
    assert_eq!(sums().run(other).unwrap().end, End::Finished);
    assert_eq!(finish(&sums(), 3, &disk).end, End::Finished);
    assert_eq!(lines_in(&disk, "/out").len(), 2 * RECORDS as usize);
}

#[test]
fn a_job_whose_checkpoints_are_all_gone_does_not_begin_at_the_start_unasked() {
    let (disk, seen) = (SimulatedDisk::new(1), Arc::new(Mutex::new(0)));
    let topology = Topology::new("at least once");
    let count = Arc::clone(&seen);
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    numbers.key_by(|n| n % 7).reduce("sum", |a, b| a + b).for_each(move |_| *count.lock().unwrap() += 1);
    for seed in 1..3 {
        topology.run(simulated(seeded(seed).on_disk(&disk).die_at(120))).unwrap();
    }
    for id in checkpoints(&disk) {
        remove(&disk, &format!("/checkpoints/chk-{id}"));
    }
    let says = ["is gone, and so are all others", "/checkpoints/chk-", "/manifest", "Resume::Nothing"];
    refused(topology.run(on(&disk, 3)), ErrorKind::State, &says);
    *seen.lock().unwrap() = 0;
    assert_eq!(topology.run(on(&disk, 3).resume(Resume::Nothing)).unwrap().end, End::Finished);
    assert_eq!(*seen.lock().unwrap(), RECORDS);
}

#[test]
fn output_and_savepoints_are_not_put_where_the_job_removes_files() {
    for output in
        ["/checkpoints", "/checkpoints/scratch/out", "/checkpoints/chk-7", "/checkpoints/dead-letters"]
    {
        let topology = Topology::new("sums");
        topology
            .source("numbers", Generator::bounded(9, |n| n))
            .sink_exactly_once("out", Files::lines(output));
        let says = ["the output of `out`", output, "/checkpoints is the checkpoint folder"];
        refused(topology.run(on(&SimulatedDisk::new(1), 1)), ErrorKind::Config, &says);
    }
    for uri in ["/checkpoints", "file:///checkpoints/scratch", "/checkpoints/chk-7/friday"] {
        let disk = SimulatedDisk::new(1);
        let stops = seeded(1).on_disk(&disk).stop_with_savepoint_at(100, uri, watershed::Drain::No);
        let outcome = sums().run(simulated(stops)).unwrap();
        assert_eq!(outcome.end, End::Finished, "a savepoint to {uri} was made");
        assert!(!disk.fs().exists(Path::new("/checkpoints/manifest")).unwrap());
    }
}

#[test]
fn output_is_not_put_where_the_job_has_its_databases() {
    for output in ["/scratch/databases", "/scratch/./databases/out"] {
        let topology = Topology::new("sums");
        topology
            .source("numbers", Generator::bounded(9, |n| n))
            .sink_exactly_once("out", Files::lines(output));
        let says = ["the output of `out`", output, "the job empties /scratch/databases", "`Config::scratch`"];
        refused(topology.run(on(&SimulatedDisk::new(1), 1).scratch("/scratch")), ErrorKind::Config, &says);
    }
}

#[test]
fn output_beside_the_checkpoints_in_their_folder_stays() {
    let (disk, topology) = (SimulatedDisk::new(1), Topology::new("sums"));
    topology
        .source("numbers", Generator::bounded(9, |n| n))
        .sink_exactly_once("out", Files::lines("/checkpoints/out"));
    assert_eq!(topology.run(on(&disk, 1)).unwrap().end, End::Finished);
    assert_eq!(lines_in(&disk, "/checkpoints/out").len(), 9);
}

#[test]
fn a_scratch_folder_that_is_no_folder_is_refused_also_by_a_job_without_databases() {
    // Without output: that would be looked at first, and is on the real disk here.
    let topology = Topology::new("numbers");
    topology.source("numbers", Generator::bounded(1, |n| n)).for_each(|_| {});
    let error = topology.run(Config::local().ignore_signals().scratch("/dev/null")).unwrap_err().to_string();
    assert!(error.contains("/dev/null is no folder") && error.contains("Config::scratch"), "{error}");
}
