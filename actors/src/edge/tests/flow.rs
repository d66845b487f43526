use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use proptest::prelude::*;

use super::*;
use crate::clock::{MAX_WATERMARK, NO_TIMESTAMP};

fn forward(credits: u32) -> (Edge<u64, Forward>, Receiver<u64>) {
    let (edge, mut receivers) = edge(1, credits, Forward, LIMITS);
    (edge, receivers.remove(0))
}

/// Gives the edge numbers until it is blocked.
fn fill<R: Route<u64>>(edge: &mut Edge<u64, R>) -> u64 {
    (1..100).find(|number| edge.push(*number, NO_TIMESTAMP) == Flow::Blocked).unwrap()
}

#[test]
fn without_a_credit_nothing_is_sent_and_the_edge_is_blocked() {
    let (mut edge, receiver) = forward(2);
    assert_eq!(fill(&mut edge), 3);
    assert_eq!(edge.resume(), Flow::Blocked);
    assert_eq!(receiver.process(), Some(Records(vec![1])));
    assert_eq!(edge.resume(), Flow::Continue);
    assert_eq!(receiver.process_all(), [Records(vec![2]), Records(vec![3])]);
}

#[test]
fn a_credit_is_back_when_the_message_is_processed_not_when_it_is_received() {
    let (mut edge, receiver) = forward(1);
    assert_eq!(fill(&mut edge), 2);
    let (got, permit) = receiver.receive().unwrap();
    assert_eq!(got, Records(vec![1]));
    assert_eq!(edge.resume(), Flow::Blocked);
    drop(permit);
    assert_eq!(edge.resume(), Flow::Continue);
}

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_credit_that_comes_back_wakes_the_sender() {
    let (mut edge, receiver) = forward(1);
    fill(&mut edge);
    let wakes = Arc::<CountWakes>::default();
    receiver.waker.register(&Waker::from(Arc::clone(&wakes)));
    let (_, permit) = receiver.receive().unwrap();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    drop(permit);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
}

#[test]
fn watermarks_that_wait_are_overtaken_by_the_last() {
    let (mut edge, receiver) = forward(1);
    fill(&mut edge);
    for at in [10, 20, 30] {
        edge.signal(Signal::Watermark(at));
    }
    assert_eq!(
        process_everything(&mut edge, &receiver),
        [Records(vec![1]), Records(vec![2]), GotWatermark(30)]
    );
}

#[test]
fn the_last_real_watermark_is_not_overtaken_by_the_end() {
    let (mut edge, receiver) = forward(1);
    fill(&mut edge);
    edge.signal(Signal::Watermark(10));
    edge.signal(Signal::Watermark(MAX_WATERMARK));
    let got = process_everything(&mut edge, &receiver);
    assert_eq!(got[2..], [GotWatermark(10), GotWatermark(MAX_WATERMARK)]);
}

#[test]
fn a_batch_that_was_closed_early_and_finds_no_credit_blocks_the_edge() {
    let (mut edge, receiver) = forward(2);
    ask_for_batches_of(100, &mut edge, std::slice::from_ref(&receiver), &0);
    let mut taken = 0;
    // Somebody gives records now and then, as long as there is room, and the input runs empty in between.
    for number in 0..1_000 {
        taken += 1;
        if edge.push(number, NO_TIMESTAMP) == Flow::Blocked {
            break;
        }
        edge.tick(0, true);
    }
    assert!(taken <= 4, "{taken} records were taken with two credits");
    let records = process_everything(&mut edge, &receiver).len();
    edge.tick(0, true);
    assert_eq!(records + process_everything(&mut edge, &receiver).len(), taken as usize);
}

#[test]
fn a_watermark_does_not_overtake_records_or_barriers() {
    let (mut edge, receiver) = forward(1);
    fill(&mut edge);
    edge.signal(Signal::Watermark(10));
    edge.signal(Signal::Barrier(1));
    edge.signal(Signal::Watermark(20));
    edge.signal(Signal::Status(Status::Idle));
    edge.signal(Signal::Watermark(30));
    edge.signal(Signal::End);
    assert_eq!(
        process_everything(&mut edge, &receiver),
        [
            Records(vec![1]),
            Records(vec![2]),
            GotWatermark(10),
            GotBarrier(1, 2),
            GotWatermark(20),
            Got::Status(Status::Idle),
            GotWatermark(30),
            Got::End
        ]
    );
}

