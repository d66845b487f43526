//! Adds up numbers with an operator that panics now and then, and gets the sum exactly right.
//!
//! ```sh
//! cargo run --release --example crash
//! cargo run --release --example crash -- --numbers 1000000 --panic-every 20000
//! ```
//!
//! Shows supervision: each panic rolls the region back to its newest checkpoint, and the log shows the tree before and
//! after. The panic comes in the middle of the work, when the state is changed and nothing is sent; the engine
//! throws that state away. Checkpoints are kept in memory here, as only the operator crashes and not the process.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use watershed::Collector;
use watershed::prelude::*;

/// What can be said on the command line.
#[derive(Parser)]
#[command(about = "Panics now and then, and goes on")]
struct Options {
    /// Adds up the numbers from 0 to this one, without it.
    #[arg(long, default_value_t = 300_000)]
    numbers: u64,
    /// Numbers per second.
    #[arg(long, default_value_t = 75_000.0)]
    rate: f64,
    /// Panics at each record that has this many before it since the last panic.
    #[arg(long, default_value_t = 60_000)]
    panic_every: u64,
}

/// What the numbers of a key amount to so far.
#[derive(Clone, Serialize, Deserialize)]
struct Sum {
    key: u64,
    numbers: u64,
    total: u64,
}

/// Adds up the numbers of each key, and panics now and then.
struct Unstable {
    panic_every: u64,
    /// Records of all instances, those that came again after a crash included: else the same record would crash it for
    /// ever.
    records: AtomicU64,
}

impl Process for Unstable {
    type Key = u64;
    type In = u64;
    type Out = Sum;
    /// How many numbers, and their sum.
    type State = (u64, u64);

    fn on_record(&self, number: u64, state: &mut (u64, u64), context: &mut Context<'_, Self>) -> UserResult {
        state.0 += 1;
        state.1 += number;
        let record = self.records.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(!record.is_multiple_of(self.panic_every), "record {record} is one too many");
        context.emit(Sum { key: *context.key(), numbers: state.0, total: state.1 });
        Ok(())
    }
}

fn main() -> watershed::Result<ExitCode> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal());
    // Someone who stops reading the log must not end the job with it.
    log.with_writer(io::stderr).log_internal_errors(false).init();
    let options = Options::parse();

    let topology = Topology::new("crash");
    let sums = Collector::new();
    topology
        .source("numbers", Generator::bounded(options.numbers, |number| number).splits(4))
        .parallelism(2)
        .rate(options.rate)
        .key_by(|number| number % 100)
        .actor("add", Unstable { panic_every: options.panic_every, records: AtomicU64::new(0) })
        .parallelism(2)
        .sink_exactly_once("sums", sums.sink());

    let config = Config::local()
        .checkpoint_interval(millis(200))
        .restart(Restart::from_snapshot().backoff(millis(50), millis(400)).at_most(1_000, minutes(1)));
    let outcome = topology.run(config)?;

    println!("{}", outcome.tree);
    println!("{} restarts, {} checkpoints", outcome.restarts, outcome.checkpoints);
    Ok(check(&sums.take(), options.numbers))
}

/// Every number must have been added once: each key has gone through all of its sums, and the last ones amount to what
/// arithmetic says.
fn check(sums: &[Sum], numbers: u64) -> ExitCode {
    let mut last: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for Sum { key, numbers, total } in sums {
        let of_key = last.entry(*key).or_default();
        *of_key = (*numbers, *total).max(*of_key);
    }
    let total: u64 = last.values().map(|(_, total)| total).sum();
    let expected = numbers * numbers.saturating_sub(1) / 2;
    if total == expected && sums.len() as u64 == numbers {
        println!("the sum of {numbers} numbers is {total}: exactly right");
        ExitCode::SUCCESS
    } else {
        println!("the sum is {total} after {} results, but should be {expected} after {numbers}", sums.len());
        ExitCode::FAILURE
    }
}
