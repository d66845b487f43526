//! Files of checkpoints, or all of them, that are taken away while the job runs: it saves anew what it has in memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watershed::prelude::*;
use watershed::{End, ErrorKind, Outcome, Result, RocksDb, SimulatedDisk};
use watershed_runtime::remote::{Client, socket_in};
use watershed_state::Lock;

use crate::fixture::{checkpoints, lines_in, now, pause, seeded, simulated};

const RECORDS: u64 = 800;
/// The record before which something is taken away.
const AT: u64 = 400;

/// Sums numbers by key. Before one of the records something happens to the disk.
fn sums(disk: &SimulatedDisk, happens: impl Fn(&SimulatedDisk) + Send + Sync + 'static) -> Topology {
    let (topology, disk) = (Topology::new("sums"), disk.clone());
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    let numbers = numbers.map(move |n| {
        if n == AT {
            happens(&disk);
        }
        n
    });
    let sums = numbers.key_by(|n| n % 97).reduce("sum", |a, b| a + b).parallelism(1);
    sums.sink_exactly_once("out", Files::lines("/out"));
    topology
}

fn expected() -> Vec<String> {
    let sum = |n: u64| (n % 97..=n).step_by(97).sum::<u64>().to_string();
    let mut lines: Vec<String> = (0..RECORDS).map(sum).collect();
    lines.sort();
    lines
}

fn folder_of(id: u64) -> PathBuf {
    format!("/checkpoints/chk-{id}").into()
}

/// The files of all checkpoints that are complete, but for the manifests.
fn parts(disk: &SimulatedDisk) -> Vec<PathBuf> {
    let parts = |id: u64| {
        let files = disk.fs().list(&folder_of(id)).unwrap().into_iter();
        let paths = files.map(move |file| folder_of(id).join(file.name));
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "part"))
    };
    checkpoints(disk).into_iter().flat_map(parts).collect()
}

fn cut(disk: &SimulatedDisk, path: &Path) {
    let bytes = disk.fs().read(path).unwrap();
    let mut file = disk.fs().create(path).unwrap();
    file.write_all(&bytes[..bytes.len() / 2]).and_then(|()| file.sync()).unwrap();
}

fn remove_parts(disk: &SimulatedDisk) {
    for part in parts(disk) {
        disk.fs().remove_file(&part).unwrap();
    }
}

fn cut_parts(disk: &SimulatedDisk) {
    for part in parts(disk) {
        cut(disk, &part);
    }
}

fn remove_checkpoints(disk: &SimulatedDisk) {
    for id in checkpoints(disk) {
        disk.fs().remove_dir_all(&folder_of(id)).unwrap();
    }
}

/// Its name, and how it is done.
type Loss = (&'static str, fn(&SimulatedDisk));

/// What can happen to the checkpoints of a running job.
const LOSSES: [Loss; 5] = [
    ("all parts are removed", remove_parts),
    ("all parts are cut", cut_parts),
    ("all checkpoints are removed", remove_checkpoints),
    ("the newest manifest is removed", |disk| {
        disk.fs().remove_file(&folder_of(checkpoints(disk)[0]).join("manifest")).unwrap();
    }),
    ("the folder is removed", |disk| disk.fs().remove_dir_all(Path::new("/checkpoints")).unwrap()),
];

#[test]
fn a_job_whose_checkpoints_are_lost_saves_all_that_it_has_and_goes_on() {
    for (loss, happens) in LOSSES {
        for seed in 0..5 {
            let (disk, before) = (SimulatedDisk::new(seed), Arc::new(Mutex::new(0)));
            let seen = Arc::clone(&before);
            let topology = sums(&disk, move |disk| {
                *seen.lock().unwrap() = checkpoints(disk)[0];
                happens(disk);
            });
            let config = || simulated(seeded(seed).on_disk(&disk));
            let outcome = topology.run(config()).unwrap();
            let before = *before.lock().unwrap();
            assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0), "{loss}");
            assert!(before > 1 && outcome.checkpoint > Some(before + 1), "{loss}: {outcome:?}");
            assert_eq!(lines_in(&disk, "/out"), expected(), "{loss}");
            // What it leaves can be read, down to each file.
            assert_eq!(topology.run(config()).unwrap().end, End::AlreadyFinished, "{loss}");
            assert_eq!(lines_in(&disk, "/out"), expected(), "{loss}");
        }
    }
}

