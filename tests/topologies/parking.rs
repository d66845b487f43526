//! Failures that each get another answer: records that are skipped, keys that wait for a dead letter, letters that go
//! to a sink of the topology's own, and budgets that climb.

use watershed::prelude::*;

/// Adds up, and refuses some.
struct Refuses;

impl Process for Refuses {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, number: u64, sum: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *sum += number;
        context.emit((number % KEYS, *sum));
        assert_ne!(number, 52, "it cannot be handled");
        if number == 23 { Err("it is refused".into()) } else { Ok(()) }
    }
}

const KEYS: u64 = 4;

pub(super) fn topology() -> Topology {
    let topology = Topology::new("parking");
    // What goes beyond it is for the region to answer.
    let once = Restart::failure_rate(1, minutes(60), millis(1));
    let sums = topology
        .source("numbers", Generator::bounded(70, |n| n))
        .parallelism(1)
        .supervise(Supervision::skip().at_most_fraction(1.0).restart(once))
        .try_filter(|n| if n % 19 == 11 { Err("it is skipped".into()) } else { Ok(true) })
        .key_by(|n| n % KEYS)
        .actor("refuses", Refuses)
        .supervise(Supervision::quarantine().park_keys().at_most_fraction(1.0).restart(once));
    sums.dead_letters().sink_exactly_once("letters", Files::jsonl("/out/letters"));
    sums.sink_exactly_once("sums", Files::jsonl("/out/sums")).supervise(Supervision::escalate());
    topology
}
