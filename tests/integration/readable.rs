//! What is written can be read back: else no checkpoint counts.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::{
    Collector, End, ErrorKind, Key, Polled, Reader, Records, SimulatedDisk, Source, SourceContext, Split,
};

use crate::fixture::{seeded, simulated};

/// A state that for a while is one that serde cannot read: what it buffers, as it does below `tag`, has no 128-bit
/// integers.
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
fn nothing_piles_up_of_checkpoints_that_are_given_up() {
    let (shown, disk) = (Collector::new(), SimulatedDisk::new(1));
    let left = Arc::new(Mutex::new(Vec::<u64>::new()));
    let (on, seen) = (disk.clone(), Arc::clone(&left));
    let topology = Topology::new("sums");
    topology
        .source("numbers", Generator::bounded(1_000, |n| n))
        .rate(100_000.0)
        .parallelism(1)
        .map(move |n| {
            // For a while now there has been no checkpoint, and parts of the source alone.
            if n == 590 {
                let fs = on.fs();
                let names = fs.list(Path::new("/checkpoints")).unwrap().into_iter().map(|file| file.name);
                let ids: Vec<u64> =
                    names.filter_map(|name| name.strip_prefix("chk-")?.parse().ok()).collect();
                let manifest = |id: &u64| Path::new("/checkpoints").join(format!("chk-{id}/manifest"));
                let is_whole = |id: &u64| fs.exists(&manifest(id)).unwrap();
                // Older ones may have parts that the newest one adds to.
                let newest = ids.iter().copied().filter(is_whole).max().unwrap();
                *seen.lock().unwrap() = ids.into_iter().filter(|id| *id > newest).collect();
            }
            n
        })
        .key_by(|n| n % 5)
        .actor("sum", Sum)
        .sink_exactly_once("shown", shown.sink());
    let config = simulated(seeded(1).on_disk(&disk)).checkpoint_interval(Duration::from_micros(100));
    let outcome = topology.run(config).unwrap();
    let given_up = outcome.checkpoint.unwrap() - outcome.checkpoints;
    assert!(given_up > 5, "only {given_up} checkpoints were given up");
    // Of the one in the making, and of the one before it, which is being cleared away.
    let left = left.lock().unwrap();
    assert!(left.len() <= 2, "{left:?}");
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

/// Has a state that can be written and not be read, by key or for each instance.
struct Wide<K>(PhantomData<fn(K)>);

impl<K: Key> Process for Wide<K> {
    type Key = K;
    type In = u64;
    type Out = u64;
    type State = Balance;

    fn on_record(&self, n: u64, balance: &mut Balance, context: &mut Context<'_, Self>) -> UserResult {
        *balance = Balance::Wide { sum: n.into() };
        context.emit(n);
        Ok(())
    }
}

#[test]
fn a_last_checkpoint_that_could_not_be_read_back_ends_the_job_with_the_reason() {
    let shown = Collector::new();
    let topology = Topology::new("wide");
    topology
        .source("numbers", Generator::bounded(1_000, |n| n))
        .key_by(|n| n % 5)
        .actor("wide", Wide::<u64>(PhantomData))
        .sink_exactly_once("shown", shown.sink());
    let error = refused(&topology, "`wide[");
    assert!(error.contains("text or as two u64"), "{error}");
    assert!(shown.take().is_empty(), "nothing is shown that no checkpoint covers");
}

#[test]
fn a_position_that_could_not_be_read_back_ends_the_job_and_names_the_source() {
    struct Numbers;
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct All;
    impl Split for All {
        fn id(&self) -> String {
            "all".to_string()
        }
    }
    impl Source for Numbers {
        type Item = u64;
        type Split = All;
        type Reader = From;

        fn splits(&self) -> UserResult<Vec<All>> {
            Ok(vec![All])
        }

        fn open(&self, _: &All, position: Option<Balance>, _: &SourceContext) -> UserResult<From> {
            match position {
                None => Ok(From(0)),
                Some(Balance::Wide { sum }) => Ok(From(sum as u64)),
                Some(other) => Err(format!("{other:?} is no position").into()),
            }
        }

        fn is_bounded(&self) -> bool {
            true
        }
    }
    struct From(u64);
    impl Reader for From {
        type Item = u64;
        type Position = Balance;

        fn poll(&mut self, records: &mut Records<'_, u64>, _limit: usize) -> UserResult<Polled> {
            records.push(self.0);
            self.0 += 1;
            Ok(if self.0 == 1_000 { Polled::End } else { Polled::Ready })
        }

        fn position(&self) -> Balance {
            Balance::Wide { sum: self.0.into() }
        }
    }
    let shown = Collector::new();
    let topology = Topology::new("wide");
    topology.source("numbers", Numbers).parallelism(1).sink_exactly_once("shown", shown.sink());
    refused(&topology, "`numbers[0]`");
    assert!(shown.take().is_empty(), "nothing is shown that no checkpoint covers");
}

#[test]
fn a_state_of_an_instance_that_could_not_be_read_back_ends_the_job_and_names_the_operator() {
    let shown = Collector::new();
    let topology = Topology::new("wide");
    topology
        .source("numbers", Generator::bounded(1_000, |n| n))
        .actor("wide", Wide::<()>(PhantomData))
        .parallelism(1)
        .sink_exactly_once("shown", shown.sink());
    refused(&topology, "`wide[0]`");
    assert!(shown.take().is_empty(), "nothing is shown that no checkpoint covers");
}

/// The job ends, as what this instance saves could not be read back.
#[track_caller]
fn refused(topology: &Topology, instance: &str) -> String {
    let error = topology.run(simulated(seeded(1))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::State, "{error}");
    let error = error.to_string();
    for part in [instance, "Balance", "not be read back", "the last checkpoint cannot be made"] {
        assert!(error.contains(part), "there is no {part:?} in: {error}");
    }
    error
}
