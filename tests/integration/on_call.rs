//! What whoever is called at night finds in the log and in the tree, and what does not wake anybody.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use watershed::prelude::*;
use watershed::{
    Polled, Reader, Records, SimulatedDisk, Sink, SinkContext, SinkWriter, Source, SourceContext, Split,
};

use crate::fixture::{seeded, simulated};
use crate::logged::logged;

/// Sums of numbers, into files.
fn sums() -> Topology {
    let topology = Topology::new("sums");
    topology
        .source("numbers", Generator::bounded(500, |n| n).splits(5))
        .key_by(|n| n % 10)
        .reduce("sums", |sum, n| sum + n)
        .sink_exactly_once("files", Files::jsonl("/out"));
    topology
}

/// The lines that say this.
fn that_say<'a>(log: &'a [String], text: &str) -> Vec<&'a String> {
    log.iter().filter(|line| line.contains(text)).collect()
}

#[track_caller]
fn once<'a>(log: &'a [String], text: &str) -> &'a str {
    let lines = that_say(log, text);
    assert_eq!(lines.len(), 1, "{text:?} in {log:#?}");
    lines[0]
}

#[test]
fn the_log_says_where_a_job_begins_and_how_it_has_ended() {
    let disk = SimulatedDisk::new(1);
    let run = || sums().run(simulated(seeded(1).on_disk(&disk))).unwrap();
    let (outcome, log) = logged(run);
    assert_eq!(outcome.end, End::Finished);
    assert!(once(&log, "there is no checkpoint to resume from").starts_with("INFO"));
    assert!(once(&log, "the job has finished: all input is read").contains("restarts=0"));
    let before = outcome.checkpoint.unwrap();
    let (outcome, log) = logged(run);
    assert_eq!(outcome.end, End::AlreadyFinished);
    let resumed = once(&log, "the job resumes from its newest checkpoint");
    let newest = format!(" checkpoint={before} ");
    assert!(
        resumed.contains(&newest) && resumed.contains("age_ms=") && resumed.contains("completed_at="),
        "{resumed}"
    );
    once(
        &log,
        "had finished before, and there is nothing new to read: files that were read to their end are not looked at",
    );
}

#[test]
fn a_region_that_is_back_says_what_is_left_of_its_budget_and_only_what_has_changed_of_the_tree() {
    let (outcome, log) = logged(|| sums().run(simulated(seeded(4).panic_at(60))).unwrap());
    assert_eq!((outcome.end, outcome.restarts), (End::Finished, 1));
    let back = once(&log, "the region is back");
    assert!(back.contains("restarts=1 restarts_left=9"), "{back}");
    let at = log.iter().position(|line| line == back).unwrap();
    let tree: Vec<&String> =
        log[at + 1..].iter().take_while(|line| line.starts_with("INFO message=  ")).collect();
    let instances = tree.iter().filter(|line| line.contains("] arbiter=")).count();
    assert_eq!((tree.len(), instances), (3, 1), "{tree:#?}");
    assert!(tree[2].contains("last_failure="), "{tree:#?}");
    once(&log, "supervision tree at the start");
}

#[test]
fn a_source_that_has_nothing_to_read_is_said() {
    let topology = Topology::new("nothing");
    topology.source("numbers", Nothing).for_each(|_: u64| {});
    let (outcome, log) = logged(|| topology.run(simulated(seeded(1))).unwrap());
    assert_eq!(outcome.end, End::Finished);
    assert!(once(&log, "the source has nothing to read").contains("source=numbers"));
}

struct Nothing;

impl Source for Nothing {
    type Item = u64;
    type Split = Never;
    type Reader = Flaky;

    fn splits(&self) -> UserResult<Vec<Never>> {
        Ok(Vec::new())
    }

    fn open(&self, _: &Never, _: Option<u64>, _: &SourceContext) -> UserResult<Flaky> {
        Err("there is nothing to open".into())
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Never;

impl Split for Never {
    fn id(&self) -> String {
        "never".to_string()
    }
}

#[test]
fn the_tree_shows_how_far_a_source_that_ends_has_come() {
    let tree = sums().run(simulated(seeded(1))).unwrap().tree;
    let of_all = |number: fn(&watershed::ProgressNode) -> u64| -> u64 {
        let instances = (0..2).filter_map(|index| tree.instance("numbers", index));
        instances.map(|node| number(node.progress.as_ref().unwrap())).sum()
    };
    assert_eq!((of_all(|node| node.splits_finished), of_all(|node| node.splits)), (5, 5));
    assert_eq!(tree.instance("numbers", 0).unwrap().progress.as_ref().unwrap().percent(), 100);
    assert!(tree.instance("sums", 0).unwrap().progress.is_none());
    assert!(tree.to_string().contains("progress=100% splits="), "{tree}");
}

/// Reads a hundred numbers over a connection that breaks, ever again, before it has given one.
struct Flaky {
    left: Arc<AtomicU32>,
    next: u64,
}

impl Reader for Flaky {
    type Item = u64;
    type Position = u64;

    fn poll(&mut self, records: &mut Records<'_, u64>, _limit: usize) -> UserResult<Polled> {
        if self.left.load(Ordering::Relaxed) > 0 {
            self.left.fetch_sub(1, Ordering::Relaxed);
            return Err(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)));
        }
        records.push(self.next);
        self.next += 1;
        Ok(if self.next == 100 { Polled::End } else { Polled::Ready })
    }

