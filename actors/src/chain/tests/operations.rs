use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::error::UserResult;
use crate::failure::{Failure, FailureKind};
use crate::supervision::Rejecter;

/// Runs `input` through one operation, with room for any number of records and for one, two and three at a time.
fn check<O>(operation: impl Fn() -> O, input: &[u64], expected: &[O::Out])
where
    O: Operation<u64>,
    O::Out: Clone + Send + PartialEq + std::fmt::Debug,
{
    for room in [usize::MAX, 1, 2, 3] {
        let end = End::with_room(room);
        let mut chain = Fused::new(operation(), end.clone());
        let (out, _) = run_through(&mut chain, &end, numbers(input.to_vec()), room);
        assert_eq!(out, expected, "with room for {room}");
    }
}

#[test]
fn map_gives_one_record_for_one() {
    check(|| Map(Arc::new(|n: u64| n.to_string())), &[1, 2, 3], &["1", "2", "3"].map(String::from));
}

#[test]
fn filter_gives_only_what_the_closure_wants() {
    check(|| Filter(Arc::new(|n: &u64| n.is_multiple_of(2))), &[1, 2, 3, 4], &[2, 4]);
}

#[test]
fn filter_map_gives_one_record_or_none() {
    check(|| FilterMap(Arc::new(|n: u64| n.checked_sub(2))), &[1, 2, 3], &[0, 1]);
}

#[test]
fn flat_map_gives_any_number_of_records() {
    check(
        || FlatMap::new(Arc::new(|n: u64| (0..n).map(move |i| 10 * n + i))),
        &[2, 0, 3],
        &[20, 21, 30, 31, 32],
    );
}

#[test]
fn inspect_sees_each_record_once() {
    let sum = Arc::new(AtomicUsize::new(0));
    let add = Arc::clone(&sum);
    let add = Arc::new(move |n: &u64| {
        add.fetch_add(*n as usize, Ordering::Relaxed);
    });
    check(|| Inspect(Arc::clone(&add)), &[1, 2, 3], &[1, 2, 3]);
    assert_eq!(sum.load(Ordering::Relaxed), 4 * 6);
}

#[test]
fn try_map_gives_what_succeeds() {
    check(|| TryMap::new(Arc::new(|n: u64| Ok(n + 1)), Rejecter::default()), &[1, 2], &[2, 3]);
}

#[test]
fn try_filter_map_gives_what_succeeds_and_is_there() {
    check(
        || TryFilterMap::new(Arc::new(|n: u64| Ok(n.checked_sub(2))), Rejecter::default()),
        &[1, 2, 3],
        &[0, 1],
    );
}

#[test]
fn try_flat_map_gives_what_succeeds() {
    check(
        || TryFlatMap::new(Arc::new(|n: u64| Ok(vec![n; n as usize])), Rejecter::default()),
        &[1, 3, 2],
        &[1, 3, 3, 3, 2, 2],
    );
}

/// How a chain fails on the record 3, and what came out before.
fn failure<O: Operation<u64, Out = u64>>(operation: O) -> (Failure, Vec<u64>) {
    let end = End::with_room(usize::MAX);
    let mut chain = Fused::new(operation, end.clone());
    let caught = catch_unwind(AssertUnwindSafe(|| chain.batch(&mut numbers([1, 2, 3, 4]))));
    (Failure::caught(caught.err().unwrap()), end.values(0))
}

#[test]
fn an_error_of_a_closure_arrives_as_an_error_and_not_as_a_panic() {
    fn but_three<T>(n: u64, otherwise: T) -> UserResult<T> {
        if n == 3 { Err("three is not allowed".into()) } else { Ok(otherwise) }
    }
    let expected = Failure {
        cause: "three is not allowed".to_string(),
        kind: FailureKind::Error,
        key: None,
        blame: None,
    };
    let try_map = TryMap::new(Arc::new(|n| but_three(n, n)), Rejecter::default());
    assert_eq!(failure(try_map), (expected.clone(), vec![1, 2]));
    let try_filter_map = TryFilterMap::new(Arc::new(|n| but_three(n, Some(n))), Rejecter::default());
    assert_eq!(failure(try_filter_map), (expected.clone(), vec![1, 2]));
    let try_flat_map = TryFlatMap::new(Arc::new(|n| but_three(n, [n])), Rejecter::default());
    assert_eq!(failure(try_flat_map), (expected, vec![1, 2]));
}

