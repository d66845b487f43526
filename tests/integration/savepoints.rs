//! Savepoints: made in the middle of the work, moved, and started from.

use std::path::Path;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Claim, Collector, Drain, ErrorKind, Resume, RocksDb, SimulatedDisk, StateBackend};
use watershed_state::{CheckpointStore, SnapshotPlace, read_savepoint};

use crate::fixture::{
    compare, expected_payments, finish, lines_in_files, payments, seeded, shown_payments, simulated, text,
    visible_lines, word_counts,
};

const SAVEPOINT: &str = "file:///savepoints/1";

fn place(disk: &SimulatedDisk, uri: &str) -> SnapshotPlace {
    SnapshotPlace::parse_on(uri, &disk.fs()).unwrap()
}

fn exists(disk: &SimulatedDisk, uri: &str) -> bool {
    read_savepoint(&place(disk, uri)).is_ok()
}

fn over_a_database() -> StateBackend {
    RocksDb::new().memory_bytes(0).cache_entries(3).into()
}

#[test]
fn a_job_goes_on_beside_its_savepoint_and_another_can_start_from_it() {
    let expected = expected_payments();
    let mut made = 0;
    for seed in 0..40 {
        let disk = SimulatedDisk::new(seed);
        let simulation = seeded(seed).on_disk(&disk).savepoint_at(20 + seed * 7, SAVEPOINT);
        let outcome = payments().run(simulated(simulation)).unwrap();
        assert_eq!(outcome.end, End::Finished);
        compare(&shown_payments(&disk), &expected, &format!("seed {seed}"));
        if !exists(&disk, SAVEPOINT) {
            continue;
        }
        made += 1;
        // Nothing of the job's own checkpoints is needed.
        disk.fs().remove_dir_all(Path::new("/checkpoints")).unwrap();
        let config = simulated(seeded(seed + 1).on_disk(&disk)).start_from(SAVEPOINT, Claim::No);
        payments().run(config.parallelism(1 + seed as usize % 4)).unwrap();
        // What the one had shown up to the savepoint, and what the other has shown since, are all there is to show.
        let manifest = read_savepoint(&place(&disk, SAVEPOINT)).unwrap();
        let counts = |name: &str| {
            let numbers: Vec<&str> = name.split('-').collect();
            numbers[1] != manifest.lineage || numbers[2].parse::<u64>().unwrap() <= manifest.checkpoint
        };
        for (folder, expected) in &expected {
            assert_eq!(&lines_in_files(&disk, folder, counts), expected, "seed {seed}");
        }
        assert!(exists(&disk, SAVEPOINT), "it belongs to whoever made it");
    }
    assert!(made > 30, "{made} savepoints of 40");
}

/// Stops it with a savepoint again and again, and starts it from there with another parallelism in another checkpoint
/// folder; every other start dies on the way.
fn move_about(backend: impl Fn(u64) -> StateBackend) {
    let expected = expected_payments();
    let mut moves = 0;
    for seed in 0..30 {
        let disk = SimulatedDisk::new(seed);
        let mut from: Option<String> = None;
        for (step, parallelism) in [2, 5, 1, 3].into_iter().enumerate() {
            let to = format!("file:///savepoints/{step}");
            let config = |life: u64, stop: u64| {
                let mut simulation = seeded(seed * 100 + life).on_disk(&disk);
                simulation =
                    if life.is_multiple_of(2) { simulation.die_at(15 + life * 31 % 60) } else { simulation };
                let simulation = simulation.stop_with_savepoint_at(stop, &to, Drain::No);
                let config = simulated(simulation)
                    .checkpoints(format!("/checkpoints-{step}"))
                    .parallelism(parallelism)
                    .state_backend(backend(life));
                match &from {
                    Some(from) => config.start_from(from, Claim::No),
                    None => config,
                }
            };
            // The first life dies, the second one is stopped; if it was not yet, there is another.
            for life in 0..10 {
                let outcome = payments().run(config(life + 10 * step as u64, 25 + seed)).unwrap();
                if matches!(outcome.end, End::Stopped | End::Finished | End::AlreadyFinished) {
                    break;
                }
            }
            if !exists(&disk, &to) {
                break;
            }
            moves += 1;
            from = Some(to);
        }
        let config = simulated(seeded(seed).on_disk(&disk)).checkpoints("/checkpoints-last");
        let config = match &from {
            Some(from) => config.start_from(from, Claim::No),
            None => config.checkpoints("/checkpoints-0"),
        };
        payments().run(config).unwrap();
        compare(&shown_payments(&disk), &expected, &format!("seed {seed}"));
    }
    assert!(moves > 60, "{moves} moves");
}

