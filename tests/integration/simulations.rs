//! The project's topologies in the simulator, and the simulator itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use watershed::prelude::*;
use watershed::{
    Collector, Difference, FaultKind, Fs, NoClaim, OutputClaim, Owner, Prepare, Seed, SimulatedDisk,
    Simulation, SimulationFailure, Simulations, Simulator, SinkContext, TwoPhaseSink, TwoPhaseWriter,
    Violation, simulate, simulate_many,
};

use crate::fixture::{payments_of, seeds};
use crate::topologies::bugs::hunt_all;
use crate::topologies::{ALL, both_backends, ends, lates};
use watershed_state::bug::Bug;

/// Runs these seeds, every one of them.
fn run_all(simulator: &mut Simulator<'_>, seeds: Range<u64>) -> Simulations {
    let done = simulator.run_many(seeds.clone(), minutes(60)).unwrap();
    assert_eq!(done.seeds, seeds.end - seeds.start, "the time was up");
    done
}

#[test]
fn the_projects_topologies_come_through_all_that_seeds_do_to_them() {
    for named in ALL {
        let topology = named.topology();
        let done = run_all(&mut named.simulator(&topology), seeds(100));
        assert!(done.lives > done.seeds, "{}: no process ever died", named.name);
    }
}

#[test]
fn they_do_so_too_with_state_in_memory_in_one_life_and_in_a_database_in_another() {
    for named in ALL {
        let topology = named.topology();
        run_all(&mut named.simulator(&topology).state_backends(&both_backends()), seeds(34));
    }
}

#[test]
fn with_a_database_the_same_seed_gives_the_same_simulation() {
    for named in ALL {
        let run = |seed| {
            let topology = named.topology();
            named.simulator(&topology).state_backends(&both_backends()).run(Seed(seed)).unwrap()
        };
        (0..3).for_each(|seed| assert_eq!(run(seed), run(seed), "{}, seed {seed}", named.name));
    }
}

#[test]
fn no_bug_that_is_put_into_the_engine_on_purpose_is_missed() {
    let hunts = hunt_all(Bug::ALL.iter().copied(), 5_000);
    for (bug, found) in hunts.iter().filter_map(|hunt| Some((hunt.bug, hunt.found.as_ref()?))) {
        println!("{bug:?}: seed {} of `{}`: {}", found.seeds, found.topology, found.how);
    }
    let missed: Vec<Bug> = hunts.iter().filter(|hunt| hunt.found.is_none()).map(|hunt| hunt.bug).collect();
    assert!(missed.is_empty(), "missed: {missed:?}");
}

#[test]
fn the_same_seed_gives_the_same_simulation_to_the_byte() {
    for named in ALL {
        let run = |seed| named.simulator(&named.topology()).run(Seed(seed)).unwrap();
        let traces: Vec<u64> = (0..5)
            .map(|seed| {
                assert_eq!(run(seed), run(seed), "{}, seed {seed}", named.name);
                run(seed).trace
            })
            .collect();
        assert!(traces.iter().any(|trace| *trace != traces[0]), "{}: all seeds are the same", named.name);
    }
}

#[test]
fn the_same_seed_gives_the_same_simulation_wherever_it_is_called_from() {
    let named = ALL.iter().find(|named| named.name == "poison").unwrap();
    for seed in 0..10 {
        let here = named.simulator(&named.topology()).run(Seed(seed)).unwrap();
        let elsewhere =
            std::thread::spawn(move || named.simulator(&named.topology()).run(Seed(seed)).unwrap());
        assert_eq!(elsewhere.join().unwrap(), here, "seed {seed}");
    }
}

#[test]
fn what_happened_before_with_the_same_topology_makes_no_difference() {
    let named = ALL.iter().find(|named| named.name == "tallies").unwrap();
    let topology = named.topology();
    let mut simulator = named.simulator(&topology);
    let first = simulator.run(Seed(3)).unwrap();
    simulator.run(Seed(4)).unwrap();
    assert_eq!(simulator.run(Seed(3)).unwrap(), first);
}