#[test]
fn the_watermark_at_the_end_is_not_replaced_by_a_lower_one() {
    let (mut edge, receiver) = forward(1);
    fill(&mut edge);
    edge.signal(Signal::Watermark(MAX_WATERMARK));
    edge.signal(Signal::Watermark(30));
    let got = process_everything(&mut edge, &receiver);
    assert_eq!(got.last(), Some(&GotWatermark(MAX_WATERMARK)));
}

#[test]
fn a_barrier_stands_behind_the_records_of_its_channel_and_waits_for_no_other() {
    let (mut edge, receivers) = edge(2, 4, Rebalance::starting_at(1), LIMITS);
    ask_for_batches_of(100, &mut edge, &receivers, &0);
    // All credits of the first channel are on their way.
    let credits: Vec<_> = std::iter::from_fn(|| receivers[0].link.acquire()).collect();
    for number in 1..=6 {
        assert_eq!(edge.push(number, NO_TIMESTAMP), Flow::Continue);
    }
    edge.signal(Signal::Barrier(1));
    assert_eq!(edge.resume(), Flow::Blocked);
    let is_all = |got: &[Got<u64>]| matches!(got, [Records(records), GotBarrier(1, _)] if records.len() == 3);
    assert!(is_all(&receivers[1].process_all()));
    assert!(receivers[0].is_empty());
    drop(credits);
    assert_eq!(edge.resume(), Flow::Continue);
    assert!(is_all(&receivers[0].process_all()));
}

#[test]
fn a_barrier_counts_the_records_of_its_channel() {
    let (mut edge, receivers) = edge(2, 64, Rebalance::starting_at(1), LIMITS);
    for number in 0..5 {
        assert_eq!(edge.push(number, NO_TIMESTAMP), Flow::Continue);
    }
    edge.signal(Signal::Barrier(1));
    assert_eq!(edge.push(5, NO_TIMESTAMP), Flow::Continue);
    edge.signal(Signal::Barrier(2));
    let barriers = |receiver: &Receiver<u64>| {
        let got = receiver.process_all().into_iter();
        got.filter(|got| !matches!(got, Records(_))).collect::<Vec<_>>()
    };
    assert_eq!(barriers(&receivers[0]), [GotBarrier(1, 3), GotBarrier(2, 3)]);
    assert_eq!(barriers(&receivers[1]), [GotBarrier(1, 2), GotBarrier(2, 3)]);
}

#[test]
fn the_size_of_batches_follows_the_advice_of_the_receiver() {
    let (mut edge, receiver) = forward(64);
    let mut send = |records: u64| {
        (0..records).for_each(|number| assert_eq!(edge.push(number, NO_TIMESTAMP), Flow::Continue));
        edge.tick(0, true);
        let mut sizes = Vec::new();
        while let Some((got, permit)) = receiver.receive() {
            let Records(records) = got else { panic!("{got:?}") };
            sizes.push(records.len());
            permit.advise(4);
        }
        sizes
    };
    assert_eq!(send(3), [1, 1, 1], "before any advice");
    assert_eq!(send(10), [1, 4, 4, 1]);
    assert_eq!(send(9), [4, 4, 1]);
}

#[test]
fn no_advice_makes_batches_larger_than_the_limits() {
    let limits = BatchLimits { records: 8, ..LIMITS };
    let (mut edge, mut receivers) = edge(1, 64, Forward, limits);
    let receiver = receivers.remove(0);
    receiver.link.acquire().unwrap().advise(1_000_000);
    (0..20_u64).for_each(|number| assert_eq!(edge.push(number, NO_TIMESTAMP), Flow::Continue));
    let sizes = receiver
        .process_all()
        .into_iter()
        .map(|got| if let Records(records) = got { records.len() } else { 0 });
    assert_eq!(sizes.collect::<Vec<_>>(), [1, 8, 8]);
    assert_eq!(LIMITS.records_of::<[u8; 1024]>(), 32);
    assert_eq!(LIMITS.records_of::<[u8; 1_000_000]>(), 1);
    assert_eq!(LIMITS.records_of::<()>(), 1024);
}