#[test]
fn a_job_with_timers_is_moved_from_two_to_five_to_one_to_three_instances_and_killed_in_between() {
    move_about(|_| StateBackend::Memory);
}

#[test]
fn so_it_is_over_a_database_and_from_one_backend_to_the_other() {
    move_about(|_| over_a_database());
    move_about(|life| if life.is_multiple_of(2) { over_a_database() } else { StateBackend::Memory });
}

#[test]
fn a_process_that_is_killed_goes_on_from_its_own_checkpoints_and_not_from_the_savepoint_again() {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let stop = seeded(seed).on_disk(&disk).stop_with_savepoint_at(40, SAVEPOINT, Drain::No);
        payments().run(simulated(stop).checkpoints("/first")).unwrap();
        for life in 0..20 {
            let simulation = seeded(seed * 50 + life).on_disk(&disk).die_at(30 + life * 17 % 120);
            payments().run(simulated(simulation).start_from(SAVEPOINT, Claim::No)).unwrap();
        }
        payments().run(simulated(seeded(seed).on_disk(&disk)).start_from(SAVEPOINT, Claim::No)).unwrap();
        compare(&shown_payments(&disk), &expected_payments(), &format!("seed {seed}"));
    }
}

#[test]
fn the_history_that_began_at_a_savepoint_is_known_also_if_a_start_does_not_name_it() {
    let disk = SimulatedDisk::new(9);
    let stop = seeded(9).on_disk(&disk).stop_with_savepoint_at(40, SAVEPOINT, Drain::No);
    payments().run(simulated(stop).checkpoints("/first")).unwrap();
    let config = |life: u64| simulated(seeded(900 + life).on_disk(&disk).die_at(8));
    payments().run(config(0).start_from(SAVEPOINT, Claim::No)).unwrap();
    // It has died before its first checkpoint: without the savepoint it would begin at the beginning.
    let refused = payments().run(config(1)).unwrap_err().to_string();
    assert!(refused.contains("began at the savepoint file:///savepoints/1"), "{refused}");
    assert!(refused.contains("Config::start_from(\"file:///savepoints/1\""), "{refused}");

    let stop = |life: u64| simulated(seeded(900 + life).on_disk(&disk).stop_at(60));
    payments().run(stop(2).start_from(SAVEPOINT, Claim::No)).unwrap();
    payments().run(stop(3)).unwrap();
    payments().run(simulated(seeded(904).on_disk(&disk)).start_from(SAVEPOINT, Claim::No)).unwrap();
    compare(&shown_payments(&disk), &expected_payments(), "named, not named, and named again");
}

#[test]
fn a_savepoint_that_is_claimed_goes_when_the_job_has_a_checkpoint_of_its_own() {
    let disk = SimulatedDisk::new(1);
    let stop = seeded(1).on_disk(&disk).stop_with_savepoint_at(40, SAVEPOINT, Drain::No);
    let stopped = payments().run(simulated(stop).checkpoints("/first")).unwrap();
    assert_eq!(stopped.end, End::Stopped);
    let config = simulated(seeded(2).on_disk(&disk)).start_from(SAVEPOINT, Claim::Yes);
    payments().run(config).unwrap();
    compare(&shown_payments(&disk), &expected_payments(), "after a claim");
    assert!(!disk.fs().exists(Path::new("/savepoints/1")).unwrap());
}

