//! What the benchmarks of Watershed share: the records that every program is given, and a stopwatch.
//!
//! | binary | what it does |
//! |---|---|
//! | `workloads` | runs one workload and prints one line of JSON |
//! | `suite` | runs all of them, other programs in between, and writes a table and a plot |
//! | `pieces`, `instructions` | count the instructions of single-threaded pieces, which no busy machine blurs |
//!
//! The micro-benchmarks are in `micro/`: `cargo bench -p watershed-bench`.

pub mod exchange;
pub mod generate;
pub mod percentile;
pub mod stopwatch;
