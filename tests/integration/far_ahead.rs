//! Records whose event time is far ahead of processing time.

use std::path::Path;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Collector, ErrorKind};

const YEAR_9999_MS: i64 = 253_370_764_800_000;
/// In 2020, so that it is past.
const BEGIN_MS: i64 = 1_600_000_000_000;

/// Says of each record whether it was late.
pub(crate) struct Late;

impl Process for Late {
    type Key = ();
    type In = i64;
    type Out = (i64, bool);
    type State = ();

    fn on_record(&self, at: i64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        context.emit((at, at <= context.watermark()));
        Ok(())
    }
}

/// Times a minute apart, with one of the year 9999 among them.
fn times() -> Vec<i64> {
    (0..400).map(|n| if n == 100 { YEAR_9999_MS } else { BEGIN_MS + 60_000 * n }).collect()
}

fn topology(strategy: Lateness, shown: &Collector<(i64, bool)>) -> Topology {
    let topology = Topology::new("times");
    topology
        .source("times", Items::new(times))
        .parallelism(1)
        .event_time(|at| *at, strategy)
        .actor("late", Late)
        .parallelism(1)
        .sink_exactly_once("shown", shown.sink());
    topology
}

fn config(folder: &TempDir) -> Config {
    // Many watermarks, so that the one that is too far ahead would do harm.
    Config::local().checkpoints(folder.path()).batch_records(4).watermark_interval(millis(0))
}

#[test]
fn a_record_of_the_year_9999_is_isolated_and_no_other_is_late() {
    let (folder, shown) = (TempDir::new().unwrap(), Collector::new());
    let topology = topology(Lateness::none(), &shown);
    let outcome =
        topology.run(config(&folder).supervise(Supervision::quarantine().at_most_fraction(1.0))).unwrap();
    let expected: Vec<(i64, bool)> =
        times().into_iter().filter(|at| *at != YEAR_9999_MS).map(|at| (at, false)).collect();
    assert_eq!(shown.take(), expected);
    drop(outcome);
    let letters: String = visible_letters(&folder);
    assert!(letters.contains("253370764800000") && letters.contains("ahead of processing time"), "{letters}");
}

fn visible_letters(folder: &TempDir) -> String {
    let letters = std::fs::read_dir(folder.path().join("dead-letters/times")).unwrap();
    letters.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok()).collect()
}

#[test]
fn without_a_policy_a_record_of_the_year_9999_ends_the_job_and_says_what_to_do() {
    let (folder, shown) = (TempDir::new().unwrap(), Collector::new());
    let config = config(&folder).restart(Restart::never());
    let error = topology(Lateness::none(), &shown).run(config).unwrap_err();
    assert_eq!(error.kind, ErrorKind::User, "{error}");
    for part in ["253370764800000 ms since 1970", "Supervision::quarantine", "Lateness::far_ahead"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn where_it_is_allowed_a_record_of_the_year_9999_makes_all_later_ones_late() {
    let (folder, shown) = (TempDir::new().unwrap(), Collector::new());
    topology(Lateness::none().far_ahead(FarAhead::Allow), &shown).run(config(&folder)).unwrap();
    let late = shown.take().into_iter().filter(|(_, late)| *late).count();
    assert!(late > 200, "{late}");
}

/// Times in the files of a folder, as lines.
fn times_of_files(folder: &Path, shown: &Collector<(i64, bool)>) -> Topology {
    let topology = Topology::new("times");
    topology
        .source("times", Lines::from_folder(folder))
        .parallelism(1)
        .map(|line| line.parse::<i64>().unwrap())
        .event_time(|at| *at, Lateness::none().far_ahead(FarAhead::Allow))
        .actor("late", Late)
        .parallelism(1)
        .sink_exactly_once("shown", shown.sink());
    topology
}

#[test]
fn event_time_that_a_wrong_time_has_pulled_ahead_begins_anew_where_that_is_asked_for() {
    let (folder, shown) = (TempDir::new().unwrap(), Collector::new());
    let input = folder.path().join("input");
    std::fs::create_dir(&input).unwrap();
    let topology = times_of_files(&input, &shown);
    let config = || Config::local().checkpoints(folder.path().join("checkpoints"));
    // One more file each time, of which it is said whether its record is late.
    let next = |file: &str, at: i64, config: Config| {
        std::fs::write(input.join(file), at.to_string()).unwrap();
        topology.run(config).unwrap();
        shown.take()
    };
    assert_eq!(next("1", YEAR_9999_MS, config()), [(YEAR_9999_MS, false)]);
    assert_eq!(next("2", BEGIN_MS, config()), [(BEGIN_MS, true)]);
    assert_eq!(next("3", BEGIN_MS + 1, config().reset_event_time()), [(BEGIN_MS + 1, false)]);
    // It has begun anew, and goes on from there.
    assert_eq!(next("4", BEGIN_MS + 2, config()), [(BEGIN_MS + 2, false)]);
    assert_eq!(next("5", BEGIN_MS, config()), [(BEGIN_MS, true)]);
}
