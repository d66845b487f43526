//! How long a job stands still.

use std::time::Duration;

use watershed::prelude::*;

use crate::fixture::{Count, now, pause};

#[test]
fn a_word_count_stands_still_for_a_moment_however_many_words_it_knows() {
    for (words, backend) in [
        (100_000, StateBackend::Memory),
        (1_000_000, StateBackend::Memory),
        (100_000, RocksDb::new().cache_entries(10_000).into()),
    ] {
        let topology = Topology::new("words");
        let source = Generator::unbounded(move |n| format!("word{}", n % words)).splits(2);
        topology.source("words", source).key_by(String::clone).actor("count", Count).for_each(|_| {});
        let config = Config::local().parallelism(2).state_backend(backend.clone()).ignore_signals();
        let job = topology.start(config).unwrap();
        let begin = now();
        let counted = || {
            let tree = job.tree().unwrap();
            (0..2).map(|index| tree.instance("count", index).unwrap().records).sum::<u64>()
        };
        while counted() < 2 * words {
            assert!(begin.elapsed() < Duration::from_mins(1), "records do not flow");
            pause(Duration::from_millis(5));
        }
        let place = if matches!(backend, StateBackend::Memory) { "in memory" } else { "in RocksDB" };
        for instances in [5, 1, 3, 2] {
            let done = job.rescale("count", instances).unwrap();
            println!(
                "{words} words {place}, from {} to {instances} instances: stood still for {} ms, checkpoint took {} ms",
                done.from, done.stopped_ms, done.checkpoint_ms
            );
            assert!(done.stopped_ms < 20_000, "{done:?}");
        }
        job.cancel().unwrap();
        job.wait().unwrap();
    }
}
