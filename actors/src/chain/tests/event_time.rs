use std::time::Duration;

use watershed_state::Data;

use super::*;
use crate::clock::MAX_WATERMARK;
use crate::harness::VirtualClock;
use crate::message::Status;
use crate::message::Status::{Active, Idle};
use crate::sources::testing::log_of;
use crate::supervision::{Directive, Rejects};

const MS: u64 = 1_000_000;

fn at(watermark: i64) -> Signal {
    Signal::Watermark(watermark)
}

fn to(status: Status) -> Signal {
    Signal::Status(status)
}

/// A chain that takes a record's value as its time, sends a watermark every 10 ms at most, and is idle after 50 ms.
fn chain<N: Push<u64>>(strategy: Lateness, next: N) -> Fused<impl Operation<u64, Out = u64>, N> {
    chain_of_time(Arc::new(|value: &u64| *value as i64), strategy, Timing::default(), next)
}

fn chain_of_time<T: Data, F: Fn(&T) -> i64 + Send + Sync, N: Push<T>>(
    time_of: Arc<F>,
    strategy: Lateness,
    timing: Timing,
    next: N,
) -> Fused<impl Operation<T, Out = T>, N> {
    let strategy = strategy.idle_after(Duration::from_millis(50));
    let timing = Timing { interval: Duration::from_millis(10), ..timing };
    Fused::new(EventTime::new(time_of, &strategy, timing), next)
}

/// What happens to the chain.
#[derive(Debug, Clone, Copy)]
enum Event {
    Record(u64),
    /// A tick at so many milliseconds, while there is more input.
    Busy(u64),
    /// A tick at so many milliseconds, when the input has run empty.
    Starved(u64),
    Signal(Signal),
}

use Event::{Busy, Record, Signal as Comes, Starved};

/// The signals that come out after these events.
fn check(strategy: Lateness, events: &[Event], expected: &[Signal]) {
    let end = End::with_room(usize::MAX);
    let mut chain = chain(strategy, end.clone());
    for event in events {
        apply(&mut chain, *event);
    }
    assert_eq!(end.signals(), expected, "after {events:?}");
}

fn apply(chain: &mut dyn Push<u64>, event: Event) {
    match event {
        Record(value) => assert_eq!(chain.push(value, i64::MIN), Flow::Continue),
        Busy(now) => {
            chain.tick(now * MS, false);
        }
        Starved(now) => {
            chain.tick(now * MS, true);
        }
        Comes(signal) => chain.signal(signal),
    }
}

fn late(ms: u64) -> Lateness {
    Lateness::up_to(Duration::from_millis(ms))
}

#[test]
fn records_get_the_time_that_the_closure_finds() {
    let end = End::with_room(usize::MAX);
    let mut chain = chain(Lateness::none(), end.clone());
    assert_eq!(chain.push(7, 99), Flow::Continue);
    assert_eq!(end.take(0), [Heard::Record(7, 7)]);
}

#[test]
fn the_watermark_is_just_before_the_latest_time_less_the_lateness() {
    check(Lateness::none(), &[Record(100), Record(90), Starved(1)], &[at(99)]);
    check(late(30), &[Record(100), Record(90), Starved(1)], &[at(69)]);
}

#[test]
fn nothing_is_sent_before_the_first_record() {
    check(Lateness::none(), &[Starved(1), Busy(20)], &[]);
}

#[test]
fn the_watermark_never_falls_and_is_not_repeated() {
    check(
        Lateness::none(),
        &[Record(100), Starved(1), Record(50), Starved(2), Record(101), Starved(3)],
        &[at(99), at(100)],
    );
}

#[test]
fn while_records_flow_watermarks_come_now_and_then() {
    let events = [
        Record(1),
        Busy(1),
        Record(2),
        Busy(5),
        Record(3),
        Busy(10),
        Record(4),
        Busy(11),
        Record(5),
        Busy(12),
    ];
    check(Lateness::none(), &events, &[at(0), at(3)]);
}

#[test]
fn a_watermark_that_is_not_due_yet_is_announced() {
    let end = End::<u64>::with_room(usize::MAX);
    let mut chain = chain(Lateness::none(), end.clone());
    apply(&mut chain, Record(1));
    chain.tick(MS, false);
    apply(&mut chain, Record(2));
    assert_eq!(chain.tick(2 * MS, false), 11 * MS);
    end.take(usize::MAX);
    assert_eq!(chain.tick(11 * MS, false), 61 * MS, "then the next thing to happen is to be idle");
    assert_eq!(end.signals(), [at(1)]);
}

#[test]
fn when_the_input_runs_empty_the_watermark_comes_at_once() {
    check(Lateness::none(), &[Record(1), Busy(1), Record(9), Starved(2)], &[at(0), at(8)]);
}

