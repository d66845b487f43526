//! Processes that rescale themselves and are killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{RocksDb, StateBackend};

use crate::fixture::{now, pause, plain_counts, text, visible_lines};
use crate::rescale::words;

const FOLDER: &str = "WATERSHED_TEST_RESCALE_FOLDER";
const STATE: &str = "WATERSHED_TEST_RESCALE_STATE";

fn config(folder: &Path, rocksdb: bool) -> Config {
    let backend = if rocksdb { RocksDb::new().cache_entries(50).into() } else { StateBackend::Memory };
    let config = Config::local().checkpoints(folder.join("state")).checkpoint_interval(millis(20));
    config.parallelism(2).state_backend(backend).ignore_signals()
}

/// What a child does: it counts words, and rescales without a pause.
fn count_and_rescale(folder: &Path) {
    let rocksdb = std::env::var_os(STATE).is_some_and(|state| state == "rocksdb");
    let topology = words(&folder.join("text"), &folder.join("output"), 2_000.0);
    let job = topology.start(config(folder, rocksdb)).unwrap();
    let mut rescaled = 0;
    for (operator, instances) in
        [("count", 5), ("count", 1), ("lines", 3), ("count", 3), ("lines", 2)].iter().cycle()
    {
        match job.rescale(operator, *instances) {
            Ok(_) => rescaled += 1,
            Err(error) if error.to_string().contains("it has so many already") => {}
            // It has ended, or is about to.
            Err(_) => break,
        }
        std::fs::write(folder.join("rescaled"), format!("{rescaled}")).unwrap();
    }
    job.wait().unwrap();
}

#[test]
fn a_child_counts_words_and_rescales_itself() {
    // Only as the child of another test.
    if let Some(folder) = std::env::var_os(FOLDER) {
        count_and_rescale(Path::new(&folder));
    }
}

fn start_child(folder: &Path, rocksdb: bool) -> Child {
    let (_, module) = module_path!().split_once("::").unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::a_child_counts_words_and_rescales_itself")])
        .env(FOLDER, folder)
        .env(STATE, if rocksdb { "rocksdb" } else { "memory" })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// How often the child has rescaled itself.
fn rescaled(folder: &Path) -> u64 {
    std::fs::read_to_string(folder.join("rescaled")).ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Kills so many children, each some milliseconds after it has rescaled itself a few times, then finishes the work.
fn kill(times: u64, rocksdb: fn(u64) -> bool) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("text"), text(16_000)).unwrap();
    for life in 0..times {
        let _ = std::fs::remove_file(folder.path().join("rescaled"));
        let mut child = start_child(folder.path(), rocksdb(life));
        let begin = now();
        while rescaled(folder.path()) < 1 + life % 3 {
            assert!(begin.elapsed() < Duration::from_mins(1), "life {life}: it is never rescaled");
            assert!(child.try_wait().unwrap().is_none(), "life {life}: it ended by itself");
            pause(Duration::from_millis(1));
        }
        // Somewhere in the next one, or in the one after that.
        pause(Duration::from_millis(life * 7_919 % 120));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (input, output) = (folder.path().join("text"), folder.path().join("output"));
    let outcome = words(&input, &output, 1e9).run(config(folder.path(), false)).unwrap();
    assert_eq!(outcome.end, End::Finished);
    assert_eq!(visible_lines(&output), plain_counts(&input));
}

#[test]
fn children_that_rescale_themselves_and_are_killed_count_every_word_once() {
    kill(25, |_| false);
}

#[test]
fn so_they_do_over_a_database_and_from_one_backend_to_the_other() {
    kill(15, |life| life % 3 < 2);
}