#[test]
fn a_panic_of_a_closure_arrives_as_a_panic() {
    let map = Map(Arc::new(|n: u64| {
        assert!(n != 3, "three again");
        n
    }));
    let expected =
        Failure { cause: "three again".to_string(), kind: FailureKind::Panic, key: None, blame: None };
    assert_eq!(failure(map), (expected, vec![1, 2]));
}

#[test]
fn records_keep_their_event_time_through_a_chain_also_when_it_blocks() {
    for room in [usize::MAX, 1, 3] {
        let end = End::with_room(room);
        let twice = FlatMap::new(Arc::new(|n: u64| [n, n]));
        let try_twice = TryFlatMap::new(Arc::new(|n: u64| Ok([n, n])), Rejecter::default());
        let mut chain =
            Fused::new(twice, Fused::new(Map(Arc::new(|n: u64| n + 1)), Fused::new(try_twice, end.clone())));
        let mut batch = Batch::default();
        batch.push(1, 10);
        batch.push(2, 20);
        let mut out = Vec::new();
        let mut flow = chain.batch(&mut batch);
        while flow == Flow::Blocked || !batch.is_empty() {
            out.extend(end.take(room));
            flow = chain.resume();
            if flow == Flow::Continue {
                flow = chain.batch(&mut batch);
            }
        }
        out.extend(end.take(room));
        let expected = [(2, 10), (2, 10), (2, 10), (2, 10), (3, 20), (3, 20), (3, 20), (3, 20)];
        assert_eq!(out, expected.map(|(value, at)| Heard::Record(value, at)), "with room for {room}");
    }
}

/// A closure's iterator that counts how far it has been asked, and how many of its items are alive.
fn counted(asked: &Arc<AtomicUsize>, items: usize) -> impl Iterator<Item = usize> + Send + use<> {
    let asked = Arc::clone(asked);
    (0..items).inspect(move |_| {
        asked.fetch_add(1, Ordering::Relaxed);
    })
}

#[test]
fn ten_million_records_from_one_are_made_as_room_is_found_for_them() {
    const RECORDS: usize = 10_000_000;
    const ROOM: usize = 64;
    let asked = Arc::new(AtomicUsize::new(0));
    let ask = Arc::clone(&asked);
    let end: End<usize> = End::with_room(ROOM);
    let explode = FlatMap::new(Arc::new(move |_: u64| counted(&ask, RECORDS)));
    let mut chain = Fused::new(explode, Fused::new(Map(Arc::new(|n: usize| n)), end.clone()));
    let mut flow = chain.push(0, 0);
    let mut through = 0;
    loop {
        let values = end.values(ROOM);
        assert!(values.iter().copied().eq(through..through + values.len()));
        through += values.len();
        // Nothing was made that is not through: nothing is kept but the iterator.
        assert_eq!(asked.load(Ordering::Relaxed), through);
        if flow == Flow::Continue {
            break;
        }
        assert!(chain.interrupted());
        flow = chain.resume();
    }
    assert_eq!(through, RECORDS);
    assert!(!chain.interrupted());
}

#[test]
fn one_flat_map_after_the_other_keeps_both_iterators() {
    for room in [usize::MAX, 1, 3, 7] {
        let end = End::with_room(room);
        let times =
            |factor: u64| FlatMap::new(Arc::new(move |n: u64| (0..factor).map(move |i| n * factor + i)));
        let mut chain = Fused::new(times(10), Fused::new(times(5), end.clone()));
        let (out, most) = run_through(&mut chain, &end, numbers(0..20), room);
        assert_eq!(out, (0..1000).collect::<Vec<_>>());
        assert!(most <= room);
    }
}