#[test]
fn a_watermark_does_not_overtake_the_rest_of_a_record() {
    let end = End::with_room(1);
    let thrice = FlatMap::new(Arc::new(|value: u64| [value; 3]));
    let mut chain = chain(Lateness::none(), Fused::new(thrice, end.clone()));
    assert_eq!(chain.push(5, 0), Flow::Blocked);
    assert_eq!(chain.tick(MS, false), u64::MAX);
    assert_eq!(end.take(usize::MAX), [Heard::Record(5, 5)]);
    assert_eq!(chain.resume(), Flow::Continue);
    chain.tick(2 * MS, true);
    assert_eq!(end.take(0), [Heard::Record(5, 5), Heard::Record(5, 5), Heard::Signal(at(4))]);
}

#[test]
fn per_record_a_watermark_goes_behind_each_record_that_moves_it() {
    let strategy = late(30).per_record();
    let expected = [at(69), at(70)];
    check(strategy, &[Record(100), Record(90), Record(101), Busy(1), Starved(2)], &expected);
    let end = End::with_room(usize::MAX);
    let mut chain = chain(Lateness::none().per_record(), end.clone());
    for value in [5, 4, 7] {
        apply(&mut chain, Record(value));
    }
    assert_eq!(
        end.take(0),
        [
            Heard::Record(5, 5),
            Heard::Signal(at(4)),
            Heard::Record(4, 4),
            Heard::Record(7, 7),
            Heard::Signal(at(6))
        ]
    );
}

#[test]
fn per_record_a_watermark_waits_for_the_rest_of_its_record_and_comes_before_the_next() {
    let end = End::with_room(1);
    let thrice = FlatMap::new(Arc::new(|value: u64| [value; 3]));
    let mut chain = chain(Lateness::none().per_record(), Fused::new(thrice, end.clone()));
    let mut heard = Vec::new();
    for value in [5, 8] {
        let mut flow = chain.push(value, 0);
        heard.extend(end.take(1));
        while flow == Flow::Blocked {
            flow = chain.resume();
            heard.extend(end.take(1));
        }
    }
    let of = |value: u64| [Heard::Record(value, value as i64), Heard::Signal(at(value as i64 - 1))];
    let thrice = |value| [vec![of(value)[0].clone(); 3], vec![of(value)[1].clone()]].concat();
    assert_eq!(heard, [thrice(5), thrice(8)].concat());
}

#[test]
fn watermarks_from_above_are_replaced_by_its_own() {
    check(Lateness::none(), &[Record(10), Comes(at(500)), Starved(1)], &[at(9)]);
}

#[test]
fn before_the_end_it_says_how_far_it_has_really_come() {
    // The last watermark of its own has not been sent yet; and nothing may follow the end.
    let events = [
        Record(10),
        Busy(1),
        Record(20),
        Comes(at(MAX_WATERMARK)),
        Comes(Signal::End),
        Busy(20),
        Starved(500),
    ];
    check(Lateness::none(), &events, &[at(9), at(19), at(MAX_WATERMARK), Signal::End]);
}

#[test]
fn without_a_record_before_the_end_there_is_only_the_end() {
    check(
        Lateness::none(),
        &[Comes(at(MAX_WATERMARK)), Comes(Signal::End)],
        &[at(MAX_WATERMARK), Signal::End],
    );
}

#[test]
fn barriers_pass() {
    check(
        Lateness::none(),
        &[Record(10), Comes(Signal::Barrier(4)), Starved(1)],
        &[Signal::Barrier(4), at(9)],
    );
}

#[test]
fn it_is_idle_after_a_while_without_records_and_active_with_the_next_one() {
    let events = [Record(10), Starved(1), Starved(50), Starved(51), Starved(300), Record(20), Starved(301)];
    check(Lateness::none(), &events, &[at(9), to(Idle), to(Active), at(19)]);
}

#[test]
fn it_is_idle_without_ever_having_seen_a_record() {
    check(Lateness::none(), &[Starved(1), Starved(51)], &[to(Idle)]);
}

/// FLINK-32496: a source that was held back was taken for an idle one.
#[test]
fn held_back_is_not_idle() {
    check(Lateness::none(), &[Record(10), Starved(1), Busy(60), Busy(120), Starved(150)], &[at(9)]);
    check(Lateness::none(), &[Record(10), Starved(1), Busy(60), Starved(110)], &[at(9), to(Idle)]);
}

#[test]
fn the_moment_of_idleness_is_announced() {
    let end = End::<u64>::with_room(usize::MAX);
    let mut chain = chain(Lateness::none(), end);
    apply(&mut chain, Record(10));
    assert_eq!(chain.tick(MS, true), 51 * MS);
    assert_eq!(chain.tick(20 * MS, true), 51 * MS);
    assert_eq!(chain.tick(51 * MS, true), u64::MAX);
}

