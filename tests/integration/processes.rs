//! Processes that are killed, stopped, and measured from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use watershed::SinkFn;
use watershed::prelude::*;

use crate::fixture::{now, pause, plain_counts, text, visible_lines};

/// A place for the example `word_count`: its input, output and checkpoints.
struct Place(TempDir);

impl Place {
    fn new(lines: u64) -> Self {
        let place = Self(TempDir::new().unwrap());
        fs::create_dir(place.input()).unwrap();
        // Several files, so that there are several splits.
        for file in 0..4 {
            fs::write(place.input().join(format!("{file}.txt")), text(lines)).unwrap();
        }
        place
    }

    fn input(&self) -> PathBuf {
        self.0.path().join("input")
    }

    fn output(&self) -> PathBuf {
        self.0.path().join("output")
    }

    fn checkpoints(&self) -> PathBuf {
        self.0.path().join("checkpoints")
    }

    fn command(&self, parallelism: usize, delay_us: u64) -> Command {
        let mut command = Command::new(example("word_count"));
        command.arg("--input").arg(self.input()).arg("--output").arg(self.output());
        command.arg("--checkpoints").arg(self.checkpoints()).args(["--checkpoint-interval-ms", "10"]);
        command.args(["--parallelism", &parallelism.to_string(), "--delay-us", &delay_us.to_string()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).env("RUST_LOG", "error");
        command
    }

    /// Runs at full speed to the end and compares.
    fn finish(&self) {
        let output = self.command(2, 0).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(visible_lines(&self.output()), plain_counts(&self.input()));
    }

    /// Waits for the first output of a running process.
    fn wait_for_output(&self) {
        let begin = now();
        while !self.output().exists() || visible_lines(&self.output()).is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(30), "nothing becomes visible");
            pause(Duration::from_millis(2));
        }
    }
}

/// Cargo builds examples beside the tests; `cargo test --test integration` alone does not.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: run `cargo test`, or build the examples first", path.display());
    path
}

fn is_hidden(file: &fs::DirEntry) -> bool {
    file.file_name().as_encoded_bytes().starts_with(b".")
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Sends a signal. The shell has a `kill` of its own, so that no package has to be there.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(sent.success());
}

/// Kills it so often, each time after up to 300 ms, which differ but are the same in each run of the test.
fn kill_again_and_again(times: u64, parallelism: impl Fn(u64) -> usize) {
    kill_in_turn((times, 300), parallelism, |_| "memory");
}