#[test]
fn the_output_is_what_a_plain_computation_says() {
    let topology = payments_of(20, 60);
    let expected = crate::fixture::expected_payments_of(20, 60);
    for seed in 0..20 {
        let output = simulate(&topology, Seed(seed)).unwrap().output;
        assert_eq!(output["entries"], expected["/out/entries"]);
        assert_eq!(output["large"], expected["/out/large"]);
    }
}

#[test]
fn what_is_known_at_the_end_of_the_input_is_sent_once_whatever_happens() {
    let named = ALL.iter().find(|named| named.name == "ends").unwrap();
    let topology = named.topology();
    for seed in 0..20 {
        let output = named.simulator(&topology).run(Seed(seed)).unwrap().output;
        for (sink, expected) in ends::expected() {
            assert_eq!(output[sink], expected, "{sink}, seed {seed}");
        }
    }
}

#[test]
fn checkpoints_that_seeds_give_too_little_time_do_not_keep_a_job_from_its_end() {
    let named = ALL.iter().find(|named| named.name == "sessions").unwrap();
    let topology = named.topology();
    let simulated = named.simulator(&topology).run(Seed(664)).unwrap();
    assert!(simulated.steps < 30_000, "{} steps", simulated.steps);
}

#[test]
fn a_budget_of_time_ends_many_simulations() {
    let topology = payments_of(3, 3);
    assert_eq!(simulate_many(&topology, 0..1_000_000, millis(0)).unwrap().seeds, 0);
    assert_eq!(simulate_many(&topology, 5..8, minutes(10)).unwrap().seeds, 3);
}

/// Numbers the records of each key, in a place that no restart takes back.
struct Forgetful(Mutex<BTreeMap<u64, u64>>);

impl Process for Forgetful {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = ();

    fn on_record(&self, record: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        let mut numbers = self.0.lock().unwrap();
        let nth = numbers.entry(record % 5).or_default();
        *nth = *nth % RECORDS_OF_KEY + 1;
        context.emit((record % 5, *nth));
        Ok(())
    }
}

const RECORDS_OF_KEY: u64 = 20;

fn forgetful(topology: &Topology) {
    topology
        .source("numbers", Generator::bounded(5 * RECORDS_OF_KEY, |n| n))
        .key_by(|n| n % 5)
        .actor("number", Forgetful(Mutex::default()))
        .sink_exactly_once("files", Files::jsonl("/out"));
}

fn first_failure(simulator: &mut Simulator<'_>) -> SimulationFailure {
    simulator.run_many(0..500, minutes(10)).unwrap_err()
}

#[test]
fn state_that_is_kept_where_no_restart_takes_it_back_is_found_with_the_one_fault_that_it_takes() {
    let topology = Topology::new("forgetful");
    forgetful(&topology);
    let failure = first_failure(&mut Simulator::new(&topology).faults(&[FaultKind::Panic, FaultKind::Stop]));
    let Violation::Output { finished: true, differences } = &failure.violation else { panic!("{failure}") };
    let [Difference { sink, missing, too_much }] = &differences[..] else { panic!("{failure}") };
    assert!(sink == "files" && missing.len() == too_much.len() && !missing.is_empty(), "{failure}");
    assert_eq!(failure.faults.len(), 1, "{failure}");
    let report = failure.to_string();
    let seed = failure.seed.0;
    for part in [
        &format!("with seed {seed}"),
        "it takes one fault",
        "a task panics",
        "missing ",
        "too much",
        "checkpoint 1 begins",
        "FAULT",
        &format!("simulate(&topology, Seed({seed}))"),
    ] {
        assert!(report.contains(part), "`{part}` is not in the report:\n{report}");
    }
    assert!(report.lines().count() < 120, "{report}");
}

