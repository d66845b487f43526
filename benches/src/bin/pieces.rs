//! Runs one single-threaded piece of the data path, for a program that counts instructions: `pieces NAME ITERATIONS`.
//!
//! With 0 iterations only the preparations run, so that the difference is the piece alone.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use watershed_actors::{Batch, Filter, Flow, ForEach, Fused, Map, Push};
use watershed_bench::exchange::Exchange;
use watershed_bench::generate::{key, value};
use watershed_state::{KeyGroups, KeyedTable, decode, encode, hash_key};

const BATCH: u64 = 1024;
const KEYS: u64 = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, iterations] = arguments.as_slice() else { return usage() };
    let Ok(iterations) = iterations.parse() else { return usage() };
    let done = match name.as_str() {
        "chain" => Ok(chain(iterations)),
        "scatter" => scatter(iterations).map_err(|failure| format!("{failure:?}")),
        "table" => Ok(table(iterations)),
        "codec" => codec(iterations).map_err(|error| error.to_string()),
        _ => return usage(),
    };
    match done {
        Ok(result) => {
            black_box(result);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("pieces chain|scatter|table|codec ITERATIONS");
    ExitCode::FAILURE
}

/// The numbers of each batch.
fn batches(iterations: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..iterations).step_by(BATCH as usize).map(move |begin| begin..iterations.min(begin + BATCH))
}

/// A sum that somebody looks at in the end, so that it has to be made.
struct Sum(u64);

impl Drop for Sum {
    fn drop(&mut self) {
        black_box(self.0);
    }
}

/// A map and a filter, fused.
fn chain(iterations: u64) -> u64 {
    let mut sum = Sum(0);
    let end = ForEach(move |value: u64| sum.0 = sum.0.wrapping_add(value));
    let filter = Fused::new(Filter(Arc::new(|value: &u64| value % 2 == 1)), end);
    let mut chain: Box<dyn Push<u64>> = Box::new(Fused::new(Map(Arc::new(|value: u64| value + 1)), filter));
    let mut batch = Batch::default();
    let mut taken = 0;
    for numbers in batches(iterations) {
        batch.values.extend(numbers);
        taken += u64::from(chain.batch(&mut batch) == Flow::Continue);
    }
    taken
}

/// Hashing, routing, sending and receiving.
fn scatter(iterations: u64) -> Result<u64, watershed_actors::Failure> {
    let mut exchange = Exchange::new(2);
    let mut batch = Batch::default();
    let mut received = 0;
    for numbers in batches(iterations) {
        batch.values.extend(numbers.map(|i| (key::<KEYS>(i), value(i))));
        exchange.send(&mut batch, |batch| received += batch.len() as u64)?;
    }
    Ok(received)
}

/// Finding the state of a key that is there, and changing it.
fn table(iterations: u64) -> u64 {
    let mut sums: KeyedTable<u64, u64> = KeyedTable::new(KeyGroups::DEFAULT, 0..KeyGroups::DEFAULT.count());
    for key in 0..KEYS {
        sums.entry(hash_key(&key), key);
    }
    let mut sum = 0;
    for i in 0..iterations {
        let key = key::<KEYS>(i);
        let (_, state) = sums.entry(hash_key(&key), key);
        *state = state.wrapping_add(value(i));
        sum = *state;
    }
    sum
}

/// What is written and read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Reading {
    sensor: String,
    at: i64,
    value: f64,
    valid: bool,
}

/// Encoding a struct and decoding it again.
fn codec(iterations: u64) -> Result<u64, watershed_state::CodecError> {
    let mut reading = Reading { sensor: "north tower".to_string(), ..Reading::default() };
    let mut bytes = Vec::new();
    for i in 0..iterations {
        reading.at = i as i64;
        reading.value = value(i) as f64;
        bytes.clear();
        encode(&reading, &mut bytes)?;
        reading = decode(&mut bytes.as_slice())?;
    }
    Ok(bytes.len() as u64)
}
