//! Failures that climb the supervision tree: operator, region, job, and the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed::SupervisionLevel::{self, Job, Operator, Region};
use watershed::prelude::*;
use watershed::{Collector, ErrorKind, Outcome, Result};

use crate::fixture::{seeded, simulated};

/// Panics at one of the records, so many times.
struct Stumbles {
    at: u64,
    times: u64,
    tries: Arc<AtomicU64>,
}

impl Process for Stumbles {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, record: u64, _: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        if record == self.at && self.tries.fetch_add(1, Ordering::Relaxed) < self.times {
            std::panic::resume_unwind(Box::new("it stumbles"));
        }
        context.emit(record);
        Ok(())
    }
}

const RECORDS: u64 = 100;

struct Ran {
    result: Result<Outcome>,
    tries: u64,
}

/// Two regions, the first of which stumbles so often. What both show has to be right if the job finishes.
fn run(times: u64, supervision: Supervision, config: impl Fn(Config) -> Config) -> Ran {
    let (stumbling, steady, tries) = (Collector::new(), Collector::new(), Arc::default());
    let topology = Topology::new("levels");
    let stumbles = Stumbles { at: 60, times, tries: Arc::clone(&tries) };
    let source = topology.source("first", Generator::bounded(RECORDS, |n| n));
    let passed = source.key_by(|n| n % 5).actor("stumbles", stumbles).supervise(supervision);
    passed.sink_exactly_once("stumbling", stumbling.sink());
    topology.source("second", Generator::bounded(RECORDS, |n| n)).sink_exactly_once("steady", steady.sink());
    let result = topology.run(config(simulated(seeded(3)).parallelism(1)));
    if result.is_ok() {
        for shown in [stumbling, steady] {
            let mut shown = shown.take();
            shown.sort_unstable();
            assert_eq!(shown, (0..RECORDS).collect::<Vec<_>>());
        }
    }
    Ran { result, tries: tries.load(Ordering::Relaxed) }
}

/// So many restarts, ever.
fn restarts(most: usize) -> Restart {
    Restart::failure_rate(most, minutes(60), millis(1))
}

fn levels(outcome: &Outcome, region: usize) -> Vec<SupervisionLevel> {
    let failures = outcome.tree.regions[region].recent_failures.iter();
    failures.filter_map(|failure| failure.restarted_by).collect()
}

#[test]
fn each_level_pays_in_turn_and_gives_those_below_a_fresh_budget() {
    let ran = run(7, restarts(1).into(), |config| config.restart(restarts(1)).restart_job(restarts(1)));
    let outcome = ran.result.unwrap();
    let expected = [Operator, Region, Operator, Job, Operator, Region, Operator];
    assert_eq!(levels(&outcome, 0), expected);
    // The other region was rolled back once, with the whole job.
    assert_eq!(levels(&outcome, 1), [Job]);
    assert_eq!(outcome.tree.regions[1].restarts, 1);
}

#[test]
fn when_all_levels_are_spent_the_job_ends_and_says_who_failed_and_how() {
    let ran = run(8, restarts(1).into(), |config| config.restart(restarts(1)).restart_job(restarts(1)));
    assert_eq!(ran.tries, 8);
    let error = ran.result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::User);
    let says = "`stumbles[0]` panicked: it stumbles (key 0); its restart budget is spent";
    assert_eq!(error.to_string(), says);
}

#[test]
fn the_budget_of_an_operator_is_not_that_of_its_region() {
    let ran = run(3, restarts(3).into(), |config| config.restart(Restart::never()));
    assert_eq!(levels(&ran.result.unwrap(), 0), [Operator; 3]);
}

#[test]
fn what_is_escalated_does_not_ask_the_operator() {
    let escalate = Supervision::escalate().restart(restarts(100));
    let ran = run(4, escalate, |config| config.restart(restarts(2)).restart_job(restarts(1)));
    assert_eq!(levels(&ran.result.unwrap(), 0), [Region, Region, Job, Region]);
}

#[test]
fn an_operator_that_is_to_stop_the_job_does_so_with_its_first_failure() {
    let stop = Supervision::stop().restart(restarts(100));
    let ran = run(1, stop, |config| config.restart(restarts(100)).restart_job(restarts(100)));
    assert_eq!(ran.tries, 1);
    let says = "`stumbles[0]` panicked: it stumbles (key 0); its policy is to stop the job then";
    assert_eq!(ran.result.unwrap_err().to_string(), says);
}