#[test]
fn what_the_disk_refused_and_what_was_slow_is_in_the_timeline() {
    let topology = Topology::new("forgetful");
    forgetful(&topology);
    for kind in [FaultKind::DiskError, FaultKind::DiskFull] {
        let failure = first_failure(&mut Simulator::new(&topology).faults(&[kind]));
        assert!(!failure.faults.is_empty(), "{failure}");
        for fault in &failure.faults {
            assert!(failure.to_string().contains(&format!("FAULT {fault}")), "{failure}");
        }
    }
    for kind in [FaultKind::SlowDisk, FaultKind::SlowJob, FaultKind::SlowEdge, FaultKind::Hang] {
        let mut simulator = Simulator::new(&topology).faults(&[kind, FaultKind::Panic]).without_shrinking();
        let shows = |failure: SimulationFailure| {
            let of_kind = failure.faults.iter().find(|fault| fault.kind == kind)?;
            failure.to_string().contains(&format!("FAULT {of_kind}")).then_some(())
        };
        let found = (0..200).any(|seed| simulator.run(Seed(seed)).err().and_then(shows).is_some());
        assert!(found, "{kind:?} is in no timeline");
    }
}

#[test]
fn an_error_that_nothing_excuses_is_one_even_if_something_harmless_happened() {
    let topology = Topology::new("unlucky");
    let failed = Arc::new(Mutex::new(false));
    topology
        .source("numbers", Generator::bounded(40, |n| n))
        .supervise(Supervision::stop())
        .try_inspect(move |n| {
            // Only in a run after the first, which is the one without faults.
            let mut failed = failed.lock().unwrap();
            let fails = *n == 30 && *failed;
            *failed |= *n == 39;
            if fails { Err("thirty".into()) } else { Ok(()) }
        })
        .for_each(|_| {});
    let mut harmless_faults = 0;
    let harmless = [FaultKind::Stall, FaultKind::SlowJob, FaultKind::LateReport, FaultKind::SlowDisk];
    let mut simulator = Simulator::new(&topology).parallelism(&[1]).faults(&harmless).without_shrinking();
    for seed in 0..20 {
        let failure = simulator.run(Seed(seed)).unwrap_err();
        assert!(matches!(&failure.violation, Violation::Error(what) if what.contains("thirty")), "{failure}");
        harmless_faults += failure.faults.len();
    }
    assert!(harmless_faults > 20, "only {harmless_faults} faults");
}

#[test]
fn dead_letters_in_a_sink_of_ones_own_are_compared_without_what_is_another_in_each_run() {
    let (topology, collected) = (Topology::new("letters"), Collector::new());
    let numbers = topology
        .source("numbers", Generator::bounded(60, |n| n))
        .parallelism(1)
        .supervise(Supervision::quarantine().at_most_fraction(1.0))
        .try_filter(|n| {
            assert_ne!(*n, 31, "it cannot be handled");
            if n % 20 == 7 { Err("it is refused".into()) } else { Ok(true) }
        });
    numbers.dead_letters().sink_exactly_once("kept", Files::jsonl("/out/letters"));
    numbers
        .dead_letters()
        .map(|letter| (letter.attempts, letter))
        .filter(|(_, letter)| !letter.panicked)
        .sink_exactly_once("collected", collected.sink());
    numbers.sink_exactly_once("passed", Files::jsonl("/out/numbers"));
    run_all(&mut Simulator::new(&topology), 0..200);
    let output = simulate(&topology, Seed(1)).unwrap().output;
    assert_eq!((output["kept"].len(), output["collected"].len(), output["passed"].len()), (4, 3, 56));
}

#[test]
fn a_failure_is_found_again_with_its_seed() {
    let find = || {
        let topology = Topology::new("forgetful");
        forgetful(&topology);
        first_failure(&mut Simulator::new(&topology)).to_string()
    };
    assert_eq!(find(), find());
}

#[test]
fn output_that_depends_on_the_order_of_events_is_said_to_take_no_fault() {
    let topology = Topology::new("race");
    let source = |name| topology.source(name, Generator::bounded(40, |n| n)).parallelism(1);
    source("left")
        .map(|n| n + 1_000)
        .union(&source("right"))
        .key_by(|_| 0_u64)
        .reduce("sum", |sum, n| sum + n)
        .sink_exactly_once("sums", Collector::new().sink());
    let failure = first_failure(&mut Simulator::new(&topology));
    assert!(failure.faults.is_empty(), "{failure}");
    assert!(failure.to_string().contains("no fault is needed"), "{failure}");
}

