//! What is written can be read back: else no checkpoint counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::{Collector, End, ErrorKind, SimulatedDisk};

use crate::fixture::{seeded, simulated};

/// A state that for a while is one that serde cannot read: what it buffers, as it does below `tag`, has no 128-bit integers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Balance {
    #[default]
    Nothing,
    Small {
        sum: u64,
    },
    Wide {
        sum: u128,
    },
}

struct Sum;

impl Process for Sum {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = Balance;

    fn on_record(&self, n: u64, balance: &mut Balance, context: &mut Context<'_, Self>) -> UserResult {
        let before = match *balance {
            Balance::Nothing => 0,
            Balance::Small { sum } => sum,
            Balance::Wide { sum } => sum as u64,
        };
        let sum = before + n;
        // In the middle of its input each key has such a state.
        *balance =
            if (300..600).contains(&n) { Balance::Wide { sum: sum.into() } } else { Balance::Small { sum } };
        context.emit((*context.key(), sum));
        Ok(())
    }
}

fn sums(shown: &Collector<(u64, u64)>) -> Topology {
    let topology = Topology::new("sums");
    topology
        .source("numbers", Generator::bounded(1_000, |n| n))
        .parallelism(1)
        .key_by(|n| n % 5)
        .actor("sum", Sum)
        .sink_exactly_once("shown", shown.sink());
    topology
}

#[test]
fn a_checkpoint_whose_states_could_not_be_read_back_is_given_up_and_nothing_is_lost() {
    let expected = {
        let shown = Collector::new();
        sums(&shown).run(simulated(seeded(0))).unwrap();
        let mut all = shown.take();
        all.sort_unstable();
        all
    };
    let (mut given_up, mut restarts) = (0, 0);
    for seed in 0..40 {
        let shown = Collector::new();
        let simulation = seeded(seed).panic_at(50 + seed * 37);
        let outcome = sums(&shown).run(simulated(simulation)).unwrap();
        assert_eq!(outcome.end, End::Finished);
        restarts += outcome.restarts;
        given_up += u64::from(outcome.checkpoint.unwrap() > outcome.checkpoints);
        let mut all = shown.take();
        all.sort_unstable();
        assert_eq!(all, expected, "seed {seed}");
    }
    assert!(restarts > 10, "only {restarts} runs went back to a checkpoint");
    assert!(given_up > 10, "only {given_up} runs met such a state at a checkpoint");
}

#[test]
fn a_key_that_is_another_one_each_time_ends_the_job_and_names_key_by_and_the_operator() {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let (shown, disk) = (Collector::new(), SimulatedDisk::new(1));
    let topology = Topology::new("unstable");
    topology
        .source("numbers", Generator::bounded(1_000, |n| n))
        .key_by(|n| n + ASKED.fetch_add(1, Ordering::Relaxed))
        .reduce("largest", |one: u64, other| one.max(other))
        .parallelism(2)
        .sink_exactly_once("shown", shown.sink());
    let error = topology.run(simulated(seeded(1).on_disk(&disk))).unwrap_err().to_string();
    for part in [
        "`largest[",
        "another key of type u64",
        "`key_by`",
        "the same key each time",
        "would not change that",
    ] {
        assert!(error.contains(part), "there is no {part:?} in: {error}");
    }
}

#[test]
fn a_key_whose_hash_is_another_one_each_time_ends_the_job_and_says_so() {
    static HASHED: AtomicU64 = AtomicU64::new(0);
    #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
    struct Key(u64);
    impl std::hash::Hash for Key {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            (self.0 + HASHED.fetch_add(1, Ordering::Relaxed)).hash(state);
        }
    }
    let shown = Collector::new();
    let topology = Topology::new("unstable");
    topology
        .source("numbers", Generator::bounded(1_000, |n| n))
        .key_by(|n| Key(n % 7))
        .reduce("largest", |one: u64, other| one.max(other))
        .sink_exactly_once("shown", shown.sink());
    let error = topology.run(simulated(seeded(1))).unwrap_err().to_string();
    assert!(error.contains("equal keys have to hash equally"), "{error}");
    assert!(error.contains("(here it is 0)"), "{error}");
}

#[test]
fn a_last_checkpoint_that_could_not_be_read_back_ends_the_job_with_the_reason() {
    struct Wide;
    impl Process for Wide {
        type Key = u64;
        type In = u64;
        type Out = u64;
        type State = Balance;

        fn on_record(&self, n: u64, balance: &mut Balance, context: &mut Context<'_, Self>) -> UserResult {
            *balance = Balance::Wide { sum: n.into() };
            context.emit(n);
            Ok(())
        }
    }
    let shown = Collector::new();
    let topology = Topology::new("wide");
    topology
        .source("numbers", Generator::bounded(1_000, |n| n))
        .key_by(|n| n % 5)
        .actor("wide", Wide)
        .sink_exactly_once("shown", shown.sink());
    let error = topology.run(simulated(seeded(1))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::State);
    for part in
        ["`wide[", "Balance", "not be read back", "the last checkpoint cannot be made", "text or as two u64"]
    {
        assert!(error.to_string().contains(part), "there is no {part:?} in: {error}");
    }
    assert!(shown.take().is_empty(), "nothing is shown that no checkpoint covers");
}