#[test]
fn a_batch_that_is_not_full_waits_for_the_linger_time_at_most() {
    let (mut edge, receiver) = forward(8);
    ask_for_batches_of(100, &mut edge, std::slice::from_ref(&receiver), &0);
    assert_eq!(edge.push(1, NO_TIMESTAMP), Flow::Continue);
    assert_eq!(edge.tick(1_000, false), 6_000);
    assert_eq!(edge.push(2, NO_TIMESTAMP), Flow::Continue);
    assert_eq!(edge.tick(5_999, false), 6_000, "later records do not put it off");
    assert!(receiver.is_empty());
    assert_eq!(edge.tick(6_000, false), u64::MAX);
    assert_eq!(receiver.process_all(), [Records(vec![1, 2])]);
    assert_eq!(edge.tick(7_000, false), u64::MAX, "nothing is left");
}

#[test]
fn with_a_linger_time_without_an_end_a_batch_waits_until_the_input_runs_empty() {
    let (mut edge, receiver) = forward(8);
    ask_for_batches_of(100, &mut edge, std::slice::from_ref(&receiver), &0);
    edge.linger_nanos = u64::MAX;
    assert_eq!(edge.push(1, NO_TIMESTAMP), Flow::Continue);
    assert_eq!(edge.tick(1_000, false), u64::MAX);
    assert!(receiver.is_empty());
    assert_eq!(edge.tick(2_000, true), u64::MAX);
    assert_eq!(receiver.process_all(), [Records(vec![1])]);
}

#[test]
fn when_the_input_runs_empty_nothing_waits() {
    let (mut edge, receiver) = forward(8);
    ask_for_batches_of(100, &mut edge, std::slice::from_ref(&receiver), &0);
    assert_eq!(edge.push(1, NO_TIMESTAMP), Flow::Continue);
    assert_eq!(edge.tick(0, true), u64::MAX);
    assert_eq!(receiver.process_all(), [Records(vec![1])]);
}

#[test]
fn signals_take_what_was_gathered_with_them() {
    let (mut edge, receiver) = forward(8);
    ask_for_batches_of(100, &mut edge, std::slice::from_ref(&receiver), &0);
    assert_eq!(edge.push(1, NO_TIMESTAMP), Flow::Continue);
    edge.signal(Signal::Watermark(5));
    assert_eq!(receiver.process_all(), [Records(vec![1]), GotWatermark(5)]);
}

#[test]
fn emptied_batches_are_filled_again() {
    let (mut edge, receiver) = forward(2);
    assert_eq!(edge.push(1, 10), Flow::Continue);
    let envelope = receiver.mailbox.0.lock().unwrap().pop_front().unwrap();
    let Message::Batch(batch) = envelope.message else { panic!("{envelope:?}") };
    let memory = batch.values.as_ptr();
    envelope.permit.recycle(batch);
    // The next batch was begun before it came back; it is the one after.
    assert_eq!(edge.push(2, 10), Flow::Continue);
    assert_eq!(edge.senders[0].building.values.as_ptr(), memory);
}

#[test]
fn envelopes_are_numbered_without_gaps() {
    let (mut edge, receiver) = forward(8);
    edge.signal(Signal::Watermark(1));
    assert_eq!(edge.push(1, NO_TIMESTAMP), Flow::Continue);
    edge.signal(Signal::End);
    let envelopes = receiver.mailbox.0.lock().unwrap();
    let numbers: Vec<_> = envelopes.iter().map(|envelope| (envelope.channel, envelope.seq)).collect();
    assert_eq!(numbers, [(10, 1), (10, 2), (10, 3)]);
}