#[test]
fn what_else_is_below_the_folder_of_a_claimed_savepoint_stays() {
    let disk = SimulatedDisk::new(1);
    let stop = |uri: &str| seeded(1).on_disk(&disk).stop_with_savepoint_at(40, uri, Drain::No);
    payments().run(simulated(stop("/data")).checkpoints("/first")).unwrap();
    let anew = simulated(stop("/data/other")).checkpoints("/second").resume(Resume::Nothing);
    payments().run(anew).unwrap();
    let config = simulated(seeded(2).on_disk(&disk)).checkpoints("/data/mine");
    payments().run(config.start_from("/data", Claim::Yes)).unwrap();
    assert!(!exists(&disk, "/data") && exists(&disk, "/data/other"));
    assert!(disk.fs().exists(Path::new("/data/mine/job")).unwrap());
    let names: Vec<String> =
        disk.fs().list(Path::new("/data")).unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["mine", "other"]);
}

#[test]
fn a_newer_savepoint_at_the_place_of_the_claimed_one_is_kept() {
    let disk = SimulatedDisk::new(1);
    let stop = seeded(1).on_disk(&disk).stop_with_savepoint_at(40, SAVEPOINT, Drain::No);
    payments().run(simulated(stop).checkpoints("/first")).unwrap();
    let first = read_savepoint(&place(&disk, SAVEPOINT)).unwrap();
    // It has gone by the time that the next one is made there.
    let stop = seeded(2).on_disk(&disk).stop_with_savepoint_at(200, SAVEPOINT, Drain::No);
    let stopped = payments().run(simulated(stop).start_from(SAVEPOINT, Claim::Yes)).unwrap();
    assert_eq!(stopped.end, End::Stopped);
    let newer = read_savepoint(&place(&disk, SAVEPOINT)).unwrap();
    assert_ne!(newer.id(), first.id());
    payments().run(simulated(seeded(3).on_disk(&disk)).start_from(SAVEPOINT, Claim::Yes)).unwrap();
    compare(&shown_payments(&disk), &expected_payments(), "in the history that began at the first");
    assert_eq!(read_savepoint(&place(&disk, SAVEPOINT)).unwrap(), newer);
}

#[test]
fn the_savepoint_that_a_history_began_at_is_the_same_however_it_is_written() {
    let disk = SimulatedDisk::new(4);
    let stop = seeded(4).on_disk(&disk).stop_with_savepoint_at(40, SAVEPOINT, Drain::No);
    payments().run(simulated(stop).checkpoints("/first")).unwrap();
    let mut lineages = std::collections::BTreeSet::new();
    for (life, uri) in
        [SAVEPOINT, "/savepoints/1", "file:/savepoints/1/", "/savepoints//1"].into_iter().enumerate()
    {
        let simulation = seeded(40 + life as u64).on_disk(&disk).die_at(150);
        payments().run(simulated(simulation).start_from(uri, Claim::No)).unwrap();
        let store = CheckpointStore::open(place(&disk, "/checkpoints").objects).unwrap();
        lineages.insert(store.identity().unwrap().unwrap().lineage);
    }
    assert_eq!(lineages.len(), 1, "it is one history");
    payments().run(simulated(seeded(4).on_disk(&disk)).start_from(SAVEPOINT, Claim::No)).unwrap();
    compare(&shown_payments(&disk), &expected_payments(), "after starts by several names");
}

#[test]
fn a_drained_job_shows_what_waits_for_event_time_and_its_sources_can_be_read_on() {
    let disk = SimulatedDisk::new(3);
    let drain = seeded(3).on_disk(&disk).stop_with_savepoint_at(60, SAVEPOINT, Drain::Yes);
    let drained = payments().run(simulated(drain)).unwrap();
    assert_eq!(drained.end, End::Stopped);
    let seen = |shown: &[String], what: &str| shown.iter().filter(|line| line.contains(what)).count();
    let shown = &shown_payments(&disk)["/out/entries"];
    let (cards, closed) = (seen(shown, "Seen"), seen(shown, "Closed"));
    assert!(cards > 0 && closed > 0, "{cards} payments, {closed} periods closed");
    // Every card whose payments were seen has been closed: nothing waits.
    let expected = &expected_payments()["/out/entries"];
    assert!(cards < seen(expected, "Seen"), "the sources were read to their end");

    finish(&payments(), 4, &disk);
    let all = seen(&shown_payments(&disk)["/out/entries"], "Seen");
    assert_eq!(all, seen(expected, "Seen"), "what was not read before the drain is read after it");
}

