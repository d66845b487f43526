use std::time::Duration;

use super::*;
use crate::harness::VirtualClock;
use crate::task::Counters;

fn times(busy: u64, idle: u64, blocked: u64) -> Times {
    Times { busy_nanos: busy, idle_nanos: idle, blocked_nanos: blocked }
}

#[test]
fn time_belongs_to_what_was_done_in_it() {
    let (meter, clock) = (Meter::default(), VirtualClock::default());
    let go_on = |nanos, activity| {
        clock.advance(Duration::from_nanos(nanos));
        meter.change(activity, &clock);
        meter.read(clock.nanos())
    };
    assert_eq!(go_on(1_000, Activity::Idle), times(0, 0, 0), "before the first change it was not there");
    assert_eq!(go_on(200, Activity::Busy), times(0, 200, 0));
    assert_eq!(go_on(30, Activity::Busy), times(30, 200, 0), "also what goes on counts");
    assert_eq!(go_on(10, Activity::Blocked), times(40, 200, 0));
    assert_eq!(go_on(4, Activity::Down), times(40, 200, 4));
    assert_eq!(go_on(5_000, Activity::Idle), times(40, 200, 4), "a time of absence is no idle time");
}

#[test]
fn what_has_not_been_settled_counts_for_whoever_reads() {
    let (meter, clock) = (Meter::default(), VirtualClock::default());
    meter.change(Activity::Blocked, &clock);
    clock.advance(Duration::from_secs(3));
    assert_eq!(meter.read(clock.nanos()), times(0, 0, 3_000_000_000));
    assert_eq!(meter.read(clock.nanos()), times(0, 0, 3_000_000_000), "reading changes nothing");
}

#[test]
fn the_next_attempt_goes_on_counting_and_an_old_one_that_is_stuck_does_not_disturb_it() {
    let (counters, clock) = (Counters::default(), VirtualClock::default());
    counters.counts::<u32>();
    counters.add(7);
    counters.sent.add::<u64>(3);
    counters.watermark.set(5);
    counters.meter.change(Activity::Busy, &clock);
    clock.advance(Duration::from_nanos(100));
    let next = counters.carry_on(clock.nanos());
    // The old thread is still at it.
    counters.add(1);
    clock.advance(Duration::from_nanos(50));
    counters.meter.change(Activity::Idle, &clock);
    assert_eq!(next.records.load(Ordering::Relaxed), 7);
    assert_eq!(next.record_bytes.load(Ordering::Relaxed), 4);
    assert_eq!(next.sent.bytes.load(Ordering::Relaxed), 24);
    assert_eq!(next.watermark.get(), None, "event time goes back to that of the snapshot");
    assert_eq!(next.meter.read(clock.nanos()), times(100, 0, 0));
}

#[test]
fn who_reads_beside_the_writer_sees_all_of_the_time_that_has_passed() {
    let meter = std::sync::Arc::new(Meter::default());
    let clock = std::sync::Arc::new(VirtualClock::default());
    let (of_writer, clock_of_writer) = (std::sync::Arc::clone(&meter), std::sync::Arc::clone(&clock));
    let writer = std::thread::spawn(move || {
        let activities = [Activity::Busy, Activity::Idle, Activity::Busy, Activity::Blocked];
        for turn in 0..40_000 {
            clock_of_writer.advance(Duration::from_nanos(1));
            of_writer.change(activities[turn % 4], &*clock_of_writer);
        }
    });
    while !writer.is_finished() {
        let now = clock.nanos();
        let read = meter.read(now);
        let sum = read.busy_nanos + read.idle_nanos + read.blocked_nanos;
        // What the writer has settled since counts too. The first nanosecond it was not there.
        assert!(sum + 1 >= now, "{sum} of {now}");
    }
    writer.join().unwrap();
    assert_eq!(meter.read(clock.nanos()), times(20_000, 10_000, 9_999));
}