#[derive(Debug, Clone)]
enum Move {
    Push(u64),
    Signal(Signal),
    Tick(u64, bool),
    /// A receiver processes a message and asks for batches of so many records.
    Process(usize, usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let signal = prop_oneof![
        4 => (0..100_i64).prop_map(Signal::Watermark),
        1 => Just(Signal::Barrier(0)),
        1 => prop_oneof![Just(Status::Idle), Just(Status::Active)].prop_map(Signal::Status),
    ];
    let one = prop_oneof![
        10 => (0..1000_u64).prop_map(Move::Push),
        2 => signal.prop_map(Move::Signal),
        2 => (0..3_000_u64, any::<bool>()).prop_map(|(nanos, starved)| Move::Tick(nanos, starved)),
        8 => (0..3_usize, 1..6_usize).prop_map(|(receiver, advice)| Move::Process(receiver, advice)),
    ];
    proptest::collection::vec(one, 0..300)
}

/// One thing on a channel, of which batches consist.
#[derive(Debug, Clone, PartialEq)]
enum Entry {
    Record(u64),
    Other(Got<u64>),
}

proptest! {
    #[test]
    fn each_channel_delivers_everything_once_and_in_order_and_lets_little_wait(moves in moves()) {
        let (mut edge, receivers) = edge(3, 2, Rebalance::starting_at(2), LIMITS);
        let mut expected: Vec<Vec<Entry>> = vec![Vec::new(); 3];
        let mut got: Vec<Vec<Entry>> = vec![Vec::new(); 3];
        let (mut turn, mut now, mut barriers, mut watermark) = (0, 0, 0, -1);
        let mut process = |receiver: usize, advice: usize| -> bool {
            let Some((message, permit)) = receivers[receiver].receive() else { return false };
            permit.advise(advice);
            match message {
                Records(records) => got[receiver].extend(records.into_iter().map(Entry::Record)),
                other => got[receiver].push(Entry::Other(other)),
            }
            true
        };
        for next in moves {
            match next {
                Move::Push(number) => {
                    // Whoever pushes obeys: nothing is given to an edge that is blocked.
                    if edge.resume() == Flow::Continue {
                        expected[turn].push(Entry::Record(number));
                        turn = (turn + 1) % 3;
                        let _ = edge.push(number, NO_TIMESTAMP);
                    }
                }
                Move::Signal(signal) => {
                    let signal = match signal {
                        Signal::Watermark(step) => {
                            watermark += step + 1;
                            Signal::Watermark(watermark)
                        }
                        Signal::Barrier(_) if edge.resume() == Flow::Blocked => continue,
                        Signal::Barrier(_) => {
                            barriers += 1;
                            Signal::Barrier(barriers)
                        }
                        other => other,
                    };
                    edge.signal(signal);
                    for entries in &mut expected {
                        let records = entries.iter().filter(|entry| matches!(entry, Entry::Record(_))).count();
                        entries.push(Entry::Other(match signal {
                            Signal::Watermark(at) => GotWatermark(at),
                            Signal::Status(status) => Got::Status(status),
                            Signal::Barrier(id) => GotBarrier(id, records as u64),
                            Signal::End => Got::End,
                        }));
                    }
                }
                Move::Tick(nanos, starved) => {
                    now += nanos;
                    edge.tick(now, starved);
                }
                Move::Process(receiver, advice) => {
                    process(receiver, advice);
                }
            }
            for sender in &edge.senders {
                let batches = sender.waiting.iter().filter(|message| matches!(message, Message::Batch(_))).count();
                // One that was full, and one that a signal or the linger time has closed before its time.
                prop_assert!(batches <= 2, "{} batches wait", batches);
            }
        }
        edge.tick(now, true);
        while (0..3).filter(|receiver| process(*receiver, 1)).count() > 0 {
            let _ = edge.resume();
        }
        for (expected, got) in expected.iter().zip(&got) {
            // A watermark may be missing only where the next one follows directly.
            let mut left = got.iter().peekable();
            for (index, entry) in expected.iter().enumerate() {
                if left.peek() == Some(&entry) {
                    left.next();
                } else {
                    let overtaken = matches!(entry, Entry::Other(GotWatermark(_)))
                        && matches!(expected.get(index + 1), Some(Entry::Other(GotWatermark(_))));
                    prop_assert!(overtaken, "{:?} is missing in {:?}", entry, got);
                }
            }
            prop_assert_eq!(left.next(), None);
        }
    }
}

#[test]
fn what_is_sent_is_counted_with_its_size_and_the_highest_watermark() {
    let counters = Arc::<crate::task::Counters>::default();
    let (mut edge, receivers) = edge::<u32, _>(2, 8, Broadcast, LIMITS);
    edge.senders = edge.senders.into_iter().map(|sender| sender.counted_by(&counters)).collect();
    for value in 0..3 {
        assert_eq!(edge.push(value, 0), Flow::Continue);
    }
    edge.tick(0, true);
    edge.signal(Signal::Watermark(9));
    edge.signal(Signal::Watermark(7));
    assert_eq!(receivers[0].process_all().len(), 5);
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((count(&counters.sent.records), count(&counters.sent.bytes)), (6, 24));
    assert_eq!(counters.watermark_sent.get(), Some(9));
}
