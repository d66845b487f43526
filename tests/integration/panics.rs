//! Panics on real threads: the same as kills, but the process lives on.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use watershed::prelude::*;

use crate::fixture::{WordCount, now, plain_counts, text, visible_lines};

/// Panics here and there, a hundred times in all.
struct Trap {
    seen: AtomicU64,
    sprung: AtomicU64,
}

const PANICS: u64 = 100;

impl Trap {
    /// Goes a step, some of which count for several.
    fn step(&self, weight: u64) {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        // Slow enough for checkpoints to complete in between.
        let begin = now();
        while begin.elapsed() < millis(1) / 300 {
            std::hint::spin_loop();
        }
        // A multiplicative hash: without a pattern, but the same in each run of the test.
        let dice = seen.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        if dice.is_multiple_of(6_000 / weight) && self.sprung.fetch_add(1, Ordering::Relaxed) < PANICS {
            // Without the message that a hundred panics would print.
            std::panic::resume_unwind(Box::new("a trap"));
        }
    }
}

/// Counts, and takes a step with each word.
struct Trapped(Arc<Trap>);

impl Process for Trapped {
    type Key = String;
    type In = String;
    type Out = WordCount;
    type State = u64;

    fn on_record(&self, word: String, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        self.0.step(1);
        *count += 1;
        context.emit(WordCount { word, count: *count });
        Ok(())
    }
}

#[test]
fn a_hundred_panics_at_random_moments_change_nothing() {
    let folder = TempDir::new().unwrap();
    let (input, output) = (folder.path().join("text"), folder.path().join("counts"));
    fs::write(&input, text(60_000)).unwrap();
    let trap = Arc::new(Trap { seen: AtomicU64::new(0), sprung: AtomicU64::new(0) });
    // In the source, in a keyed actor and in what is fused behind it.
    let (topology, traps) = (Topology::new("word-count"), [(); 3].map(|()| Arc::clone(&trap)));
    let [of_lines, of_words, of_counts] = traps;
    topology
        .source("lines", Lines::from_file(&input).split_bytes(8 << 10))
        .inspect(move |_| of_lines.step(4))
        .flat_map(|line| line.split_whitespace().map(str::to_string).collect::<Vec<_>>())
        .key_by(String::clone)
        .actor("count", Trapped(of_words))
        .inspect(move |_| of_counts.step(1))
        .sink_exactly_once("files", Files::jsonl(&output));
    let config = Config::local()
        .parallelism(2)
        .checkpoints(folder.path().join("checkpoints"))
        .checkpoint_interval(millis(3))
        .restart(Restart::from_snapshot().backoff(millis(0), millis(0)).at_most(1_000, minutes(10)));
    let outcome = topology.run(config).unwrap();
    assert_eq!(outcome.end, End::Finished);
    // Two instances may fall into a trap in the same run.
    assert!(u64::from(outcome.restarts) > PANICS / 2, "only {} restarts", outcome.restarts);
    // How many there are is a matter of the machine; one beside the last shows that the job goes on from it.
    assert!(outcome.checkpoints > 1, "no checkpoint before the last");
    assert_eq!(visible_lines(&output), plain_counts(&input));
}