/// Counts the records of each of so many keys.
struct Count(u64);

impl Process for Count {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, n: u64, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.emit((n % self.0, *count));
        Ok(())
    }
}

/// Counts that are saved under one name and taken up under another.
fn counts(name: &str, former: Option<&str>, shown: &Collector<(u64, u64)>) -> Topology {
    let topology = Topology::new("counts");
    let numbers = topology.source("numbers", Generator::bounded(300, |n| n)).parallelism(1);
    let counted = numbers.key_by(|n| n % 5).actor(name, Count(5));
    let counted = match former {
        Some(former) => counted.formerly(former),
        None => counted,
    };
    counted.sink_exactly_once("shown", shown.sink());
    topology
}

#[test]
fn a_renamed_actor_takes_its_state_up_if_the_code_says_what_it_was_called() {
    let (disk, shown) = (SimulatedDisk::new(5), Collector::new());
    let stop = seeded(5).on_disk(&disk).stop_with_savepoint_at(60, SAVEPOINT, Drain::No);
    counts("count", None, &shown).run(simulated(stop).checkpoints("/first")).unwrap();
    let config = || simulated(seeded(6).on_disk(&disk)).start_from(SAVEPOINT, Claim::No);

    let refused = counts("tally", None, &shown).run(config()).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Config);
    let text = refused.to_string();
    assert!(text.contains("`count`") && text.contains("formerly(\"count\")"), "{text}");
    assert!(text.contains("drop_state_of(\"count\")"), "{text}");

    counts("tally", Some("count"), &shown).run(config()).unwrap();
    let mut all = shown.take();
    all.sort_unstable();
    let expected: Vec<(u64, u64)> = (0..5).flat_map(|key| (1..=60).map(move |nth| (key, nth))).collect();
    assert_eq!(all, expected);
}

#[test]
fn what_cannot_be_started_from_is_refused_with_the_reason() {
    let disk = SimulatedDisk::new(7);
    let stop = seeded(7).on_disk(&disk).stop_with_savepoint_at(40, SAVEPOINT, Drain::No);
    payments().run(simulated(stop).checkpoints("/first")).unwrap();
    let refused = |config: Config| payments().run(config).unwrap_err().to_string();
    let config = || simulated(seeded(8).on_disk(&disk));

    let nothing = refused(config().start_from("file:///savepoints/2", Claim::No));
    assert!(nothing.contains("/savepoints/2 holds no savepoint"), "{nothing}");
    let scheme = refused(config().start_from("s3://bucket/1", Claim::No));
    assert!(scheme.contains("knows `file://` and `memory://`"), "{scheme}");
    let beside = payments().run(config().checkpoints("/savepoints/1")).unwrap_err();
    assert_eq!(beside.kind, ErrorKind::Config);
    assert!(beside.to_string().contains("/savepoints/1 holds a savepoint"), "{beside}");
    let groups = refused(config().key_groups(64).unwrap().start_from(SAVEPOINT, Claim::No));
    assert!(groups.contains("128 key groups") && groups.contains("Config::key_groups(128)"), "{groups}");

    // Every file of it is read before anything starts: one that is changed, cut off or gone is found and named.
    let savepoint = place(&disk, SAVEPOINT);
    let manifest = read_savepoint(&savepoint).unwrap();
    let mut found = 0;
    for file in manifest.files() {
        let path = savepoint.objects.location(&file.path);
        let bytes = disk.fs().read(&path).unwrap();
        let write = |bytes: &[u8]| disk.fs().create(&path).unwrap().write_all(bytes).unwrap();
        for at in (0..bytes.len()).step_by(97) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            write(&damaged);
            let error = read_savepoint(&savepoint).unwrap_err().to_string();
            assert!(error.contains(&*path.to_string_lossy()), "{error}");
            found += 1;
        }
        write(&bytes[..bytes.len() - 1]);
        let cut = refused(config().start_from(SAVEPOINT, Claim::No));
        assert!(cut.contains(&*path.to_string_lossy()), "{cut}");
        disk.fs().remove_file(&path).unwrap();
        let gone = refused(config().start_from(SAVEPOINT, Claim::No));
        assert!(gone.contains(&*path.to_string_lossy()), "{gone}");
        write(&bytes);
    }
    assert!(found > 10, "{found} changes");
    payments().run(config().start_from(SAVEPOINT, Claim::No)).unwrap();
    compare(&shown_payments(&disk), &expected_payments(), "once it is whole again");
}

