//! The ranges of settings and names: what is out of one is refused with its name, and everything in it works.

use std::sync::mpsc::channel;
use std::time::Duration;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Collector, ErrorKind, Simulation};

use crate::fixture::seeded;

/// A small job with a bit of everything. Returns what it shows, which is the same each time if it ends right.
fn run(config: Config, change: impl Fn(Settings) -> Settings) -> Result<Vec<(u64, u64)>, watershed::Error> {
    let shown = Collector::new();
    let Settings { lateness, supervision, state_ttl, ttl, instances } = change(Settings::usual());
    let topology = Topology::new("settings");
    let counted = topology
        .source("numbers", Generator::bounded(300, |n| n))
        .event_time(|n| *n as i64, lateness)
        .supervise(supervision)
        .key_by(|n| n % 7)
        .state_ttl(state_ttl)
        .actor("count", Count { before: MapState::new("before").ttl(ttl) });
    let counted = if let Some(instances) = instances { counted.parallelism(instances) } else { counted };
    counted.sink_exactly_once("shown", shown.sink());
    let job = topology.start(config.ignore_signals())?;
    // One that never ends is to fail, and not to hold up the test.
    let (say, said) = channel();
    std::thread::spawn(move || say.send(job.wait()).map_err(drop));
    let outcome = said.recv_timeout(Duration::from_mins(2)).expect("it does not end")?;
    assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0));
    let mut shown = shown.take();
    shown.sort_unstable();
    Ok(shown)
}

/// What is set in the wiring.
#[derive(Debug)]
struct Settings {
    lateness: Lateness,
    supervision: Supervision,
    state_ttl: Duration,
    ttl: Ttl,
    instances: Option<usize>,
}

impl Settings {
    fn usual() -> Self {
        Self {
            lateness: Lateness::none(),
            supervision: Supervision::skip(),
            state_ttl: minutes(60),
            ttl: Ttl::after_write(minutes(60)),
            instances: None,
        }
    }
}

/// Numbers the records of a key, twice: in its state, and in a map that it has.
struct Count {
    before: MapState<u64, u64>,
}

impl Process for Count {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, record: u64, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.map(&self.before).insert(*count, record);
        context.emit((record, *count));
        Ok(())
    }
}

fn right() -> Vec<(u64, u64)> {
    (0..300).map(|n| (n, n / 7 + 1)).collect()
}

/// Two threads, and no folder.
fn config() -> Config {
    Config::local().slots(2).parallelism(2)
}

