//! What goes wrong while a job runs: the job ends with an error that says where, or goes on and says what it left out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed::prelude::*;
use watershed::{Collector, End, ErrorKind, InvalidUtf8, Outcome, Result, SimulatedDisk, SinkFn};

use super::refused;
use crate::fixture::{seeded, simulated};

/// Runs with one instance of each actor, and without a restart.
fn run(topology: &Topology) -> Result<Outcome> {
    topology.run(simulated(seeded(1)).parallelism(1).restart(Restart::never()))
}

/// Words that can be keys, one of which needs quoting.
fn words(topology: &Topology) -> Stream<String> {
    let word = |n| if n == 7 { "a \"b\"".to_string() } else { format!("word-{n}") };
    topology.source("words", Generator::bounded(20, word)).rate(100.0)
}

/// Its words as they look in an error.
const KEY: &str = r#"(key "a \"b\"")"#;

#[derive(Clone, Copy)]
enum Does {
    Panic,
    Err,
    SetEventTimer,
    SetProcessingTimer,
}

/// Does something at the word that needs quoting.
struct Does7(Does, Arc<AtomicU64>);

impl Process for Does7 {
    type Key = String;
    type In = String;
    type Out = String;
    type State = u64;

    fn on_record(&self, word: String, _: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        if word.contains('"') {
            self.1.fetch_add(1, Ordering::Relaxed);
            match self.0 {
                Does::Panic => panic!("no room for it"),
                Does::Err => Err(std::fmt::Error)?,
                Does::SetEventTimer => context.timer_at(3),
                Does::SetProcessingTimer => context.timer_at_processing_time(context.now_ms() + 3),
            }
        }
        Ok(())
    }
}

fn does(does: Does, tries: &Arc<AtomicU64>) -> Topology {
    let topology = Topology::new("words");
    let words = words(&topology).event_time(|_| 5, Lateness::none()).key_by(String::clone);
    words.actor("count", Does7(does, Arc::clone(tries))).for_each(drop);
    topology
}

fn refused_actor(actor: Does, says: &[&str]) {
    let says = [&["`count[0]`", KEY, "its restart budget is spent"], says].concat();
    refused(run(&does(actor, &Arc::default())), ErrorKind::User, &says);
}

#[test]
fn a_panic_ends_the_job_with_operator_instance_key_and_cause() {
    refused_actor(Does::Panic, &["panicked: no room for it"]);
}

#[test]
fn an_error_of_an_actor_ends_the_job_with_operator_instance_key_and_cause() {
    refused_actor(Does::Err, &["failed: ", &std::fmt::Error.to_string()]);
}

#[test]
fn a_timer_of_an_actor_without_on_timer_is_an_error() {
    refused_actor(Does::SetEventTimer, &["failed: a timer for 3 came due", "`on_timer`"]);
    refused_actor(Does::SetProcessingTimer, &["failed: a timer for", "`on_timer`"]);
}

#[test]
fn a_restart_budget_is_spent_to_the_end_and_not_further() {
    let tries = Arc::default();
    let restart = Restart::from_snapshot().at_most(3, minutes(1));
    let result = does(Does::Panic, &tries).run(simulated(seeded(1)).parallelism(1).restart(restart));
    refused(result, ErrorKind::User, &["`count[0]` panicked", KEY, "its restart budget is spent"]);
    assert_eq!(tries.load(Ordering::Relaxed), 4, "once, and three times again");
}

#[test]
fn an_error_of_a_fused_closure_names_the_actor_it_is_fused_into() {
    let topology = Topology::new("numbers");
    let parse = |word: String| Ok(word.parse::<u64>()?);
    words(&topology).try_map(parse).for_each(drop);
    refused(
        run(&topology),
        ErrorKind::User,
        &["`words[0]` failed: invalid digit", "its restart budget is spent"],
    );
}

#[test]
fn an_error_of_an_exactly_once_sink_ends_the_job() {
    let topology = Topology::new("words");
    let pairs = words(&topology).map(|word| BTreeMap::from([((word.len(), 1), word)]));
    pairs.sink_exactly_once("out", Files::jsonl("/out"));
    let says = ["`out[0]` failed: ", "cannot write a record as JSON", "keys of maps are strings"];
    refused(run(&topology), ErrorKind::User, &says);
}

#[test]
fn an_error_of_another_sink_ends_the_job() {
    let topology = Topology::new("words");
    let refuse =
        |word: String| if word.contains('"') { Err(format!("{word} is refused").into()) } else { Ok(()) };
    words(&topology).sink("out", SinkFn::new(move |_| refuse));
    refused(run(&topology), ErrorKind::User, &["`out[0]` failed: a \"b\" is refused", "budget is spent"]);
}

/// A folder with a file of three lines, one of which is not UTF-8 from its byte 8 on.
fn not_utf8() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.txt");
    std::fs::write(&path, b"good\nok \xff\nmore\n").unwrap();
    let path = path.to_str().unwrap().to_string();
    (folder, path)
}

#[test]
fn a_line_that_is_not_utf8_ends_the_job_and_names_file_and_byte() {
    let (_folder, path) = not_utf8();
    let topology = Topology::new("lines");
    topology.source("lines", Lines::from_file(&path)).for_each(drop);
    let place = format!("{path} is not UTF-8 at byte 8");
    refused(run(&topology), ErrorKind::User, &["`lines[0]` failed: ", &place, "InvalidUtf8::SkipAndCount"]);
}

#[test]
fn a_line_that_is_not_utf8_is_left_out_and_counted_if_that_is_the_policy() {
    let (_folder, path) = not_utf8();
    let (topology, shown) = (Topology::new("lines"), Collector::new());
    let lines = Lines::from_file(path).invalid_utf8(InvalidUtf8::SkipAndCount);
    let skipped = lines.skipped_lines();
    topology.source("lines", lines).sink_exactly_once("out", shown.sink());
    assert_eq!(run(&topology).unwrap().end, End::Finished);
    assert_eq!(shown.take(), ["good", "more"]);
    assert_eq!(skipped.load(Ordering::Relaxed), 1);
}

#[test]
fn a_checkpoint_that_finds_the_disk_full_is_given_up_and_the_job_goes_on() {
    let mut given_up = 0;
    for operation in 1..60 {
        let (topology, shown, disk) = (Topology::new("sums"), Collector::new(), SimulatedDisk::new(1));
        let numbers = topology.source("numbers", Generator::bounded(100, |n| n)).key_by(|n| n % 7);
        numbers.reduce("sum", |a, b| a + b).sink_exactly_once("out", shown.sink());
        let job = topology.start(simulated(seeded(operation).on_disk(&disk)).parallelism(1)).unwrap();
        disk.full_during(operation..operation + 5);
        let outcome = job.wait().unwrap();
        assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0), "full from operation {operation} on");
        let mut sums = shown.take();
        sums.sort_unstable();
        let mut expected: Vec<u64> = (0..100).map(|n| (n % 7..=n).step_by(7).sum()).collect();
        expected.sort_unstable();
        assert_eq!(sums, expected, "full from operation {operation} on");
        given_up += outcome.checkpoint.unwrap() - outcome.checkpoints;
    }
    assert!(given_up > 20, "only {given_up} checkpoints found the disk full");
}
