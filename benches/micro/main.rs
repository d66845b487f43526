//! Micro-benchmarks of the pieces of the data path: `cargo bench -p watershed-bench`, with a part of a name behind `--`
//! for some of them. `cargo test` runs each once.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails has to stop")]

mod alignment;
mod codec;
mod exchange;
mod snapshot;
mod state;
mod timers;

fn main() {
    divan::main();
}
