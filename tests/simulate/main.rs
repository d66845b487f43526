//! The project's topologies in the simulator, with as many seeds as somebody has time for.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

#[path = "../integration/fixture.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod fixture;
#[path = "../topologies/all.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod topologies;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use watershed::{Seed, SimulationFailure, Simulator, Topology};

use topologies::bugs::{Hunt, hunt_all};
use topologies::{ALL, Named};
use watershed_state::bug::Bug;

/// Runs seeds over the project's topologies: seed `n` runs topology `n` modulo their number.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// All of them over this topology.
    #[arg(long)]
    topology: Option<String>,
    /// The state of keys in memory in one life of the process, in RocksDB in another.
    #[arg(long)]
    rocksdb: bool,
    /// Threads that share the seeds.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Looks for each of the bugs that can be put into the engine, with at most so many seeds.
    #[arg(long, conflicts_with = "topology")]
    bugs: bool,
}

/// Whole reports that are printed; of further failures only the seed.
const REPORTS: usize = 10;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.bugs {
        return hunt_bugs(&args);
    }
    let chosen: Vec<&Named> =
        ALL.iter().filter(|named| args.topology.as_ref().is_none_or(|name| name == named.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = ALL.iter().map(|named| named.name).collect();
        eprintln!("there is no such topology; these are there: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let done = AtomicU64::new(0);
    let mut failures: Vec<SimulationFailure> = std::thread::scope(|scope| {
        let share = |share| run_share(&chosen, &args, share, &done);
        let threads: Vec<_> = (0..args.threads).map(|index| scope.spawn(move || share(index))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    failures.sort_by_key(|failure| failure.seed);
    for failure in failures.iter().take(REPORTS) {
        println!("{failure}\n");
    }
    for failure in failures.iter().skip(REPORTS) {
        println!("seed {} fails too", failure.seed.0);
    }
    println!("seeds: {} clean, {} failed", args.seeds - failures.len() as u64, failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Looks for all bugs and prints what found them.
fn hunt_bugs(args: &Args) -> ExitCode {
    let hunts: Vec<Hunt> = std::thread::scope(|scope| {
        let share = |share| {
            let bugs = Bug::ALL.iter().copied().enumerate();
            let mine = bugs.filter(move |(index, _)| *index as u64 % args.threads == share);
            hunt_all(mine.map(|(_, bug)| bug), args.seeds)
        };
        let threads: Vec<_> = (0..args.threads).map(|index| scope.spawn(move || share(index))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    println!("{:<32} {:>6}  {:<12} how it shows", "bug", "seeds", "topology");
    let mut missed = 0;
    for bug in Bug::ALL {
        let Some(hunt) = hunts.iter().find(|hunt| hunt.bug == *bug) else { continue };
        let name = format!("{bug:?}");
        match &hunt.found {
            Some(found) => {
                println!("{name:<32} {:>6}  {:<12} {}", found.seeds, found.topology, found.how);
            }
            None => {
                missed += 1;
                println!("{name:<32} {:>6}  missed", format!(">{}", args.seeds));
            }
        }
    }
    println!("bugs: {} found, {missed} missed", Bug::ALL.len() - missed);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn simulator<'a>(named: &Named, topology: &'a Topology, rocksdb: bool) -> Simulator<'a> {
    let simulator = named.simulator(topology);
    if rocksdb { simulator.state_backends(&topologies::both_backends()) } else { simulator }
}

/// Runs every seed that belongs to one of the threads. Returns what failed.
fn run_share(chosen: &[&Named], args: &Args, share: u64, done: &AtomicU64) -> Vec<SimulationFailure> {
    let built: Vec<Topology> = chosen.iter().map(|named| named.topology()).collect();
    let mut simulators: Vec<_> =
        chosen.iter().zip(&built).map(|(named, topology)| simulator(named, topology, args.rocksdb)).collect();
    let mut failures = Vec::new();
    let tenth = args.seeds.div_ceil(10).max(1);
    for seed in args.first..args.first + args.seeds {
        let turn = seed % simulators.len() as u64;
        // Each thread has every topology, so that neither is done long before the other.
        if (seed / simulators.len() as u64) % args.threads != share {
            continue;
        }
        failures.extend(simulators[turn as usize].run(Seed(seed)).err());
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(tenth) && done < args.seeds {
            eprintln!("{done} of {} seeds", args.seeds);
        }
    }
    failures
}
