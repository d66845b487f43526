//! Rescaling while the job runs: in the simulation, on real threads, and between kills.

mod measured;
mod processes;
mod refusals;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Collector, RocksDb, Seed, SimulatedDisk, StateBackend, Tree};
use watershed_state::bug::{self, Bug};

use crate::fixture::{
    Count, compare, expected_payments, expected_payments_of, finish, lines_in, payments, payments_of,
    plain_counts, seeded, seeds, shown_payments, simulated, text, visible_lines,
};
use crate::topologies::ALL;

fn over_a_database() -> StateBackend {
    RocksDb::new().memory_bytes(0).cache_entries(3).into()
}

/// How many instances an operator has.
fn width(tree: &Tree, operator: &str) -> usize {
    (0..4_096).take_while(|instance| tree.instance(operator, *instance).is_some()).count()
}

/// Lets each record wait for a moment of processing time, or for the end of event time if that comes first.
struct Waits;

impl Process for Waits {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = Vec<u64>;

    fn on_record(&self, n: u64, waiting: &mut Vec<u64>, context: &mut Context<'_, Self>) -> UserResult {
        waiting.push(n);
        context.timer_at_processing_time(context.now_ms() + 3);
        context.timer_at(1 << 40);
        Ok(())
    }

    fn on_timer(&self, _: Timer, waiting: &mut Vec<u64>, context: &mut Context<'_, Self>) -> UserResult {
        waiting.drain(..).for_each(|n| context.emit(n));
        Ok(())
    }
}

/// Enough for three rescalings on the way.
const NUMBERS: u64 = 1_200;
const PAYMENTS: (u64, u64) = (200, 600);

/// Numbers that wait for timers, and come out once each.
fn waiting() -> Topology {
    let topology = Topology::new("waiting");
    topology
        .source("numbers", Generator::bounded(NUMBERS, |n| n).splits(3))
        .event_time(|n| *n as i64, Lateness::none())
        .key_by(|n| n % 23)
        .actor("waits", Waits)
        .sink_exactly_once("files", Files::lines("/out/waiting"));
    topology
}

fn check_waiting(disk: &SimulatedDisk, when: &str) {
    let mut shown: Vec<u64> =
        lines_in(disk, "/out/waiting").iter().map(|line| line.parse().unwrap()).collect();
    shown.sort_unstable();
    assert_eq!(shown, (0..NUMBERS).collect::<Vec<_>>(), "{when}");
}

fn check_payments(disk: &SimulatedDisk, when: &str) {
    compare(&shown_payments(disk), &expected_payments(), when);
}

fn check_many_payments(disk: &SimulatedDisk, when: &str) {
    compare(&shown_payments(disk), &expected_payments_of(PAYMENTS.0, PAYMENTS.1), when);
}

/// Rescales an operator from two to five, to one and to three instances in the middle of the work, with many seeds, and
/// looks at what is shown in the end.
fn rescale_about(
    topology: &Topology,
    operator: &str,
    backend: &StateBackend,
    check: fn(&SimulatedDisk, &str),
) {
    let mut reached = 0;
    // A database in a simulation takes its time.
    let in_memory = matches!(backend, StateBackend::Memory);
    let seeds = if in_memory { seeds(20) } else { 0..5 };
    for seed in seeds.clone() {
        let config = |simulation| simulated(simulation).parallelism(2).state_backend(backend.clone());
        let steps = topology.run(config(seeded(seed))).unwrap().steps;
        let disk = SimulatedDisk::new(seed);
        let mut simulation = seeded(seed).on_disk(&disk);
        for turn in 0..15 {
            // Asked again, as it is refused while the one before is under way.
            let instances = [5, 1, 3][turn as usize / 5];
            simulation = simulation.rescale_at(steps / 10 + steps * turn / 20, operator, instances);
        }
        let outcome = topology.run(config(simulation)).unwrap();
        assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0), "seed {seed}");
        check(&disk, &format!("seed {seed}"));
        reached += u64::from(width(&outcome.tree, operator) == 3);
    }
    let often = reached * 4 > seeds.end - seeds.start;
    assert!(!in_memory || often, "{reached} of {seeds:?} came to three instances");
}

