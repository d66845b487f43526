use watershed_state::{KeyGroups, hash_key};

use super::*;
use crate::clock::NO_TIMESTAMP;

/// Sends the numbers to so many receivers; returns what each has got.
fn sent<R: Route<u64>>(numbers: impl Iterator<Item = u64>, receivers: usize, route: R) -> Vec<Vec<u64>> {
    let (mut edge, receivers) = edge(receivers, 4096, route, LIMITS);
    for number in numbers {
        assert_eq!(edge.push(number, NO_TIMESTAMP), Flow::Continue);
    }
    edge.tick(0, true);
    let records = |receiver: &Receiver<u64>| {
        let got = receiver.process_all().into_iter();
        got.flat_map(|got| if let Records(records) = got { records } else { panic!("{got:?}") }).collect()
    };
    receivers.iter().map(records).collect()
}

/// Sends the numbers in batches of changing lengths, with and without times, to so many receivers, which want batches
/// of so many records; returns the records and times that each has got.
fn sent_in_batches<R: Route<u64>>(
    lengths: &[(usize, bool)],
    receivers: usize,
    wanted: usize,
    route: R,
) -> Vec<Vec<(u64, i64)>> {
    let (mut edge, receivers) = edge(receivers, 2, route, LIMITS);
    for receiver in &receivers {
        receiver.link.acquire().unwrap().advise(wanted);
    }
    let mut got = vec![Vec::new(); receivers.len()];
    let mut receive = |edge: &mut Edge<u64, R>| {
        for (receiver, got) in receivers.iter().zip(&mut got) {
            while let Some(envelope) = receiver.mailbox.0.lock().unwrap().pop_front() {
                let Message::Batch(batch) = envelope.message else { panic!("{envelope:?}") };
                assert!(batch.len() <= wanted.max(1), "{} records in a batch of {wanted}", batch.len());
                assert!([0, batch.len()].contains(&batch.timestamps.len()), "a column of times with gaps");
                assert!([0, batch.len()].contains(&batch.hashes.len()), "a column of hashes with gaps");
                got.extend((0..batch.len()).map(|index| (batch.values[index], batch.timestamp(index))));
            }
        }
        edge.resume()
    };
    let mut next = 0;
    for (length, timed) in lengths {
        let mut batch = Batch::default();
        for _ in 0..*length {
            batch.push(next, if *timed { next as i64 } else { NO_TIMESTAMP });
            next += 1;
        }
        while edge.batch(&mut batch) == Flow::Blocked {
            while receive(&mut edge) == Flow::Blocked {}
        }
        assert!(batch.is_empty() && batch.timestamps.is_empty());
    }
    edge.tick(0, true);
    while receive(&mut edge) == Flow::Blocked {}
    let _ = receive(&mut edge);
    got
}

proptest::proptest! {
    #[test]
    fn batches_take_the_same_way_as_single_records(
        lengths in proptest::collection::vec((0..200_usize, proptest::prelude::any::<bool>()), 0..12),
        receivers in 1..4_usize, wanted in 1..80_usize
    ) {
        let mut times = Vec::new();
        for (length, timed) in &lengths {
            times.extend(std::iter::repeat_n(*timed, *length));
        }
        let expected = |numbers: Vec<Vec<u64>>| -> Vec<Vec<(u64, i64)>> {
            let with_time = |n: u64| (n, if times[n as usize] { n as i64 } else { NO_TIMESTAMP });
            numbers.into_iter().map(|numbers| numbers.into_iter().map(with_time).collect()).collect()
        };
        let count = times.len() as u64;
        let by_key = || ByKey::new(Arc::new(|n: &u64| n % 13), KeyGroups::DEFAULT, receivers);
        let got = sent_in_batches(&lengths, receivers, wanted, by_key());
        proptest::prop_assert_eq!(got, expected(sent(0..count, receivers, by_key())));
        let got = sent_in_batches(&lengths, receivers, wanted, by_key().without_hashes());
        proptest::prop_assert_eq!(got, expected(sent(0..count, receivers, by_key())));
        let got = sent_in_batches(&lengths, 1, wanted, Forward);
        proptest::prop_assert_eq!(got, expected(sent(0..count, 1, Forward)));
        let rebalance = || Rebalance::starting_at(0);
        let got = sent_in_batches(&lengths, receivers, wanted, rebalance());
        proptest::prop_assert_eq!(got, expected(sent(0..count, receivers, rebalance())));
    }
}

#[test]
fn forward_has_one_receiver() {
    assert_eq!(sent(0..5, 1, Forward), [[0, 1, 2, 3, 4]]);
}

#[test]
fn broadcast_goes_to_all() {
    assert_eq!(sent(0..3, 3, Broadcast), [[0, 1, 2], [0, 1, 2], [0, 1, 2]]);
}

#[test]
fn rebalance_goes_to_all_in_turn() {
    assert_eq!(sent(0..7, 3, Rebalance::starting_at(0)), [vec![2, 5], vec![0, 3, 6], vec![1, 4]]);
    assert_eq!(sent(0..2, 3, Rebalance::starting_at(1)), [vec![1], vec![], vec![0]]);
    assert_eq!(sent(0..3, 2, Rebalance::starting_at(7)), [vec![0, 2], vec![1]]);
}

#[test]
fn a_key_goes_to_the_instance_that_owns_it_whatever_the_parallelism() {
    let groups = KeyGroups::DEFAULT;
    for parallelism in [1, 2, 3, 7, 128] {
        let by_key = ByKey::new(Arc::new(|number: &u64| number % 100), groups, parallelism);
        let got = sent(0..500, parallelism, by_key);
        for (instance, numbers) in got.iter().enumerate() {
            assert!(numbers.is_sorted(), "the order of a key changed");
            for number in numbers {
                let group = groups.group_of(hash_key(&(number % 100)));
                assert!(groups.range(instance, parallelism).contains(&group), "{number} went to {instance}");
            }
        }
        assert_eq!(got.iter().map(Vec::len).sum::<usize>(), 500);
    }
}

#[test]
fn a_keyed_record_carries_the_hash_of_its_key() {
    let by_key = ByKey::new(Arc::new(|number: &u64| format!("key {number}")), KeyGroups::DEFAULT, 1);
    let (mut edge, receivers) = edge(1, 8, by_key, LIMITS);
    assert_eq!(edge.push(5, 70), Flow::Continue);
    let envelope = receivers[0].mailbox.0.lock().unwrap().pop_front().unwrap();
    let Message::Batch(batch) = envelope.message else { panic!("{envelope:?}") };
    assert_eq!((batch.values, batch.timestamps, batch.hashes), (vec![5], vec![70], vec![hash_key("key 5")]));
}

#[test]
fn one_receiver_without_room_holds_back_every_route() {
    fn check<R: Route<u64>>(name: &str, route: R) {
        let (mut edge, receivers) = edge(2, 1, route, LIMITS);
        let mut sent = 0;
        while edge.push(sent, NO_TIMESTAMP) == Flow::Continue {
            sent += 1;
        }
        assert_eq!(edge.resume(), Flow::Blocked, "{name}");
        let full = edge.senders.iter().position(|sender| !sender.waiting.is_empty()).unwrap();
        receivers[1 - full].process_all();
        assert_eq!(edge.resume(), Flow::Blocked, "{name}: the other one has room, the full one has not");
        receivers[full].process_all();
        assert_eq!(edge.resume(), Flow::Continue, "{name}");
    }
    check("rebalance", Rebalance::starting_at(0));
    check("by key", ByKey::new(Arc::new(|number: &u64| *number), KeyGroups::DEFAULT, 2));
    check("broadcast", Broadcast);
}