    fn position(&self) -> u64 {
        self.next
    }
}

struct Remote(Arc<AtomicU32>);

impl Source for Remote {
    type Item = u64;
    type Split = Never;
    type Reader = Flaky;

    fn splits(&self) -> UserResult<Vec<Never>> {
        Ok(vec![Never])
    }

    fn open(&self, _: &Never, position: Option<u64>, _: &SourceContext) -> UserResult<Flaky> {
        Ok(Flaky { left: Arc::clone(&self.0), next: position.unwrap_or(0) })
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// Takes numbers, but for a while not.
struct Outage(Arc<AtomicU32>);

impl Sink for Outage {
    type In = u64;
    type Writer = Self;

    fn open(&self, _: &SinkContext) -> UserResult<Self> {
        Ok(Self(Arc::clone(&self.0)))
    }
}

impl SinkWriter for Outage {
    type In = u64;

    fn write(&mut self, _: u64) -> UserResult {
        if self.0.load(Ordering::Relaxed) > 0 {
            self.0.fetch_sub(1, Ordering::Relaxed);
            return Err(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        }
        Ok(())
    }

    fn flush(&mut self) -> UserResult {
        Ok(())
    }
}

/// Waits of seconds hold thousands of checkpoints otherwise.
fn patient() -> Config {
    simulated(seeded(2)).parallelism(1).checkpoint_interval(minutes(60))
}

/// Many more failures than any budget of restarts has room for.
const OUTAGES: u32 = 60;

fn through_outages(
    config: Config,
    supervision: Option<Supervision>,
) -> (watershed::Result<watershed::Outcome>, Vec<String>) {
    let outages = || Arc::new(AtomicU32::new(OUTAGES / 2));
    let topology = Topology::new("outages");
    let mut numbers = topology.source("numbers", Remote(outages()));
    if let Some(supervision) = supervision {
        numbers = numbers.supervise(supervision);
    }
    numbers.sink("sink", Outage(outages()));
    logged(|| topology.run(config))
}

#[test]
fn input_and_output_that_fail_are_tried_again_until_they_work_and_cost_no_restarts() {
    let (outcome, log) = through_outages(patient(), None);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.end, outcome.restarts), (End::Finished, OUTAGES));
    let said = that_say(&log, "input or output failed: it is tried again until it works");
    assert_eq!(said.len(), OUTAGES as usize);
    assert!(said[0].contains("backoff_ms=100") && said[20].contains("backoff_ms=10000"), "{said:#?}");
    assert!(that_say(&log, "the region is back").last().unwrap().contains("restarts_left=10"));
}

#[test]
fn input_and_output_that_fail_end_the_job_where_restarts_are_counted_for_them_or_the_policy_is_to_stop() {
    let counted = patient().restart(Restart::from_snapshot().count_io());
    let error = through_outages(counted, None).0.unwrap_err();
    assert!(error.to_string().contains("its restart budget is spent"), "{error}");
    let (result, log) = through_outages(patient(), Some(Supervision::stop()));
    let error = result.unwrap_err();
    assert!(error.to_string().contains("its policy is to stop the job then"), "{error}");
    let failed = once(&log, "the job has failed. ");
    assert!(failed.contains("There is no checkpoint: the next start begins anew"), "{failed}");
}

#[test]
fn a_step_of_the_users_that_fails_in_the_same_way_costs_restarts_as_ever() {
    let topology = Topology::new("calls");
    topology
        .source("numbers", Items::of([1_u64]))
        .try_map(|_| Err::<u64, _>(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)).into()))
        .for_each(|_| {});
    let error = topology.run(patient()).unwrap_err();
    assert!(error.to_string().contains("its restart budget is spent"), "{error}");
}

#[test]
fn a_checkpoint_that_cannot_begin_is_warned_of_with_what_it_waits_for() {
    let rarely = Restart::from_snapshot().backoff(minutes(2), minutes(2)).jitter(0.0);
    let config = simulated(seeded(2)).parallelism(1).checkpoint_interval(minutes(1)).restart(rarely);
    let (outcome, log) = through_outages(config, None);
    assert_eq!(outcome.unwrap().end, End::Finished);
    let overdue = that_say(&log, "a checkpoint is overdue: it cannot begin");
    assert!(!overdue.is_empty() && overdue.len() <= OUTAGES as usize, "{overdue:#?}");
    assert!(overdue[0].starts_with("WARN") && overdue[0].contains("region 0, which is "), "{overdue:#?}");
}