#[test]
fn a_job_with_event_time_timers_is_rescaled_again_and_again() {
    let topology = payments_of(PAYMENTS.0, PAYMENTS.1);
    rescale_about(&topology, "ledger", &StateBackend::Memory, check_many_payments);
    rescale_about(&topology, "ledger", &over_a_database(), check_many_payments);
}

#[test]
fn a_job_with_processing_time_timers_is_rescaled_again_and_again() {
    rescale_about(&waiting(), "waits", &StateBackend::Memory, check_waiting);
    rescale_about(&waiting(), "waits", &over_a_database(), check_waiting);
}

#[test]
fn the_splits_of_a_source_are_dealt_out_anew() {
    rescale_about(&waiting(), "numbers", &StateBackend::Memory, check_waiting);
}

/// A life for each number in which the process rescales, in some of them a task panics, and then dies.
fn lives_and_deaths(
    topology: &Topology,
    operator: &str,
    backend: fn(u64) -> StateBackend,
    check: fn(&SimulatedDisk, &str),
) {
    for seed in seeds(15) {
        let disk = SimulatedDisk::new(seed);
        for life in 0..12 {
            let begin = 10 + (seed * 7 + life * 13) % 60;
            let mut simulation = seeded(seed * 100 + life)
                .on_disk(&disk)
                .rescale_at(begin, operator, [5, 1, 3, 2][(seed + life) as usize % 4])
                .die_at(begin + (seed * 11 + life * 29) % 140);
            if life % 3 == 1 {
                simulation = simulation.panic_at(begin + 5 + (seed * 5 + life) % 60);
            }
            let outcome = topology.run(simulated(simulation).state_backend(backend(life))).unwrap();
            if outcome.end != End::Died {
                break;
            }
        }
        finish(topology, seed, &disk);
        check(&disk, &format!("seed {seed}"));
    }
}

#[test]
fn a_process_that_dies_before_during_or_after_it_comes_up_again() {
    lives_and_deaths(&payments(), "ledger", |_| StateBackend::Memory, check_payments);
    lives_and_deaths(&waiting(), "waits", |_| StateBackend::Memory, check_waiting);
    let in_turn = |life: u64| if life.is_multiple_of(2) { over_a_database() } else { StateBackend::Memory };
    lives_and_deaths(&payments(), "ledger", in_turn, check_payments);
}

#[test]
fn a_region_that_fails_right_after_it_goes_back_to_the_checkpoint_that_it_began_with() {
    let mut restarts = 0;
    for seed in seeds(60) {
        let disk = SimulatedDisk::new(seed);
        let at = 40 + seed;
        let mut simulation = seeded(seed).on_disk(&disk).rescale_at(at, "ledger", 4);
        // There is no other checkpoint for a while.
        for panic in 0..4 {
            simulation = simulation.panic_at(at + 60 + seed + 20 * panic);
        }
        let config = simulated(simulation).checkpoint_interval(millis(50));
        restarts +=
            payments().run(config.restart(Restart::from_snapshot().fixed(millis(1)))).unwrap().restarts;
        check_payments(&disk, &format!("seed {seed}"));
    }
    assert!(restarts > 20, "{restarts} restarts");
}

#[test]
fn the_next_process_goes_on_with_it_until_the_configuration_says_something_else() {
    let disk = SimulatedDisk::new(1);
    let life = |seed: u64, parallelism: usize, rescale: Option<usize>, stop: u64| {
        let mut simulation = seeded(seed).on_disk(&disk).stop_at(stop);
        simulation = match rescale {
            Some(instances) => simulation.rescale_at(20, "ledger", instances),
            None => simulation,
        };
        let outcome = payments().run(simulated(simulation).parallelism(parallelism)).unwrap();
        width(&outcome.tree, "ledger")
    };
    assert_eq!(life(1, 2, Some(5), 200), 5);
    assert_eq!(life(2, 2, None, 30), 5);
    assert_eq!(life(3, 3, None, 30), 3);
    // What it was rescaled to before is forgotten by then.
    assert_eq!(life(4, 2, None, 30), 2);
    finish(&payments(), 5, &disk);
    check_payments(&disk, "in the end");
}