/// Numbers some of which go to the dead letters, and something that happens to the disk before one of them.
fn with_letters(disk: &SimulatedDisk, happens: impl Fn(&SimulatedDisk) + Send + Sync + 'static) -> Topology {
    let (topology, disk) = (Topology::new("letters"), disk.clone());
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    numbers
        .supervise(Supervision::quarantine().at_most_fraction(1.0))
        .try_map(move |n| {
            if n == AT {
                happens(&disk);
            }
            if n % 10 == 7 { Err("it ends in seven".into()) } else { Ok(n) }
        })
        .sink_exactly_once("out", Files::lines("/out"));
    topology
}

#[test]
fn a_job_whose_dead_letters_went_with_the_checkpoint_folder_goes_on() {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let topology = with_letters(&disk, |disk| {
            disk.fs().remove_dir_all(Path::new("/checkpoints")).unwrap();
        });
        let outcome = topology.run(simulated(seeded(seed).on_disk(&disk))).unwrap();
        assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0));
        let mut expected: Vec<_> = (0..RECORDS).filter(|n| n % 10 != 7).map(|n| n.to_string()).collect();
        expected.sort();
        assert_eq!(lines_in(&disk, "/out"), expected);
        let later = lines_in(&disk, "/checkpoints/dead-letters/numbers");
        assert!((1..80).contains(&later.len()), "those that came afterwards: {}", later.len());
    }
}

/// The hidden file into which a sink writes.
fn being_written(disk: &SimulatedDisk) -> Option<PathBuf> {
    let names = disk.fs().list(Path::new("/out")).unwrap().into_iter().map(|file| file.name);
    let mut hidden = names.filter(|name| name.starts_with(".pending-"));
    hidden.next().map(|name| Path::new("/out").join(name))
}

#[test]
fn output_that_is_removed_while_it_is_written_is_written_again() {
    for seed in 0..5 {
        let (disk, removed) = (SimulatedDisk::new(seed), Arc::new(Mutex::new(None)));
        let (topology, on, seen) = (Topology::new("long"), disk.clone(), Arc::clone(&removed));
        let line = |n| format!("{n:0>20000}");
        let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
        numbers
            .map(move |n| {
                let mut seen = seen.lock().unwrap();
                if n >= AT && seen.is_none() {
                    *seen = being_written(&on);
                    seen.iter().for_each(|path| on.fs().remove_file(path).unwrap());
                }
                line(n)
            })
            .sink_exactly_once("out", Files::lines("/out"));
        // No checkpoint before the last one: the file is not prepared yet.
        let config = simulated(seeded(seed).on_disk(&disk)).checkpoint_interval(Duration::from_hours(1));
        let outcome = topology.run(config).unwrap();
        assert!(removed.lock().unwrap().is_some(), "nothing was being written");
        assert_eq!((outcome.end, outcome.restarts), (End::Finished, 1));
        assert!(lines_in(&disk, "/out") == (0..RECORDS).map(line).collect::<Vec<_>>(), "lines are lost");
    }
}