#[test]
fn an_idle_input_makes_it_idle_until_a_record_comes() {
    let events = [Record(10), Starved(1), Comes(to(Idle)), Comes(to(Idle)), Record(20), Starved(2)];
    check(Lateness::none(), &events, &[at(9), to(Idle), to(Active), at(19)]);
}

#[test]
fn after_a_restart_the_watermark_is_told_again_and_does_not_fall_behind() {
    let end = End::with_room(usize::MAX);
    let mut before = chain(late(30), end.clone());
    apply(&mut before, Record(200));
    apply(&mut before, Starved(1));
    assert_eq!(end.signals(), [at(169)]);
    let saved = save(&before);

    let end = End::with_room(usize::MAX);
    let mut after = chain(late(30), end.clone());
    load(&mut after, &saved);
    // Those behind it have lost what they knew of this channel.
    apply(&mut after, Starved(1));
    assert_eq!(end.signals(), [at(169)]);
    apply(&mut after, Record(150));
    apply(&mut after, Starved(2));
    assert_eq!(end.signals(), []);
    assert_eq!(save(&after), saved);
    apply(&mut after, Record(201));
    apply(&mut after, Starved(3));
    assert_eq!(end.signals(), [at(170)]);
}

#[test]
fn each_event_time_of_a_chain_gets_back_its_own_wherever_it_stands_then() {
    let end = End::with_room(usize::MAX);
    let (made, doubled) = (|| late(30).named("made"), || late(5).named("doubled"));
    let mut before = chain(made(), Fused::new(Map(Arc::new(|n: u64| 2 * n)), chain(doubled(), end.clone())));
    apply(&mut before, Record(100));
    apply(&mut before, Starved(1));
    let saved = watermarks([("made", 69), ("doubled", 194)]);
    assert_eq!(save(&before), saved);
    for (first, second) in [(made(), doubled()), (doubled(), made())] {
        let mut after = chain(first, chain(second, end.clone()));
        load(&mut after, &saved);
        assert_eq!(save(&after), saved);
    }
}

#[test]
fn what_is_saved_is_the_highest_real_watermark_also_after_the_end() {
    let end = End::<u64>::with_room(usize::MAX);
    let mut chain = chain(Lateness::none(), end);
    for event in [Record(10), Busy(1), Record(20), Comes(at(MAX_WATERMARK))] {
        apply(&mut chain, event);
    }
    assert_eq!(save(&chain), watermarks([("event_time", 19)]));
}

#[test]
fn times_at_the_edge_of_what_a_number_holds_do_not_overflow() {
    let mut generator = late(1_000).generator();
    assert_eq!(generator.watermark(), i64::MIN);
    generator.on_event(i64::MIN + 5);
    assert_eq!(generator.watermark(), i64::MIN);
    generator.on_event(i64::MAX);
    assert_eq!(generator.watermark(), i64::MAX - 1_001);
}

const DAY_MS: i64 = 86_400_000;

/// A chain whose records are their own times, where it is ten days past the epoch, and what it rejects.
fn held(strategy: Lateness, end: &End<i64>) -> (Fused<impl Operation<i64, Out = i64>, End<i64>>, Rejects) {
    let clock = Arc::new(VirtualClock::default());
    clock.advance(Duration::from_hours(240));
    let rejects = Rejects::new(Directive::Quarantine);
    let timing = Timing { clock: Some(clock), rejecter: rejects.event_time(), ..Timing::default() };
    (chain_of_time(Arc::new(|value: &i64| *value), strategy, timing, end.clone()), rejects)
}

#[test]
fn a_record_that_is_too_far_ahead_is_rejected_and_event_time_does_not_follow_it() {
    let end = End::with_room(usize::MAX);
    let (mut chain, rejects) = held(Lateness::none(), &end);
    let (good, year_9999) = ([5, 11 * DAY_MS, 10 * DAY_MS], 253_370_764_800_000);
    let log = log_of(|| {
        for value in [good[0], year_9999, 11 * DAY_MS + 1, good[1], i64::MAX, good[2]] {
            assert_eq!(chain.push(value, i64::MIN), Flow::Continue);
        }
    });
    chain.tick(0, true);
    let mut expected: Vec<Heard<i64>> = good.into_iter().map(|value| Heard::Record(value, value)).collect();
    expected.push(Heard::Signal(at(11 * DAY_MS - 1)));
    assert_eq!(end.take(usize::MAX), expected);
    let rejected = rejects.take();
    let times: Vec<Option<i64>> = rejected.iter().map(|rejected| rejected.evidence.timestamp).collect();
    assert_eq!(times, [Some(year_9999), Some(11 * DAY_MS + 1), Some(i64::MAX)]);
    assert_eq!(rejected[0].evidence.payload, year_9999);
    assert!(
        rejected[0].cause.contains("253370764800000 ms since 1970, is 2932522 d ahead of processing time")
            && rejected[0].cause.contains("is the clock of this machine right?"),
        "{}",
        rejected[0].cause
    );
    assert_eq!(log.matches("too far ahead").count(), 1, "once in a while: {log}");
    assert!(log.contains("record=\"253370764800000\""), "{log}");
}