/// Refused with this, or right.
enum Is {
    Right,
    Refused(&'static str),
}
use Is::{Refused, Right};

fn look(result: Result<Vec<(u64, u64)>, watershed::Error>, is: &Is, setting: &str) {
    match (result, is) {
        (Ok(shown), Right) => assert_eq!(shown, right(), "{setting}"),
        (Err(error), Refused(said)) => {
            assert_eq!(error.kind, ErrorKind::Config, "{setting}: {error}");
            assert!(error.to_string().contains(said), "{setting}: {said} is missing in {error}");
        }
        (Ok(_), Refused(said)) => panic!("{setting} is not refused with {said}"),
        (Err(error), Right) => panic!("{setting} is refused: {error}"),
    }
}

const ONE: Duration = Duration::from_nanos(1);
const MAX: Duration = Duration::MAX;

#[test]
fn numbers_of_the_configuration_are_in_their_range_or_are_refused_by_name() {
    type Change = fn(Config) -> Config;
    let changes: &[(&str, Change, Is)] = &[
        (
            "slots 0",
            |c| c.slots(0),
            Refused("`Config::slots(0)` is out of its range, which is from 1 to 1024"),
        ),
        ("slots 1", |c| c.slots(1), Right),
        ("slots 10,000", |c| c.slots(10_000), Refused("`Config::slots(10000)`")),
        ("slots MAX", |c| c.slots(usize::MAX), Refused("`Config::slots(")),
        ("parallelism 0", |c| c.parallelism(0), Refused("`Config::parallelism(0)`")),
        ("parallelism 1", |c| c.parallelism(1), Right),
        ("parallelism MAX", |c| c.parallelism(usize::MAX), Refused("which is from 1 to 4096")),
        (
            "parallelism of much",
            |c| c.parallelism(4_096).key_groups(u16::MAX).unwrap(),
            Refused("are too many: lower the parallelism"),
        ),
        ("credits 0", |c| c.credits(0), Refused("`Config::credits(0)`")),
        ("credits 1", |c| c.credits(1), Right),
        ("credits MAX", |c| c.credits(u32::MAX), Refused("`Config::credits(4294967295)`")),
        ("batch_records 0", |c| c.batch_records(0), Refused("`Config::batch_records(0)`")),
        ("batch_records 1", |c| c.batch_records(1), Right),
        ("batch_records MAX", |c| c.batch_records(usize::MAX), Refused("`Config::batch_records(")),
        ("batch_records of the most", |c| c.batch_records(1 << 20), Right),
        ("retain 0", |c| c.retain(0), Refused("`Config::retain(0)`")),
        ("retain 1", |c| c.retain(1), Right),
        ("retain MAX", |c| c.retain(usize::MAX), Right),
        ("key_groups MAX", |c| c.key_groups(u16::MAX).unwrap(), Right),
    ];
    for (setting, change, is) in changes {
        look(run(change(config()), |settings| settings), is, setting);
    }
    assert!(Config::local().key_groups(0).is_err());
}

#[test]
fn times_of_the_configuration_may_be_for_ever_and_are_refused_where_they_would_be_for_nothing() {
    type Change = fn(Config, Duration) -> Config;
    let changes: &[(&str, Change, [Is; 3])] = &[
        ("linger", |c, t| c.linger(t), [Right, Right, Right]),
        ("watermark_interval", |c, t| c.watermark_interval(t), [Right, Right, Right]),
        (
            "checkpoint_interval",
            |c, t| c.checkpoint_interval(t),
            [Refused("`Config::checkpoint_interval` is 0ns: it must be above 0"), Right, Right],
        ),
        (
            "checkpoint_timeout",
            |c, t| c.checkpoint_timeout(t).checkpoint_interval(millis(1)),
            [Refused("`Config::checkpoint_timeout` is 0ns: it must be above 0"), Right, Right],
        ),
        (
            "hang_timeout",
            |c, t| c.hang_timeout(t),
            [Right, Refused("`Config::hang_timeout` is 1ns: it must be at least 10ms, or 0"), Right],
        ),
        ("stop_grace", |c, t| c.stop_grace(t), [Right, Right, Right]),
    ];
    for (setting, change, are) in changes {
        for (time, is) in [Duration::ZERO, ONE, MAX].into_iter().zip(are) {
            look(run(change(config(), time), |settings| settings), is, &format!("{setting} {time:?}"));
        }
    }
}

#[test]
fn budgets_of_restarts_take_any_number() {
    let restart = Restart::from_snapshot;
    let budgets = [
        restart().at_most(0, Duration::ZERO),
        restart().at_most(usize::MAX, MAX).backoff(MAX, MAX).reset_after(MAX),
        restart().backoff(Duration::ZERO, Duration::ZERO).reset_after(Duration::ZERO),
        restart().factor(f64::NAN).jitter(f64::NAN),
        restart().factor(f64::MAX).jitter(f64::MAX),
        restart().factor(f64::INFINITY).jitter(f64::NEG_INFINITY),
        Restart::failure_rate(0, Duration::ZERO, Duration::ZERO),
        Restart::failure_rate(usize::MAX, MAX, MAX),
    ];
    for budget in budgets {
        let config = config().restart(budget).restart_job(budget);
        look(
            run(config, |settings| Settings {
                supervision: settings.supervision.restart(budget),
                ..settings
            }),
            &Right,
            &format!("{budget:?}"),
        );
    }
}

#[test]
fn settings_of_the_wiring_are_in_their_range_or_are_refused_by_name() {
    type Change = fn(Settings) -> Settings;
    let skip = Supervision::skip;
    let supervised: [(Supervision, Is); 11] = [
        (skip().attempts(0), Refused("`numbers`: `Supervision::attempts(0)`")),
        (skip().attempts(u32::MAX), Right),
        (skip().at_most(0), Right),
        (skip().at_most(u64::MAX), Right),
        (skip().at_most_fraction(f64::NAN), Refused("`Supervision::at_most_fraction(NaN)`")),
        (skip().at_most_fraction(-0.1), Refused("which is from 0 to 1")),
        (skip().at_most_fraction(f64::INFINITY), Refused("`Supervision::at_most_fraction(inf)`")),
        (skip().at_most_fraction(0.0), Right),
        (
            skip().count_skipped_within(millis(0)),
            Refused("`numbers`: `Supervision::count_skipped_within` is 0ns: it must be above 0"),
        ),
        (skip().count_skipped_within(MAX), Right),
        (skip().park_keys().park_at_most(usize::MAX), Right),
    ];
    for (supervision, is) in &supervised {
        let settings = |settings| Settings { supervision: *supervision, ..settings };
        look(run(config(), settings), is, &format!("{supervision:?}"));
    }
    let in_config = run(config().supervise(skip().attempts(0)), |settings| settings);
    look(in_config, &Refused("Config::supervise: `Supervision::attempts(0)`"), "in the configuration");
    let changes: &[(&str, Change, Is)] = &[
        ("parallelism 0", |s| Settings { instances: Some(0), ..s }, Refused("`count` has parallelism 0")),
        (
            "parallelism MAX",
            |s| Settings { instances: Some(usize::MAX), ..s },
            Refused("4096 instances are the most"),
        ),
        ("idle_after 0", |s| Settings { lateness: Lateness::none().idle_after(millis(0)), ..s }, Right),
        ("idle_after MAX", |s| Settings { lateness: Lateness::none().idle_after(MAX), ..s }, Right),
        ("lateness MAX", |s| Settings { lateness: Lateness::up_to(MAX), ..s }, Right),
        (
            "state_ttl 0",
            |s| Settings { state_ttl: Duration::ZERO, ..s },
            Refused("`KeyedStream::state_ttl` before `count` is 0"),
        ),
        ("state_ttl MAX", |s| Settings { state_ttl: MAX, ..s }, Right),
        ("Ttl MAX", |s| Settings { ttl: Ttl::after_access(MAX), ..s }, Right),
    ];
    for (setting, change, is) in changes {
        look(run(config(), change), is, setting);
    }
}

#[test]
fn a_life_of_less_than_a_millisecond_is_one_and_a_life_of_nothing_ends_the_job_and_says_so() {
    let nothing = |settings| Settings { ttl: Ttl::after_write(Duration::ZERO), ..settings };
    let error = run(config(), nothing).unwrap_err().to_string();
    assert!(error.contains("the `Ttl` of the collection `before` is 0"), "{error}");
    assert!(error.contains("a restart would not change that"), "{error}");
    assert_eq!(Ttl::after_access(ONE), Ttl::after_access(millis(1)));
    // Not that anything is found after it, but it can be within.
    let short = |settings| Settings { ttl: Ttl::after_write(ONE), ..settings };
    assert_eq!(run(config(), short).unwrap(), right());
}

/// Sums of numbers, in two operators that can be rescaled.
fn summed() -> Topology {
    let topology = Topology::new("summed");
    let numbers = topology.source("numbers", Generator::bounded(60, |n| n)).key_by(|n| n % 7);
    numbers.reduce("sums", |sum, n| sum + n).sink_exactly_once("shown", Collector::new().sink());
    topology
}

#[test]
fn settings_of_a_simulation_are_in_their_range_or_are_refused_by_name() {
    type Change = fn(Simulation) -> Simulation;
    let changes: &[(&str, Change, Result<End, &str>)] = &[
        (
            "panic_at 0",
            |s| s.panic_at(5).panic_at(0),
            Err("`Simulation::panic_at(0)` is out of its range, which is from 1 to 18446744073709551615"),
        ),
        ("panic_at 1", |s| s.panic_at(1), Ok(End::Finished)),
        ("panic_at MAX", |s| s.panic_at(u64::MAX), Ok(End::Finished)),
        ("hang_at 0", |s| s.hang_at(0), Err("`Simulation::hang_at(0)`")),
        ("hang_at 1", |s| s.hang_at(1), Ok(End::Finished)),
        ("hang_at MAX", |s| s.hang_at(u64::MAX), Ok(End::Finished)),
        ("die_at 0", |s| s.die_at(0), Err("`Simulation::die_at(0)`")),
        ("die_at 1", |s| s.die_at(1), Ok(End::Died)),
        ("die_at MAX", |s| s.die_at(u64::MAX), Ok(End::Finished)),
        ("stop_at 0", |s| s.stop_at(0), Err("`Simulation::stop_at(0)`")),
        ("stop_at 1", |s| s.stop_at(1), Ok(End::Stopped)),
        ("stop_at MAX", |s| s.stop_at(u64::MAX), Ok(End::Finished)),
        ("savepoint_at 0", |s| s.savepoint_at(0, "file:///s"), Err("`Simulation::savepoint_at(0)`")),
        ("savepoint_at 1", |s| s.savepoint_at(1, "file:///s"), Ok(End::Finished)),
        ("savepoint_at MAX", |s| s.savepoint_at(u64::MAX, "file:///s"), Ok(End::Finished)),
        (
            "stop_with_savepoint_at 0",
            |s| s.stop_with_savepoint_at(0, "file:///s", Drain::No),
            Err("`Simulation::stop_with_savepoint_at(0)`"),
        ),
        (
            "stop_with_savepoint_at 1",
            |s| s.stop_with_savepoint_at(1, "file:///s", Drain::No),
            Ok(End::Stopped),
        ),
        ("rescale_at 0", |s| s.rescale_at(0, "sums", 1), Err("`Simulation::rescale_at(0)`")),
        ("rescale_at 1", |s| s.rescale_at(1, "sums", 1), Ok(End::Finished)),
        ("rescale_at MAX", |s| s.rescale_at(u64::MAX, "sums", 1), Ok(End::Finished)),
        (
            "rescale_at to 0",
            |s| s.rescale_at(9, "sums", 0),
            Err(
                "the parallelism of `sums`: `Simulation::rescale_at(0)` is out of its range, which is from 1 to 4096",
            ),
        ),
        (
            "rescale_at to MAX",
            |s| s.rescale_at(9, "sums", usize::MAX),
            Err("the parallelism of `sums`: `Simulation::rescale_at(18446744073709551615)`"),
        ),
        ("at_most_steps 0", |s| s.at_most_steps(0), Err("`Simulation::at_most_steps(0)`")),
        ("at_most_steps 1", |s| s.at_most_steps(1), Err("it was not over after 1 steps")),
        ("at_most_steps MAX", |s| s.at_most_steps(u64::MAX), Ok(End::Finished)),
    ];
    for (setting, change, is) in changes {
        let config = Config::local().with_simulation(change(Simulation::seeded(3)));
        let result = summed().run(config.parallelism(2).checkpoint_interval(millis(1)));
        match (result, is) {
            (Ok(outcome), Ok(end)) => assert_eq!(outcome.end, *end, "{setting}"),
            (Err(error), Err(said)) => {
                assert!(error.to_string().contains(said), "{setting}: {said} is missing in {error}");
            }
            (result, _) => panic!("{setting}: {result:?}"),
        }
    }
}

#[test]
fn settings_of_the_simulator_are_in_their_range_or_are_refused_by_name_before_anything_is_run() {
    type Change = fn(Simulator<'_>) -> Simulator<'_>;
    let changes: &[(&str, Change, Is)] = &[
        ("at_most 0", |s| s.at_most(0), Right),
        ("at_most 1", |s| s.at_most(1), Right),
        ("at_most MAX", |s| s.at_most(usize::MAX), Right),
        ("no faults", |s| s.faults(&[]), Right),
        (
            "parallelism of none",
            |s| s.parallelism(&[]),
            Refused("`Simulator::parallelism` names no number of instances: name at least one"),
        ),
        (
            "parallelism 0",
            |s| s.parallelism(&[2, 0]),
            Refused("`Simulator::parallelism(0)` is out of its range, which is from 1 to 4096"),
        ),
        ("parallelism 1", |s| s.parallelism(&[1]), Right),
        ("parallelism MAX", |s| s.parallelism(&[usize::MAX]), Refused("`Simulator::parallelism(1844")),
        ("no state_backends", |s| s.state_backends(&[]), Right),
        (
            "checkpoint_interval 0",
            |s| s.checkpoint_interval(Duration::ZERO),
            Refused("`Simulator::checkpoint_interval` is 0ns: it must be above 0"),
        ),
        ("checkpoint_interval 1", |s| s.checkpoint_interval(ONE), Right),
        ("checkpoint_interval MAX", |s| s.checkpoint_interval(MAX), Right),
        (
            "at_most_steps 0",
            |s| s.at_most_steps(0),
            Refused("`Simulator::at_most_steps(0)` is out of its range, which is from 1"),
        ),
        ("at_most_steps 1", |s| s.at_most_steps(1), Refused("it was not over after 1 steps")),
        ("at_most_steps MAX", |s| s.at_most_steps(u64::MAX), Right),
        (
            "config with an interval of 0",
            |s| s.config(Config::local().checkpoint_interval(Duration::ZERO)),
            Refused("`Config::checkpoint_interval` is 0ns"),
        ),
        ("config with credits 0", |s| s.config(Config::local().credits(0)), Refused("`Config::credits(0)`")),
    ];
    let topology = summed();
    for (setting, change, is) in changes {
        let run = change(Simulator::new(&topology)).run_many(0..3, MAX);
        match (run, is) {
            (Ok(done), Right) => assert_eq!(done.seeds, 3, "{setting}"),
            (Err(failure), Refused(said)) => {
                let text = failure.violation.to_string();
                assert!(text.contains(said), "{setting}: {said} is missing in {failure}");
                assert!(change(Simulator::new(&topology)).rehearse().is_err(), "{setting}");
            }
            (Ok(_), Refused(said)) => panic!("{setting} is not refused with {said}"),
            (Err(failure), Right) => panic!("{setting} is refused: {failure}"),
        }
    }
    // In no time nothing is run, and any time is enough for no seeds.
    let mut simulator = Simulator::new(&topology);
    for (seeds, budget) in [(0..u64::MAX, Duration::ZERO), (u64::MAX..u64::MAX, MAX)] {
        assert_eq!(simulator.run_many(seeds, budget).unwrap().seeds, 0);
    }
    assert_eq!(simulator.run_many(u64::MAX - 1..u64::MAX, MAX).unwrap().seeds, 1);
}

#[cfg(feature = "rocksdb")]
#[test]
fn memory_of_a_database_is_at_least_a_mebibyte_and_any_number_above() {
    for (memory, entries) in [(0, 0), (1, 1), (usize::MAX, usize::MAX)] {
        let backend = RocksDb::new().memory_bytes(memory).cache_entries(entries);
        let config = config().state_backend(backend);
        look(run(config, |settings| settings), &Right, &format!("{memory} bytes, {entries} entries"));
    }
}

/// Endless numbers, into a sink that shows them with checkpoints or into one that does not wait for any.
fn endless(exactly_once: bool) -> (Topology, Collector<u64>) {
    let (topology, shown) = (Topology::new("endless"), Collector::new());
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).parallelism(1).rate(1.0);
    if exactly_once {
        numbers.sink_exactly_once("shown", shown.sink());
    } else {
        numbers.for_each(|_| {});
    }
    (topology, shown)
}

#[test]
fn what_shows_its_output_with_checkpoints_has_one_every_ten_seconds_without_being_told() {
    let for_a_minute = || Config::local().with_simulation(Simulation::seeded(1).die_at(400));
    let (topology, shown) = endless(true);
    let outcome = topology.run(for_a_minute()).unwrap();
    assert_eq!(outcome.end, End::Died);
    assert!(outcome.checkpoints > 1, "{outcome:?}");
    let shown = shown.take();
    assert!(shown.len() > 10 && shown.iter().copied().eq(0..shown.len() as u64), "{shown:?}");
    // Where nothing waits for them there are none.
    let (topology, _) = endless(false);
    assert_eq!(topology.run(for_a_minute()).unwrap().checkpoints, 0);
}

/// A job with files, dead letters and checkpoints, all of them in files that are named after it.
fn named(topology: &str, operator: &str, folder: &TempDir) -> Result<End, watershed::Error> {
    let topology = Topology::new(topology);
    topology
        .source("numbers", Generator::bounded(100, |n| n))
        .key_by(|n| n % 3)
        .reduce(operator, |sum, n| sum + n)
        .supervise(Supervision::quarantine())
        .sink_exactly_once(&format!("{}-", &operator[1..]), Files::jsonl(folder.path().join("out")));
    let config = config().checkpoints(folder.path().join("checkpoints")).ignore_signals();
    topology.run(config.checkpoint_interval(millis(1))).map(|outcome| outcome.end)
}

#[test]
fn a_name_is_as_long_as_files_can_be_named_after_it_and_no_longer() {
    let folder = TempDir::new().unwrap();
    assert_eq!(named(&"t".repeat(160), &"o".repeat(160), &folder).unwrap(), End::Finished);
    let error = named("t", &"o".repeat(161), &folder).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.to_string().contains("it has 161 bytes, and 160 are the most"), "{error}");
}