#[test]
fn a_job_that_never_ends_hangs() {
    let topology = Topology::new("endless");
    topology.source("numbers", Generator::unbounded(|n| n)).for_each(|_| {});
    let failure = Simulator::new(&topology).at_most_steps(5_000).run(Seed(1)).unwrap_err();
    assert!(matches!(failure.violation, Violation::Hang(_)), "{failure}");
}

#[test]
fn a_job_that_fails_by_itself_is_an_error() {
    let topology = Topology::new("poison");
    topology
        .source("numbers", Generator::bounded(40, |n| n))
        .try_inspect(|n| if *n == 30 { Err("thirty".into()) } else { Ok(()) })
        .for_each(|_| {});
    let failure = Simulator::new(&topology).at_most_steps(200_000).run(Seed(1)).unwrap_err();
    assert!(failure.to_string().contains("thirty"), "{failure}");
}

/// A sink of a user's own, in memory: what is committed is shown, or what is written already.
#[derive(Clone)]
struct Own {
    shown: Arc<Mutex<Vec<u64>>>,
    tells: bool,
    hasty: bool,
}

impl Own {
    fn new(tells: bool, hasty: bool) -> Self {
        Self { shown: Arc::default(), tells, hasty }
    }
}

struct OwnWriter {
    sink: Own,
    records: Vec<u64>,
}

impl TwoPhaseSink for Own {
    type In = u64;
    type Writer = OwnWriter;
    type Committable = (u64, u32, Vec<u64>);

    fn check(&self, _fs: &Fs) -> UserResult {
        Ok(())
    }

    fn claim(&self, _owner: &Owner, _fs: &Fs) -> UserResult<Box<dyn OutputClaim>> {
        Ok(Box::new(NoClaim))
    }

    fn open(&self, _context: &SinkContext) -> UserResult<OwnWriter> {
        Ok(OwnWriter { sink: self.clone(), records: Vec::new() })
    }

    fn commit(&self, (_, _, records): &Self::Committable, _context: &SinkContext) -> UserResult {
        if !self.hasty {
            let mut shown = self.shown.lock().unwrap();
            // All records of this test are different, so that it is easy to commit twice.
            let new: Vec<u64> = records.iter().filter(|record| !shown.contains(record)).copied().collect();
            shown.extend(new);
        }
        Ok(())
    }

    fn discard_dangling(
        &self,
        _keep: &[Self::Committable],
        _runs: Range<u64>,
        _instance: Option<usize>,
        _context: &SinkContext,
    ) -> UserResult {
        Ok(())
    }

    fn committed_through(&self, _lineage: &str, _fs: &Fs) -> UserResult<Option<u64>> {
        Ok(None)
    }

    fn lineages(&self, _operator: &str, _fs: &Fs) -> UserResult<BTreeSet<String>> {
        Ok(BTreeSet::new())
    }

    fn visible(&self, _fs: &Fs) -> UserResult<Option<Vec<String>>> {
        let shown = self.shown.lock().unwrap();
        Ok(self.tells.then(|| shown.iter().map(ToString::to_string).collect()))
    }

    fn forget(&self) {
        self.shown.lock().unwrap().clear();
    }
}

impl TwoPhaseWriter for OwnWriter {
    type In = u64;
    type Committable = (u64, u32, Vec<u64>);

    fn write(&mut self, record: u64) -> UserResult {
        self.records.push(record);
        if self.sink.hasty {
            self.sink.shown.lock().unwrap().push(record);
        }
        Ok(())
    }

    fn prepare(&mut self, checkpoint: u64) -> UserResult<Option<Prepare<Self::Committable>>> {
        let records = std::mem::take(&mut self.records);
        Ok(Some(Box::new(move || Ok((checkpoint, 0, records)))))
    }
}

