use watershed_state::{KeyGroups, hash_key};

use super::*;
use crate::clock::NO_TIMESTAMP;

/// Sends the numbers to so many receivers; returns what each has got.
fn sent<R: Route<u64>>(numbers: impl Iterator<Item = u64>, receivers: usize, route: R) -> Vec<Vec<u64>> {
    let (mut edge, receivers) = edge(receivers, 1024, route, LIMITS);
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