#[test]
fn a_name_of_a_topology_can_stand_in_a_path_and_in_a_line() {
    let folder = TempDir::new().unwrap();
    for (name, shown) in [
        ("", "``"),
        ("../x", "`../x`"),
        ("a/b", "`a/b`"),
        ("a\nb", r"`a\nb`"),
        ("\u{1b}[31m", r"`\u001b[31m`"),
        (&"t".repeat(161), "of 160 bytes at most"),
    ] {
        let error = named(name, "sums", &folder).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("cannot be the name of a topology") && text.contains(shown), "{text}");
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    assert_eq!(named("Zahlen, zweimal", "sums", &folder).unwrap(), End::Finished);
}

#[test]
fn checkpoints_of_an_earlier_name_of_the_topology_are_its_own_if_it_says_so() {
    let disk = watershed::SimulatedDisk::new(1);
    let run = |topology: Topology, die_at: Option<u64>| {
        let shown = topology.source("numbers", Generator::bounded(2_000, |n| n)).parallelism(1);
        shown.sink_exactly_once("out", Files::lines("/out"));
        let simulation = seeded(1).on_disk(&disk);
        let simulation = if let Some(step) = die_at { simulation.die_at(step) } else { simulation };
        topology.run(crate::fixture::simulated(simulation))
    };
    let outcome = run(Topology::new("before"), Some(300)).unwrap();
    assert!(outcome.end == End::Died && outcome.checkpoint.is_some(), "{outcome:?}");
    let error = run(Topology::new("now"), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.to_string().contains("say that it was called so with `Topology::formerly`"), "{error}");
    let outcome = run(Topology::new("now").formerly("../odd").formerly("before"), None).unwrap();
    assert_eq!(outcome.end, End::Finished);
    assert_eq!(crate::fixture::lines_in(&disk, "/out").len(), 2_000);
}