fn into(sink: Own) -> Topology {
    let topology = Topology::new("own");
    topology
        .source("numbers", Generator::bounded(60, |n| n))
        .parallelism(1)
        .sink_exactly_once("own", sink)
        .parallelism(1);
    topology
}

#[test]
fn a_sink_of_ones_own_is_simulated_whether_it_can_tell_what_it_shows_or_not() {
    for tells in [false, true] {
        let topology = into(Own::new(tells, false));
        let output = simulate(&topology, Seed(1)).unwrap().output;
        assert_eq!(output["own"].len(), 60);
        run_all(&mut Simulator::new(&topology), 0..100);
    }
}

#[test]
fn a_sink_that_shows_records_before_their_checkpoint_is_complete_is_found() {
    let topology = into(Own::new(true, true));
    let failure = first_failure(&mut Simulator::new(&topology).faults(&[FaultKind::Panic]));
    let Violation::Output { differences, .. } = &failure.violation else { panic!("{failure}") };
    assert!(!differences[0].too_much.is_empty(), "{failure}");
    assert_eq!(failure.faults.len(), 1, "{failure}");
}

#[test]
fn with_watermarks_per_record_it_follows_from_the_input_which_records_are_late() {
    let topology = lates::with(Lateness::up_to(millis(30)).per_record());
    let mut expected: Vec<String> = lates::expected_late(30).iter().map(ToString::to_string).collect();
    expected.sort_unstable();
    assert!(expected.len() > 30);
    for seed in 0..100 {
        let output = Simulator::new(&topology).run(Seed(seed)).unwrap().output;
        assert_eq!(output["late"], expected, "seed {seed}");
    }
}

#[test]
fn late_records_that_depend_on_time_are_found_and_the_report_says_what_to_do() {
    let topology = lates::with(Lateness::up_to(millis(30)));
    let failure = first_failure(&mut Simulator::new(&topology));
    let report = failure.to_string();
    assert!(report.contains("with another order of events the result is another one"), "{report}");
    assert!(report.contains("`Lateness::per_record`") && report.contains("ignore_output"), "{report}");
    // What may differ is left out.
    let mut simulator = Simulator::new(&topology).ignore_output("late").ignore_output("counts");
    run_all(&mut simulator, 0..50);
}

/// Emits each number half a minute after it came, and a hundred seconds later what time it is.
struct Slowly;

impl Process for Slowly {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, n: u64, state: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *state = n;
        context.timer_at(n as i64 * 1_000);
        context.emit(context.now_ms() as u64);
        Ok(())
    }

    fn on_timer(&self, _: Timer, state: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        context.emit(*state);
        Ok(())
    }
}

/// A hundred numbers, one a second.
fn slowly() -> Topology {
    let topology = Topology::new("slowly");
    let numbers = topology.source("numbers", Generator::bounded(100, |n| n)).parallelism(1).rate(1.0);
    let timed = numbers.event_time(|n| *n as i64 * 1_000, Lateness::up_to(seconds(30)));
    let slow = timed.key_by(|n| n % 10).actor("slowly", Slowly);
    slow.filter(|n| *n < 100).sink_exactly_once("numbers-again", Files::jsonl("/out/numbers"));
    slow.filter(|n| *n >= 100).sink_exactly_once("times", Files::jsonl("/out/times"));
    topology
}

#[test]
fn a_job_with_constants_of_its_own_is_simulated_with_checkpoints_as_often_as_it_needs() {
    let topology = slowly();
    let check = |times: &[String]| {
        assert_eq!(times.len(), 100);
        Ok(())
    };
    let with_interval = |simulator: Simulator<'_>| {
        let mut simulator = simulator.at_most_steps(60_000);
        let done = simulator.run_many(0..30, minutes(60)).unwrap();
        assert_eq!(done.seeds, 30);
        simulator.run(Seed(1)).unwrap()
    };
    let simulator = || Simulator::new(&topology).check_output("times", check);
    let simulated = with_interval(simulator().checkpoint_interval(seconds(5)));
    assert_eq!(simulated.output["numbers-again"].len(), 100);
    assert!((5..200).contains(&simulated.checkpoints), "{}", simulated.checkpoints);
    // So it is with that of the configuration.
    let configured = with_interval(simulator().config(Config::local().checkpoint_interval(seconds(5))));
    assert_eq!(configured, simulated);
    // Also where that is as often as they are made anyway.
    let said = with_interval(simulator().config(Config::local().checkpoint_interval(seconds(10))));
    assert_eq!(said, with_interval(simulator().checkpoint_interval(seconds(10))));
    // A folder alone says nothing about it.
    let unsaid = simulator().config(Config::local().checkpoints("/elsewhere"));
    let unsaid = unsaid.at_most_steps(30_000).run(Seed(1)).unwrap_err();
    assert!(unsaid.to_string().contains("checkpoints every 2 ms"), "{unsaid}");
}

