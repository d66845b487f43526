//! Word count, from lines to exactly-once files.

use serde::{Deserialize, Serialize};
use watershed::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct WordCount {
    word: String,
    count: u64,
}

struct Count;

impl Process for Count {
    type Key = String;
    type In = String;
    type Out = WordCount;
    type State = u64;

    fn on_record(&self, word: String, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.emit(WordCount { word, count: *count });
        Ok(())
    }
}

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