#[test]
fn a_running_job_answers_when_its_savepoint_is_there_or_cannot_be() {
    let folder = TempDir::new().unwrap();
    let uri = |name: &str| format!("file://{}", folder.path().join(name).display());
    let topology = Topology::new("numbers");
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).rate(10_000.0);
    numbers.key_by(|n| n % 100).actor("count", Count(100)).for_each(|_| {});
    let config = || Config::local().checkpoints(folder.path().join("state")).ignore_signals();
    let job = topology.start(config()).unwrap();

    let made = job.savepoint(&uri("one")).unwrap();
    assert!(made.checkpoint > 0 && made.bytes > 0 && made.uri == uri("one"));
    let again = job.savepoint(&uri("one")).unwrap_err().to_string();
    assert!(again.contains("holds a savepoint already"), "{again}");
    let state = job.savepoint(&uri("state")).unwrap_err().to_string();
    assert!(
        state.contains("is the checkpoint folder of a job") && state.contains("the job goes on"),
        "{state}"
    );
    let scheme = job.savepoint("ftp://x/y").unwrap_err();
    assert_eq!(scheme.kind, ErrorKind::Config);
    let in_memory = job.savepoint("memory://savepoints/running").unwrap();
    assert!(in_memory.checkpoint > made.checkpoint);

    let last = job.stop_with_savepoint(&uri("last"), Drain::No).unwrap();
    let outcome = job.wait().unwrap();
    assert_eq!((outcome.end, outcome.checkpoint), (End::Stopped, Some(last.checkpoint)));
    for from in [uri("one"), uri("last"), "memory://savepoints/running".to_string()] {
        let state = TempDir::new().unwrap();
        let job = topology.start(config().checkpoints(state.path()).start_from(&from, Claim::No)).unwrap();
        job.savepoint(&format!("{from}-again")).unwrap();
        job.cancel().unwrap();
        job.wait().unwrap();
    }
}

#[test]
fn words_are_counted_exactly_once_across_savepoints_on_a_real_disk() {
    let folder = TempDir::new().unwrap();
    let (input, output) = (folder.path().join("input"), folder.path().join("output"));
    std::fs::create_dir(&input).unwrap();
    let file = input.join("text.txt");
    std::fs::write(&file, text(12_000)).unwrap();
    let topology = word_counts(&file, &output);
    let mut from: Option<String> = None;
    for (step, parallelism) in [2, 5, 1, 3].into_iter().enumerate() {
        let to = folder.path().join(format!("savepoint-{step}")).display().to_string();
        let mut config = Config::local()
            .checkpoints(folder.path().join(format!("state-{step}")))
            .checkpoint_interval(millis(5))
            .parallelism(parallelism)
            .state_backend(RocksDb::new().cache_entries(50))
            .ignore_signals();
        if let Some(from) = &from {
            config = config.start_from(from, Claim::No);
        }
        let job = topology.start(config).unwrap();
        // It may have finished before it is asked.
        if step < 3 && job.stop_with_savepoint(&to, Drain::No).is_ok() {
            from = Some(to);
        }
        job.wait().unwrap();
    }
    assert_eq!(visible_lines(&output), crate::fixture::plain_counts(&input));
}
