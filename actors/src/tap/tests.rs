use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::harness::VirtualClock;
use crate::harness::world::World;
use crate::task::Env;

/// An operator whose records can be looked at.
struct Operator {
    env: Env,
    clock: Arc<VirtualClock>,
}

impl Operator {
    fn new() -> Self {
        let world = World::new();
        Self { env: world.env("count", 2, 4), clock: Arc::clone(&world.clock) }
    }

    /// What a task does with a batch.
    fn pass<T: Serialize>(&self, batch: &Batch<T>) {
        if self.env.tap.is_open() {
            self.env.tap.show(batch, &self.env.instance, &*self.env.clock, |_| None);
        }
    }
}

fn batch<T>(values: Vec<T>) -> Batch<T> {
    Batch { values, ..Batch::default() }
}

/// Everything that one who looks has not seen yet.
fn seen(tapper: &mut Tapper) -> Vec<Arc<Sample>> {
    std::iter::from_fn(|| tapper.next().now_or_never()).collect()
}

fn records(tapper: &mut Tapper) -> Vec<String> {
    seen(tapper).iter().map(|sample| sample.record.get().to_string()).collect()
}

#[test]
fn every_tapper_sees_the_first_records_of_a_batch_and_with_the_last_one_sampling_ends() {
    let operator = Operator::new();
    operator.pass(&batch(vec![0]));
    let mut first = operator.env.tap.open();
    operator.pass(&batch((1..=20).collect()));
    let mut second = operator.env.tap.open();
    operator.pass(&batch(vec![21]));
    assert_eq!(records(&mut first), ["1", "2", "3", "4", "5", "6", "7", "8", "21"]);
    assert_eq!(records(&mut second), ["21"]);
    drop(first);
    assert!(operator.env.tap.is_open());
    operator.pass(&batch(vec![22]));
    assert_eq!(records(&mut second), ["22"]);
    drop(second);
    assert!(!operator.env.tap.is_open());
}

#[test]
fn a_sample_says_where_and_when_it_was_seen() {
    let operator = Operator::new();
    operator.clock.advance(Duration::from_millis(77));
    let mut tapper = operator.env.tap.open();
    let batch = Batch { values: vec![("a", 1)], timestamps: vec![1_234], hashes: Vec::new() };
    let Env { tap, instance, clock, .. } = &operator.env;
    tap.show(&batch, instance, &**clock, |record| Some(format!("\"{}\"", record.0)));
    let seen = seen(&mut tapper);
    let json = serde_json::to_string(&*seen[0]).unwrap();
    assert_eq!(
        json,
        r#"{"operator":"count","instance":2,"at_ms":77,"key":"a","timestamp":1234,"record":["a",1]}"#
    );
}

#[test]
fn a_hundred_samples_a_second_are_taken_at_most() {
    let operator = Operator::new();
    let mut tapper = operator.env.tap.open();
    let mut count = 0;
    // Ten seconds of a hundred thousand batches each.
    for _ in 0..1_000 {
        operator.clock.advance(Duration::from_millis(10));
        for _ in 0..1_000 {
            operator.pass(&batch(vec![1]));
        }
        count += seen(&mut tapper).len();
    }
    // What the second before it did not use may come in addition.
    assert!((1_000..=1_101).contains(&count), "{count} samples in ten seconds");
}

#[test]
fn who_does_not_look_in_time_misses_samples_and_holds_nobody_up() {
    let operator = Operator::new();
    let mut tapper = operator.env.tap.open();
    for value in 0..2_000_u64 {
        operator.clock.advance(Duration::from_millis(10));
        operator.pass(&batch(vec![value]));
    }
    let seen = records(&mut tapper);
    assert_eq!(seen.len(), Tap::KEPT);
    assert_eq!(seen.last().map(String::as_str), Some("1999"));
}

#[test]
fn a_record_that_is_too_long_is_cut() {
    let operator = Operator::new();
    let mut tapper = operator.env.tap.open();
    operator.pass(&batch(vec!["ä".repeat(1_000_000)]));
    let sample = seen(&mut tapper).remove(0);
    assert!(sample.record.get().len() < 2 * Tap::RECORD_BYTES);
    assert!(serde_json::from_str::<String>(sample.record.get()).unwrap().starts_with("\"ää"));
    assert_eq!(sample.note.as_deref(), Some("longer than 4096 bytes: this is its beginning"));
}

/// Cannot be encoded.
struct Unfit;

impl Serialize for Unfit {
    fn serialize<S: serde::Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        panic!("nobody has ever encoded me")
    }
}

#[test]
fn a_record_that_panics_when_it_is_encoded_harms_nobody() {
    let operator = Operator::new();
    let mut tapper = operator.env.tap.open();
    operator.pass(&batch(vec![Unfit]));
    let map = std::collections::BTreeMap::from([((1, 2), 3)]);
    operator.pass(&batch(vec![map]));
    let notes: Vec<String> = seen(&mut tapper).iter().filter_map(|sample| sample.note.clone()).collect();
    assert_eq!(
        notes,
        [
            "it cannot be shown as JSON: panicked: nobody has ever encoded me",
            "it cannot be shown as JSON: key must be a string"
        ]
    );
}