#[test]
fn a_region_that_fails_before_all_is_saved_anew_ends_the_job_with_the_name_of_the_file() {
    let disk = SimulatedDisk::new(1);
    let topology = sums(&disk, |disk| {
        remove_parts(disk);
        panic!("and that, too");
    });
    let error = topology.run(simulated(seeded(1).on_disk(&disk))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::State, "{error}");
    for says in ["cannot be restored", "/checkpoints/chk-", ".part", "it is missing"] {
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// So many restarts take their numbers from those that the start has reserved; the one after them needs the folder.
const RESERVED: u32 = 63;

/// Fails until there is no number left and the last failure has done something to the disk.
fn restarts(disk: &SimulatedDisk, interval: Duration, happens: fn(&SimulatedDisk)) -> Result<Outcome> {
    let failures = AtomicU32::new(0);
    let topology = sums(disk, move |disk| {
        let before = failures.fetch_add(1, Ordering::Relaxed);
        if before == RESERVED {
            happens(disk);
        }
        assert!(before > RESERVED, "it fails again");
    });
    let config = simulated(seeded(1).on_disk(disk)).checkpoint_interval(interval);
    topology.run(config.restart(Restart::from_snapshot().at_most(1_000, Duration::from_hours(1))))
}

/// No checkpoint meets the disk before a restart does.
const NEVER: Duration = Duration::from_hours(1);

#[test]
fn a_region_that_restarts_while_the_folder_is_gone_comes_back_and_the_folder_is_made_again() {
    let disk = SimulatedDisk::new(1);
    let outcome = restarts(&disk, NEVER, |disk| disk.fs().remove_dir_all(Path::new("/checkpoints")).unwrap());
    let outcome = outcome.unwrap();
    assert_eq!((outcome.end, outcome.restarts), (End::Finished, RESERVED + 1));
    assert_eq!(lines_in(&disk, "/out"), expected());
    assert_eq!(checkpoints(&disk), [outcome.checkpoint.unwrap()]);
}

#[test]
fn a_region_whose_files_are_in_a_folder_that_is_gone_ends_the_job_and_leaves_its_place_free() {
    let disk = SimulatedDisk::new(1);
    let error = restarts(&disk, millis(2), |disk| {
        assert!(!checkpoints(disk).is_empty());
        disk.fs().remove_dir_all(Path::new("/checkpoints")).unwrap();
    });
    let error = error.unwrap_err().to_string();
    for says in ["/checkpoints was removed or moved", "put the folder back and start the job again"] {
        assert!(error.contains(says), "{error}");
    }
    assert!(!disk.fs().exists(Path::new("/checkpoints")).unwrap());
}

#[test]
fn a_folder_is_not_made_again_while_another_region_is_about_to_restart_from_files_in_it() {
    for seed in 0..5 {
        let disk = SimulatedDisk::new(seed);
        let (topology, on) = (Topology::new("two"), disk.clone());
        let sums = |name: &str, happens: Box<dyn Fn(u64) + Send + Sync>| {
            let numbers = topology.source(name, Generator::bounded(RECORDS, |n| n)).parallelism(1);
            let numbers = numbers.map(move |n| {
                happens(n);
                n
            });
            numbers.key_by(|n| n % 97).reduce(&format!("sum-{name}"), |a, b| a + b).for_each(|_| {});
        };
        sums("steady", Box::new(|_| {}));
        let failing = move |n| {
            if n == AT {
                assert!(!checkpoints(&on).is_empty());
                on.fs().remove_dir_all(Path::new("/checkpoints")).unwrap();
                panic!("and now it is down for a minute");
            }
        };
        sums("failing", Box::new(failing));
        let rarely = Restart::from_snapshot().backoff(minutes(1), minutes(1));
        let error =
            topology.run(simulated(seeded(seed).on_disk(&disk)).restart(rarely)).unwrap_err().to_string();
        for says in
            ["was about to restart from files in there", "put the folder back and start the job again"]
        {
            assert!(error.contains(says), "{error}");
        }
        assert!(!disk.fs().exists(Path::new("/checkpoints")).unwrap());
    }
}

#[test]
fn a_region_that_restarts_while_the_disk_is_full_waits_for_room() {
    let disk = SimulatedDisk::new(1);
    let outcome = restarts(&disk, NEVER, |disk| {
        disk.full_during(1..20);
    })
    .unwrap();
    assert_eq!((outcome.end, outcome.restarts), (End::Finished, RESERVED + 1));
    assert_eq!(lines_in(&disk, "/out"), expected());
}

#[test]
fn a_job_whose_folder_another_one_has_taken_ends_and_writes_nothing_there() {
    let (disk, other) = (SimulatedDisk::new(1), Arc::new(Mutex::new(None::<Box<dyn Lock>>)));
    let taken = Arc::clone(&other);
    let topology = sums(&disk, move |disk| {
        let fs = disk.fs();
        fs.remove_dir_all(Path::new("/checkpoints")).unwrap();
        fs.create_dir_all(Path::new("/checkpoints")).unwrap();
        *taken.lock().unwrap() = fs.lock(Path::new("/checkpoints/lock")).unwrap();
    });
    let error = topology.run(simulated(seeded(1).on_disk(&disk))).unwrap_err();
    assert!(other.lock().unwrap().is_some());
    for says in
        ["/checkpoints", "removed or moved while the job was using it", "another process has begun there"]
    {
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(checkpoints(&disk), Vec::<u64>::new());
    assert!(!disk.fs().exists(Path::new("/checkpoints/job")).unwrap());
}

#[test]
fn on_a_full_disk_no_leftovers_of_checkpoints_pile_up() {
    let (disk, left) = (SimulatedDisk::new(1), Arc::new(Mutex::new(Vec::new())));
    let topology = Topology::new("sums");
    let (on, seen) = (disk.clone(), Arc::clone(&left));
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    let numbers = numbers.map(move |n| {
        match n {
            200 => drop(on.full_during(1..1_000_000)),
            600 => {
                on.mend();
                let fs = on.fs();
                for file in fs.list(Path::new("/checkpoints")).unwrap() {
                    let folder = Path::new("/checkpoints").join(&file.name);
                    if file.name.starts_with("chk-") && !fs.exists(&folder.join("manifest")).unwrap() {
                        seen.lock().unwrap().push(file.name);
                    }
                }
            }
            _ => {}
        }
        n
    });
    numbers.key_by(|n| n % 97).reduce("sum", |a, b| a + b).parallelism(1).for_each(|_| {});
    let outcome = topology
        .run(simulated(seeded(1).on_disk(&disk)).checkpoint_interval(Duration::from_micros(100)))
        .unwrap();
    assert_eq!(outcome.end, End::Finished);
    // Of the one in the making, and of the one before it, which is being cleared away.
    assert!(left.lock().unwrap().len() <= 2, "{left:?}");
}

/// An endless job on the real disk.
fn endless(output: &Path) -> Topology {
    let topology = Topology::new("endless");
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).rate(2_000.0).parallelism(1);
    let sums = numbers.key_by(|n| n % 97).reduce("sum", |a, b| a + b);
    sums.sink_exactly_once("out", Files::lines(output));
    topology
}

/// Waits until something is there, for as long as a test may take.
fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let begin = now();
    while !is_there() {
        assert!(begin.elapsed().as_secs() < 60, "{what} does not come");
        pause(millis(5));
    }
}

fn has_manifest(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.path().join("manifest").exists())
}

