//! Word count, from lines to exactly-once files.

use watershed::prelude::*;

use crate::fixture::Count;

fn line(n: u64) -> String {
    format!("w{} and w{} in line {}", n % 17, n * n % 23, n % 5)
}

pub(super) fn topology() -> Topology {
    let topology = Topology::new("word-count");
    topology
        .source("lines", Generator::bounded(60, line).splits(3))
        .flat_map(|line| line.split_whitespace().map(str::to_string).collect::<Vec<_>>())
        .key_by(String::clone)
        .actor("count", Count)
        .sink_exactly_once("files", Files::jsonl("/out/words"));
    topology
}