#[test]
fn the_simulator_rescales_operators_and_finds_what_is_wrong_with_it() {
    let mut rescales = 0;
    for named in ALL {
        let topology = named.topology();
        let mut simulator = named.simulator(&topology);
        rescales += (0..20).map(|seed| simulator.run(Seed(seed)).unwrap().rescales).sum::<u64>();
    }
    assert!(rescales > 10, "{rescales} in all of them");
    let named = &ALL[0];
    let topology = named.topology();
    let mut simulator = named.simulator(&topology).without_shrinking();
    simulator.rehearse().unwrap();
    let _seeded = bug::seed(Bug::RescaledFromOlderCheckpoint);
    let failure = (0..500).find_map(|seed| simulator.run(Seed(seed)).err()).unwrap().to_string();
    assert!(failure.contains("is to have") && failure.contains("an operator is rescaled"), "{failure}");
}

/// Words that come at a pace, counted exactly once into a real folder.
fn words(input: &std::path::Path, output: &std::path::Path, per_second: f64) -> Topology {
    let topology = Topology::new("words");
    topology
        .source("lines", Lines::from_file(input).split_bytes(8 << 10))
        .rate(per_second)
        .flat_map(|line| line.split_whitespace().map(str::to_string).collect::<Vec<_>>())
        .key_by(String::clone)
        .actor("count", Count)
        .sink_exactly_once("files", Files::jsonl(output));
    topology
}

#[test]
fn words_are_counted_exactly_once_on_real_threads_while_everything_is_rescaled() {
    for backend in [StateBackend::Memory, RocksDb::new().cache_entries(50).into()] {
        let folder = TempDir::new().unwrap();
        let (input, output) = (folder.path().join("text"), folder.path().join("output"));
        std::fs::write(&input, text(12_000)).unwrap();
        let config = Config::local()
            .checkpoints(folder.path().join("state"))
            .checkpoint_interval(millis(20))
            .parallelism(2)
            .state_backend(backend)
            .ignore_signals();
        let job = words(&input, &output, 6_000.0).start(config).unwrap();
        for (operator, from, to) in [
            ("count", 2, 5),
            ("lines", 2, 3),
            ("count", 5, 1),
            ("files", 1, 2),
            ("count", 1, 3),
            ("lines", 3, 1),
        ] {
            let done = job.rescale(operator, to).unwrap();
            assert_eq!((&*done.operator, done.from, done.to), (operator, from, to));
            let tree = job.tree().unwrap();
            assert_eq!(width(&tree, operator), to);
            assert!(tree.checkpoint >= Some(done.checkpoint));
        }
        let outcome = job.wait().unwrap();
        assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0));
        assert_eq!(visible_lines(&output), plain_counts(&input));
    }
}

#[test]
fn a_job_without_a_checkpoint_folder_is_rescaled_too() {
    let shown = Collector::new();
    let topology = Topology::new("in-memory");
    topology
        .source("numbers", Generator::bounded(5_000, |n| n).splits(2))
        .rate(5_000.0)
        .key_by(|n| n % 97)
        .actor("waits", Waits)
        .sink_exactly_once("shown", shown.sink());
    let job = topology.start(Config::local().parallelism(2).ignore_signals()).unwrap();
    for instances in [5, 1, 3] {
        assert_eq!(job.rescale("waits", instances).unwrap().to, instances);
    }
    assert_eq!(job.wait().unwrap().end, End::Finished);
    let mut shown = shown.take();
    shown.sort_unstable();
    assert_eq!(shown, (0..5_000).collect::<Vec<u64>>());
}