/// The same with another home of the state in each life, and after up to so many milliseconds.
fn kill_in_turn(
    (times, within_ms): (u64, u64),
    parallelism: impl Fn(u64) -> usize,
    state: impl Fn(u64) -> &'static str,
) {
    let place = Place::new(6_000);
    let mut killed = 0;
    for life in 0..times {
        let mut command = place.command(parallelism(life), 5_000);
        let mut child = command.args(["--state", state(life)]).spawn().unwrap();
        pause(Duration::from_millis(life * 7_919 % within_ms));
        // Only a child that is still at work can be killed.
        killed += u64::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(killed, times, "a run ended by itself");
    let files =
        fs::read_dir(place.output()).unwrap().filter(|file| !is_hidden(file.as_ref().unwrap())).count();
    assert!(files > 0, "nothing became visible between the kills");
    place.finish();
}

#[test]
fn a_hundred_kills_at_random_moments_change_nothing() {
    kill_again_and_again(100, |_| 2);
}

#[test]
fn kills_with_another_parallelism_in_each_life_change_nothing() {
    kill_again_and_again(100, |life| 1 + life as usize % 3);
}

/// On a busy machine it takes a while to open five databases: most lives are to get beyond that.
const WITH_DATABASES_MS: u64 = 1_500;

#[test]
fn kills_between_two_five_one_and_three_instances_over_a_database_change_nothing() {
    kill_in_turn((30, WITH_DATABASES_MS), |life| [2, 5, 1, 3][life as usize % 4], |_| "rocksdb");
}

#[test]
fn kills_with_state_in_memory_and_in_a_database_by_turns_change_nothing() {
    kill_in_turn(
        (30, WITH_DATABASES_MS),
        |life| [2, 5, 1, 3][life as usize % 4],
        |life| ["rocksdb", "memory"][life as usize / 2 % 2],
    );
}

/// Threads that keep all cores busy twice over, until this is dropped.
struct Contention {
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Contention {
    fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spin = |over: Arc<AtomicBool>| {
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..2 * cores).map(|_| spin(Arc::clone(&over))).collect();
        Self { over, threads }
    }
}

impl Drop for Contention {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

#[test]
fn kills_while_others_want_all_cores_change_nothing() {
    let wanted = std::env::var("WATERSHED_KILLS").ok().and_then(|kills| kills.parse().ok());
    let _contention = Contention::begin();
    kill_again_and_again(wanted.unwrap_or(50), |life| 1 + life as usize % 2);
}

#[test]
fn sigterm_stops_it_cleanly_and_it_goes_on() {
    let place = Place::new(1_000);
    let child = place.command(2, 2_000).spawn().unwrap();
    place.wait_for_output();
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && said(&output).contains("stopped"), "{}", said(&output));
    place.finish();
    let again = place.command(2, 0).output().unwrap();
    assert!(again.status.success() && said(&again).contains("finished before"), "{}", said(&again));
    assert_eq!(visible_lines(&place.output()), plain_counts(&place.input()));
}

#[test]
fn sigint_stops_it_and_sigusr1_shows_the_tree_with_one_line_a_node() {
    let place = Place::new(1_000);
    let log = place.0.path().join("log");
    let said = || fs::read_to_string(&log).unwrap();
    fs::write(&log, "").unwrap();
    let append = || fs::File::options().append(true).open(&log).unwrap();
    let mut command = place.command(2, 2_000);
    let mut child = command.env("RUST_LOG", "info").stdout(append()).stderr(append()).spawn().unwrap();
    place.wait_for_output();
    signal(&child, "USR1");
    // Signals of different kinds may overtake each other: the tree has to be there before it is asked to stop.
    let begin = now();
    let is_whole =
        |log: &str| log.split_once("on request").is_some_and(|(_, tree)| tree.contains("files[1]"));
    while !is_whole(&said()) {
        assert!(begin.elapsed() < Duration::from_secs(30), "no tree in {}", said());
        pause(Duration::from_millis(2));
    }
    signal(&child, "INT");
    assert!(child.wait().unwrap().success(), "{}", said());
    let log = said();
    assert!(log.contains("supervision tree at the start"), "{log}");
    let (_, tree) = log.split_once("supervision tree on request").unwrap();
    for node in
        ["job word-count", "region 0 state=running", "lines (source)", "lines[1] arbiter=1 state=running"]
    {
        assert!(tree.contains(node), "{node} is missing in {tree}");
    }
    place.finish();
}

#[test]
fn a_second_process_on_the_same_checkpoints_is_refused() {
    let place = Place::new(1_000);
    let mut first = place.command(2, 5_000).spawn().unwrap();
    place.wait_for_output();
    let second = place.command(2, 0).output().unwrap();
    assert!(!second.status.success());
    let folder = place.checkpoints();
    assert!(
        said(&second).contains(folder.to_str().unwrap()) && said(&second).contains("in use"),
        "{}",
        said(&second)
    );
    first.kill().unwrap();
    first.wait().unwrap();
    place.finish();
}

/// Runs a test in a process of its own, whose memory, threads and signals are nobody else's. Returns what it said, but
/// to itself.
pub(crate) fn alone(test: &str, body: impl FnOnce()) -> Option<String> {
    alone_with(test, "", body)
}

/// The same after some commands of the shell.
pub(crate) fn alone_with(test: &str, commands: &str, body: impl FnOnce()) -> Option<String> {
    const ALONE: &str = "WATERSHED_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        body();
        return None;
    }
    let output = Command::new("sh")
        .args(["-c", &format!("{commands} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    assert!(output.status.success() && said(&output).contains("1 passed"), "{}", said(&output));
    Some(said(&output))
}

/// The most memory that this process has had so far, in kilobytes.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn ten_million_records_of_one_take_no_more_memory_than_a_few() {
    alone("processes::ten_million_records_of_one_take_no_more_memory_than_a_few", || {
        let run = |width: u64| {
            let topology = Topology::new("wide");
            topology
                .source("one", Items::of(vec![width]))
                .parallelism(1)
                .flat_map(|width| 0..width)
                .sink("count", counting())
                .parallelism(1);
            let outcome = topology.run(Config::local().ignore_signals()).unwrap();
            outcome.tree.regions[0].operators[1].instances[0].records
        };
        assert_eq!(run(100_000), 100_000);
        let before = most_memory();
        assert_eq!(run(10_000_000), 10_000_000);
        let grown = most_memory() - before;
        assert!(grown < 20_000, "{grown} kB more than for a hundredth of the records");
    });
}

fn counting() -> impl watershed::Sink<In = u64> {
    SinkFn::new(|_| {
        let mut next = 0;
        move |n: u64| {
            let expected = std::mem::replace(&mut next, n + 1);
            if n == expected { Ok(()) } else { Err(format!("{n} where {expected} was due").into()) }
        }
    })
}

#[test]
fn a_sink_that_stops_for_a_while_makes_memory_grow_no_further() {
    alone("processes::a_sink_that_stops_for_a_while_makes_memory_grow_no_further", || {
        const RECORDS: u64 = 100_000_000;
        let run = |stop: Duration| {
            let topology = Topology::new("stop");
            topology
                .source("numbers", Generator::bounded(RECORDS, |n| n))
                .parallelism(1)
                .sink(
                    "stops",
                    SinkFn::new(move |_| {
                        let mut next = 0;
                        move |n: u64| {
                            if n == RECORDS / 2 {
                                pause(stop);
                            }
                            let expected = std::mem::replace(&mut next, n + 1);
                            if n == expected { Ok(()) } else { Err("a record is missing".into()) }
                        }
                    }),
                )
                .parallelism(1);
            let outcome = topology.run(Config::local().ignore_signals()).unwrap();
            assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0));
            outcome.tree.regions[0].operators[1].instances[0].records
        };
        assert_eq!(run(Duration::ZERO), RECORDS);
        let before = most_memory();
        assert_eq!(run(Duration::from_secs(10)), RECORDS);
        let grown = most_memory() - before;
        assert!(grown < 20_000, "{grown} kB more because the sink stood still");
    });
}
