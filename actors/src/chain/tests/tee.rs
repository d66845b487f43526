use proptest::prelude::*;

use super::*;

fn tee(ends: &[End<u64>]) -> Tee<u64> {
    Tee::new(ends.iter().map(|end| Box::new(end.clone()) as Box<dyn Push<u64>>).collect())
}

#[test]
fn every_consumer_gets_every_record() {
    let ends = [End::with_room(usize::MAX), End::with_room(usize::MAX), End::with_room(usize::MAX)];
    let mut tee = tee(&ends);
    assert_eq!(tee.batch(&mut numbers(0..5)), Flow::Continue);
    assert_eq!(tee.push(5, 50), Flow::Continue);
    for end in &ends {
        assert_eq!(end.values(0), [0, 1, 2, 3, 4, 5]);
    }
}

#[test]
fn without_consumers_records_are_dropped() {
    let mut tee = tee(&[]);
    let mut batch = numbers(0..5);
    assert_eq!(tee.batch(&mut batch), Flow::Continue);
    assert!(tee.is_empty() && batch.is_empty() && !tee.interrupted());
    assert_eq!(tee.push(1, 0), Flow::Continue);
}

#[test]
fn times_go_to_every_consumer() {
    let ends = [End::with_room(2), End::with_room(usize::MAX)];
    let mut tee = tee(&ends);
    let mut batch = Batch::default();
    (0..4).for_each(|n| batch.push(n, 10 * n as i64));
    let expected: Vec<_> = (0..4).map(|n| Heard::Record(n, 10 * n as i64)).collect();
    assert_eq!(tee.batch(&mut batch), Flow::Blocked);
    assert_eq!(ends[1].take(usize::MAX), expected);
    let mut first = ends[0].take(usize::MAX);
    assert_eq!(tee.resume(), Flow::Continue);
    first.extend(ends[0].take(usize::MAX));
    assert_eq!(first, expected);
}

#[test]
fn a_consumer_without_room_does_not_make_another_take_a_record_twice() {
    for slow in 0..3 {
        let rooms: Vec<usize> = (0..3).map(|index| if index == slow { 2 } else { usize::MAX }).collect();
        let ends: Vec<End<u64>> = rooms.iter().map(|room| End::with_room(*room)).collect();
        let mut tee = tee(&ends);
        let mut batch = numbers(0..6);
        assert_eq!(tee.batch(&mut batch), Flow::Blocked);
        assert!(batch.is_empty(), "a tee takes all of a batch and keeps what did not fit");
        assert!(tee.interrupted());
        for (index, end) in ends.iter().enumerate() {
            let expected: Vec<u64> = if index == slow { vec![0, 1] } else { (0..6).collect() };
            assert_eq!(end.values(rooms[index]), expected, "consumer {index} where {slow} is slow");
        }
        assert_eq!(tee.resume(), Flow::Blocked);
        assert_eq!(ends[slow].values(usize::MAX), [2, 3]);
        assert_eq!(tee.resume(), Flow::Continue);
        assert_eq!(ends[slow].values(0), [4, 5]);
        assert!(!tee.interrupted());
        assert!((0..3).all(|index| ends[index].values(0).is_empty()));
    }
}

#[test]
fn what_comes_to_a_consumer_without_room_waits_behind_what_came_before() {
    for slow in 0..2 {
        let rooms = [0, 1].map(|index| if index == slow { 1 } else { usize::MAX });
        let ends = rooms.map(End::with_room);
        let mut tee = tee(&ends);
        assert_eq!(tee.batch(&mut numbers(0..3)), Flow::Blocked);
        let mut more = numbers(3..5);
        assert_eq!(tee.batch(&mut more), Flow::Blocked);
        assert!(more.is_empty() && tee.interrupted());
        let mut taken = ends[slow].values(usize::MAX);
        assert_eq!(tee.resume(), Flow::Continue);
        taken.extend(ends[slow].values(0));
        assert_eq!(taken, [0, 1, 2, 3, 4]);
        assert_eq!(ends[1 - slow].values(0), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn a_tee_within_a_tee_holds_back_the_outer_one() {
    let ends = [End::with_room(1), End::with_room(usize::MAX), End::with_room(usize::MAX)];
    let inner = tee(&ends[..2]);
    let mut outer = Tee::new(vec![Box::new(inner) as Box<dyn Push<u64>>, Box::new(ends[2].clone())]);
    assert_eq!(outer.batch(&mut numbers(0..3)), Flow::Blocked);
    assert!(outer.interrupted());
    let mut first = ends[0].values(usize::MAX);
    assert_eq!(outer.resume(), Flow::Continue);
    first.extend(ends[0].values(0));
    assert_eq!(first, [0, 1, 2]);
    assert_eq!(ends[1].values(0), [0, 1, 2]);
    assert_eq!(ends[2].values(0), [0, 1, 2]);
}

#[test]
fn signals_go_to_every_consumer_behind_its_records() {
    let ends = [End::with_room(usize::MAX), End::with_room(usize::MAX)];
    let mut tee = tee(&ends);
    assert_eq!(tee.batch(&mut numbers([7])), Flow::Continue);
    tee.signal(Signal::Barrier(3));
    for end in &ends {
        assert_eq!(end.take(0), [Heard::Record(7, i64::MIN), Heard::Signal(Signal::Barrier(3))]);
    }
}

proptest! {
    #[test]
    fn whatever_room_the_consumers_have_each_gets_all_records_once_and_in_order(
        batches in proptest::collection::vec((0..20_usize, any::<bool>()), 1..10),
        rooms in proptest::collection::vec(proptest::collection::vec(1..6_usize, 1..20), 1..4),
    ) {
        let ends: Vec<End<u64>> = rooms.iter().map(|rooms| End::with_room(rooms[0])).collect();
        let mut tee = tee(&ends);
        let mut got: Vec<Vec<u64>> = vec![Vec::new(); ends.len()];
        let mut turn = 0;
        let mut next = 0;
        for (length, single) in batches {
            let mut batch = numbers(next..next + if single { 1 } else { length as u64 });
            next += batch.len() as u64;
            let mut flow = if single { tee.push(batch.values[0], 0) } else { tee.batch(&mut batch) };
            while flow == Flow::Blocked {
                turn += 1;
                // One consumer after the other finds room again.
                let lucky = turn % ends.len();
                got[lucky].extend(ends[lucky].values(rooms[lucky][turn % rooms[lucky].len()]));
                flow = tee.resume();
            }
            prop_assert!(!tee.interrupted());
        }
        for (end, mut got) in ends.iter().zip(got) {
            got.extend(end.values(0));
            prop_assert_eq!(got, (0..next).collect::<Vec<_>>());
        }
    }
}