#[test]
fn a_job_that_waits_for_longer_than_its_steps_last_is_told_which_setting_to_change() {
    let topology = slowly();
    let failure = Simulator::new(&topology).at_most_steps(30_000).run(Seed(1)).unwrap_err();
    let Violation::Hang(why) = &failure.violation else { panic!("{failure}") };
    for part in
        ["after 30000 steps", "s of virtual time", "one every 2.", "`checkpoint_interval`", "`at_most_steps`"]
    {
        assert!(why.contains(part), "`{part}` is not in: {why}");
    }
    let report = failure.to_string();
    assert!(report.contains("it is so in the run without faults"), "{report}");
    assert!(!report.contains("another order of events"), "{report}");
}

#[test]
fn output_that_depends_on_time_is_left_out_or_checked() {
    let topology = Topology::new("stamps");
    let numbers =
        topology.source("numbers", Generator::bounded(60, |n| n)).key_by(|n| *n).actor("slowly", Slowly);
    numbers.filter(|n| *n >= 100).sink_exactly_once("stamps", Collector::new().sink());
    let differs = first_failure(&mut Simulator::new(&topology));
    assert!(matches!(differs.violation, Violation::Output { .. }), "{differs}");
    run_all(&mut Simulator::new(&topology).ignore_output("stamps"), 0..30);

    let count = |wanted: usize| {
        move |records: &[String]| {
            if records.len() == wanted { Ok(()) } else { Err(format!("{} stamps", records.len()).into()) }
        }
    };
    run_all(&mut Simulator::new(&topology).check_output("stamps", count(60)), 0..30);
    let failure = Simulator::new(&topology).check_output("stamps", count(59)).run(Seed(1)).unwrap_err();
    let Violation::Check { sink, why } = &failure.violation else { panic!("{failure}") };
    assert_eq!((sink.as_str(), why.as_str()), ("stamps", "60 stamps"));

    let panics = |_: &[String]| -> UserResult { panic!("not so") };
    let failure = Simulator::new(&topology).check_output("stamps", panics).run(Seed(1)).unwrap_err();
    assert!(
        failure.to_string().contains("`stamps` shows does not pass its check: panicked: not so"),
        "{failure}"
    );

    let failure = Simulator::new(&topology).ignore_output("stamp").run(Seed(1)).unwrap_err();
    assert!(
        failure.to_string().contains("there is no sink `stamp`")
            && failure.to_string().contains("there are stamps"),
        "{failure}"
    );
}

#[test]
fn a_simulated_job_keeps_its_dead_letters_on_its_disk() {
    let topology = Topology::new("letters");
    topology
        .source("numbers", Generator::bounded(20, |n| n))
        .parallelism(1)
        .supervise(Supervision::quarantine())
        .try_filter(|n| if *n == 7 { Err("it is refused".into()) } else { Ok(true) })
        .for_each(|_| {});
    let disk = SimulatedDisk::new(1);
    let simulation = Simulation::seeded(1).on_disk(&disk);
    assert_eq!(topology.run(Config::local().with_simulation(simulation)).unwrap().end, End::Finished);
    assert_eq!(crate::fixture::lines_in(&disk, "/watershed-dead-letters/numbers").len(), 1);
    assert_eq!(topology.run(Config::simulated(2)).unwrap().end, End::Finished);
}
