//! The tool, run against jobs of this process.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Job, Tree};
use watershed_runtime::remote::{Sample, socket_in};

fn watershed(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watershed"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(arguments: &[&str]) -> Child {
    watershed(arguments).spawn().unwrap()
}

/// What a successful run has printed.
fn printed(arguments: &[&str]) -> String {
    let output = watershed(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", complaint(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a run that fails has to say.
fn refused(arguments: &[&str]) -> String {
    let output = watershed(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?} worked: {}", String::from_utf8_lossy(&output.stdout));
    complaint(&output)
}

/// A job that counts words without end, with its checkpoints in a folder of its own.
struct Running {
    folder: TempDir,
    job: Option<Job>,
}

impl Running {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let topology = Topology::new("counting");
        topology
            .source("words", Generator::unbounded(|n| format!("word{}", n % 50)))
            .parallelism(2)
            .rate(20_000.0)
            .event_time(|word| word.len() as i64, Lateness::none())
            .key_by(String::clone)
            .reduce("count", Ord::max)
            .for_each(|_| {});
        let config = Config::local().parallelism(2).checkpoints(folder.path());
        let job = topology.start(config.checkpoint_interval(millis(50))).unwrap();
        Self { folder, job: Some(job) }
    }

    fn dir(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn socket(&self) -> String {
        socket_in(self.folder.path()).to_str().unwrap().to_string()
    }

    fn end(mut self) {
        let job = self.job.take().unwrap();
        job.cancel().unwrap();
        job.wait().unwrap();
    }
}

#[test]
fn the_tree_of_a_running_job_is_printed_once_into_a_pipe() {
    let running = Running::new();
    for arguments in [
        vec!["tree", running.dir(), "--interval-ms", "100"],
        vec!["tree", "--socket", &running.socket(), "--once", "--interval-ms", "100"],
        vec!["tree", &running.socket(), "--interval-ms", "100"],
    ] {
        let text = printed(&arguments);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("counting  "), "{text}");
        for node in
            ["region 0  running", "  words (source)", "    words[1]", "  count (process)", "    count[1]"]
        {
            assert_eq!(lines.iter().filter(|line| line.starts_with(node)).count(), 1, "{node} in {text}");
        }
        assert!(!text.contains('\x1b'), "{text}");
    }
    running.end();
}

#[test]
fn the_tree_as_json_is_that_of_the_job() {
    let running = Running::new();
    let tree: Tree = serde_json::from_str(&printed(&["tree", running.dir(), "--json"])).unwrap();
    let own = running.job.as_ref().unwrap().tree().unwrap();
    assert_eq!((&tree.job, &tree.lineage), (&own.job, &own.lineage));
    let earlier = tree.instance("count", 1).unwrap();
    let later = own.instance("count", 1).unwrap();
    assert_eq!((earlier.run, earlier.mailbox_capacity), (later.run, later.mailbox_capacity));
    assert!(earlier.records <= later.records);
    assert!(tree.taken_nanos < own.taken_nanos);
    running.end();
}

#[test]
fn a_tap_shows_records_with_key_and_time() {
    let running = Running::new();
    let lines = printed(&["tap", running.dir(), "count", "--limit", "5", "--json"]);
    let samples: Vec<Sample> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(samples.len(), 5);
    for sample in samples {
        assert_eq!(sample.operator, "count");
        assert!(sample.record.get().starts_with("\"word"), "{sample:?}");
        assert_eq!(sample.key.unwrap().get(), sample.record.get());
        assert_eq!(sample.timestamp, Some(sample.record.get().len() as i64 - 2));
    }
    let lines = printed(&["tap", "--socket", &running.socket(), "words", "--limit", "3"]);
    assert_eq!(lines.lines().count(), 3);
    assert!(lines.lines().all(|line| line.starts_with("words[") && line.contains("]  \"word")), "{lines}");
    running.end();
}

#[test]
fn two_taps_at_once_both_see_records() {
    let running = Running::new();
    let mut taps: Vec<Child> = (0..2).map(|_| start(&["tap", running.dir(), "count", "--json"])).collect();
    let mut outputs: Vec<_> =
        taps.iter_mut().map(|tap| BufReader::new(tap.stdout.take().unwrap()).lines()).collect();
    for _ in 0..5 {
        for output in &mut outputs {
            let sample: Sample = serde_json::from_str(&output.next().unwrap().unwrap()).unwrap();
            assert_eq!(sample.operator, "count");
        }
    }
    // One goes away; the other one goes on.
    taps[0].kill().unwrap();
    taps[0].wait().unwrap();
    for _ in 0..5 {
        outputs[1].next().unwrap().unwrap();
    }
    running.end();
    let ended = taps.remove(1).wait_with_output().unwrap();
    assert!(ended.status.success());
    assert_eq!(complaint(&ended), "watershed: the job has ended: cancelled\n");
}

#[test]
fn a_job_that_ends_while_it_is_watched_says_how() {
    let running = Running::new();
    let mut tap = start(&["tap", running.dir(), "words"]);
    let mut lines = BufReader::new(tap.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let dir = running.dir().to_string();
    let place = running.folder.path().to_path_buf();
    running.end();
    // What was on its way is still shown.
    assert!(lines.all(|line| line.unwrap().starts_with("words[")));
    let ended = tap.wait_with_output().unwrap();
    assert!(ended.status.success());
    assert_eq!(complaint(&ended), "watershed: the job has ended: cancelled\n");
    assert!(!socket_in(&place).exists());
    assert!(refused(&["tree", &dir]).starts_with("watershed: no job is running there: there is no socket"));
}

#[test]
fn an_operator_is_rescaled_and_the_tool_says_how_long_that_took() {
    let running = Running::new();
    let line = printed(&["rescale", running.dir(), "count", "3"]);
    assert!(line.starts_with("count: from 2 to 3 instances, with checkpoint "), "{line}");
    assert!(line.contains("the job stood still for "), "{line}");
    assert!(running.job.as_ref().unwrap().tree().unwrap().instance("count", 2).is_some());
    let done = printed(&["rescale", &running.socket(), "count", "1", "--json"]);
    let done: watershed::Rescaled = serde_json::from_str(&done).unwrap();
    assert_eq!((done.from, done.to), (3, 1));
    let complaint = refused(&["rescale", running.dir(), "cuont", "2"]);
    assert_eq!(complaint, "watershed: there is no operator `cuont`; there are words, count\n");
    let complaint = refused(&["rescale", running.dir(), "count", "1"]);
    assert!(complaint.contains("`count` cannot be rescaled to 1 instances: it has so many already"));
    running.end();
}

#[test]
fn an_operator_that_is_not_there_is_refused_with_those_that_are() {
    let running = Running::new();
    let complaint = refused(&["tap", running.dir(), "cuont"]);
    assert_eq!(complaint, "watershed: there is no operator `cuont`; there are words, count\n");
    running.end();
}

#[test]
fn where_no_job_is_the_tool_says_so() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().to_str().unwrap();
    let missing = "watershed: no job is running there: there is no socket ";
    assert!(refused(&["tree", dir]).starts_with(missing));
    assert!(refused(&["tap", dir, "count"]).starts_with(missing));
    assert!(refused(&["tree", "/no/such/folder"]).starts_with(missing));
    drop(UnixListener::bind(socket_in(folder.path())).unwrap());
    assert!(refused(&["tree", dir]).starts_with("watershed: no job is running there: nobody listens on "));
}

#[test]
fn a_job_replaces_the_socket_that_a_dead_one_has_left_and_is_found_by_a_relative_path() {
    let folder = TempDir::new().unwrap();
    drop(UnixListener::bind(socket_in(folder.path())).unwrap());
    let topology = Topology::new("again");
    topology.source("numbers", Generator::unbounded(|n| n)).rate(100.0).for_each(|_| {});
    let job = topology.start(Config::local().checkpoints(folder.path())).unwrap();
    let parent: &Path = folder.path().parent().unwrap();
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let output = watershed(&["tree", name, "--json"]).current_dir(parent).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    let output = watershed(&["tree", "--json"]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn a_reader_who_has_had_enough_is_no_error() {
    let running = Running::new();
    let mut tap = start(&["tap", running.dir(), "words"]);
    let mut lines = BufReader::new(tap.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    let ended = tap.wait_with_output().unwrap();
    assert!(ended.status.success());
    assert_eq!(complaint(&ended), "");
    running.end();
}

#[test]
fn the_state_of_a_key_is_shown_as_json() {
    let running = Running::new();
    // Until the job is at work, and the first of these words has come.
    let shown = loop {
        let output = watershed(&["query", running.dir(), "count", "word7"]).output().unwrap();
        assert!(output.status.success() || complaint(&output).contains("ask again later"), "{output:?}");
        if !output.stdout.is_empty() {
            break String::from_utf8(output.stdout).unwrap();
        }
    };
    assert_eq!(shown, "{\"key\":\"word7\",\"state\":{\"Value\":\"word7\"}}\n");
    assert_eq!(printed(&["query", &running.socket(), "count", "\"word7\""]), shown);
    let none = watershed(&["query", running.dir(), "count", "word50"]).output().unwrap();
    assert!(none.status.success() && none.stdout.is_empty());
    assert_eq!(complaint(&none), "watershed: key word50 of operator `count` has no state\n");

    let source = refused(&["query", running.dir(), "words", "word7"]);
    assert!(source.contains("`words` is a source"), "{source}");
    let unknown = refused(&["query", running.dir(), "counts", "word7"]);
    assert!(unknown.contains("no operator `counts`; there are `words`, `count`"), "{unknown}");
    let dir = running.dir().to_string();
    running.end();
    let gone = refused(&["query", &dir, "count", "word7"]);
    assert!(gone.contains("no job is running there"), "{gone}");
}