#[test]
fn a_record_that_is_too_far_ahead_passes_on_where_the_strategy_says_so() {
    let end = End::with_room(usize::MAX);
    let (mut chain, rejects) = held(Lateness::none().far_ahead(FarAhead::PassOn(Duration::ZERO)), &end);
    let now = 10 * DAY_MS;
    for value in [now, now + 1] {
        assert_eq!(chain.push(value, i64::MIN), Flow::Continue);
    }
    chain.tick(0, true);
    let records = [Heard::Record(now, now), Heard::Record(now + 1, now + 1)];
    assert_eq!(end.take(usize::MAX)[..2], records);
    assert_eq!(save(&chain), watermarks([("event_time", now - 1)]));
    assert!(rejects.take().is_empty());
}

#[test]
fn a_restored_watermark_that_is_too_far_ahead_is_said_with_the_way_out() {
    let restored = |strategy: Lateness, watermark: i64| {
        log_of(|| {
            load(
                &mut held(strategy, &End::with_room(usize::MAX)).0,
                &watermarks([("event_time", watermark)]),
            );
        })
    };
    let (good, year_9999) = (11 * DAY_MS, 253_370_764_800_000);
    let log = restored(Lateness::none(), year_9999);
    let says =
        ["WARN", "a restored watermark is too far ahead", "253370764800000", "Config::reset_event_time"];
    assert!(says.iter().all(|text| log.contains(text)), "{log}");
    assert_eq!(restored(Lateness::none(), good), "");
    assert_eq!(restored(Lateness::none(), i64::MIN), "");
    assert_eq!(restored(Lateness::none().far_ahead(FarAhead::Allow), year_9999), "");
}

#[test]
fn no_event_time_says_that_the_input_has_ended() {
    let end = End::with_room(usize::MAX);
    let (mut chain, _) = held(Lateness::none().far_ahead(FarAhead::Allow), &end);
    for value in [i64::MIN, i64::MAX] {
        assert_eq!(chain.push(value, i64::MIN), Flow::Continue);
    }
    chain.tick(0, true);
    assert_eq!(end.signals(), [at(MAX_WATERMARK - 1)]);
}

#[test]
fn a_rejected_record_that_is_replayed_is_looked_at_again() {
    let end = End::with_room(usize::MAX);
    let clock = Arc::new(VirtualClock::default());
    let rejects = Rejects::new(Directive::Quarantine);
    let timing =
        Timing { clock: Some(Arc::clone(&clock) as _), rejecter: rejects.event_time(), ..Timing::default() };
    let mut chain = chain_of_time(Arc::new(|value: &i64| *value), Lateness::none(), timing, end.clone());
    assert_eq!(chain.push(2 * DAY_MS, i64::MIN), Flow::Continue);
    let evidence = rejects.take().remove(0).evidence;
    let bytes = evidence.bytes().unwrap();
    assert_eq!(chain.replay(&evidence.place, &bytes, 0).unwrap().unwrap(), Flow::Continue);
    assert!(rejects.take().len() == 1 && end.take(usize::MAX).is_empty());
    clock.advance(Duration::from_hours(24));
    assert_eq!(chain.replay(&evidence.place, &bytes, 0).unwrap().unwrap(), Flow::Continue);
    assert_eq!(end.take(usize::MAX), [Heard::Record(2 * DAY_MS, 2 * DAY_MS)]);
}

#[test]
fn times_without_an_end_are_never() {
    let end = End::with_room(usize::MAX);
    let strategy = Lateness::up_to(Duration::MAX).idle_after(Duration::MAX);
    let timing = Timing { interval: Duration::MAX, ..Timing::default() };
    let event_time = EventTime::new(Arc::new(|value: &i64| *value), &strategy, timing);
    let mut chain = Fused::new(event_time, end.clone());
    assert_eq!(chain.push(i64::MAX - 5, i64::MIN), Flow::Continue);
    for now in [1, u64::MAX / 2, u64::MAX - 1] {
        chain.tick(now, true);
        chain.tick(now, false);
    }
    assert_eq!(end.signals(), [at(-6)]);
}