#[test]
fn a_folder_that_is_moved_under_a_running_job_is_made_again_and_neither_can_be_taken_by_another() -> Result<()>
{
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let config =
        |name: &str| Config::local().checkpoints(path(name)).checkpoint_interval(millis(20)).ignore_signals();
    let job = endless(&path("out")).start(config("state"))?;
    wait_for("a checkpoint", || has_manifest(&path("state")));
    std::fs::rename(path("state"), path("moved")).unwrap();
    wait_for("a checkpoint in the folder that is made again", || has_manifest(&path("state")));
    // Who wants to ask the job finds it where it was.
    wait_for("the control socket", || {
        Client::connect(&socket_in(&path("state"))).is_ok_and(|mut client| client.tree().is_ok())
    });
    for name in ["state", "moved"] {
        let refused = endless(&path("out")).run(config(name)).unwrap_err();
        assert!(refused.to_string().contains("in use by another job"), "{refused}");
    }
    job.stop()?;
    assert_eq!(job.wait()?.end, End::Stopped);
    assert!(!socket_in(&path("state")).exists(), "it is gone with the job");
    Ok(())
}

#[test]
fn a_job_whose_databases_were_in_a_folder_that_is_removed_ends_and_says_so() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let backend = RocksDb::new().memory_bytes(0).cache_entries(4);
    let config = Config::local().checkpoints(&state).checkpoint_interval(millis(20)).ignore_signals();
    let job = endless(&folder.path().join("out")).start(config.state_backend(backend))?;
    wait_for("a checkpoint", || has_manifest(&state));
    std::fs::rename(&state, folder.path().join("moved")).unwrap();
    let error = job.wait().unwrap_err().to_string();
    assert!(error.contains("databases") || error.contains("cannot"), "{error}");
    assert!(error.contains(state.to_str().unwrap()), "{error}");
    Ok(())
}
