use std::time::Duration;

use super::rig::{Rig, keyed_with_credits};
use super::*;
use crate::clock::MAX_WATERMARK;
use crate::harness::probe::Heard;
use crate::harness::world::World;
use crate::harness::{advance, watermark};
use crate::message::Message;
use crate::sources::testing::log_of;
use crate::task::{Control, Step, TaskEvent, TaskId};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn timers_fire_in_order_of_their_time_and_before_the_watermark_goes_on() {
    script()
        .input([
            tell(1, Do::Timer(9)),
            tell(2, Do::Timer(7)),
            tell(1, Do::Timer(12)),
            watermark(10),
            watermark(12),
        ])
        .expect_output([
            text("2: timer 7").at(7),
            text("1: timer 9").at(9),
            watermark(10),
            text("1: timer 12").at(12),
            watermark(12),
        ]);
}

#[test]
fn a_timer_does_not_fire_before_its_time() {
    script().input([tell(1, Do::Timer(11)), watermark(10)]).expect_output([watermark(10)]);
}

#[test]
fn a_timer_that_is_set_twice_fires_once() {
    script()
        .input([
            tell(1, Do::Timer(5)),
            tell(1, Do::Timer(5)),
            tell(2, Do::Timer(5)),
            watermark(6),
            watermark(7),
        ])
        .expect_output([text("2: timer 5").at(5), text("1: timer 5").at(5), watermark(7)]);
}

#[test]
fn a_deleted_timer_does_not_fire_and_leaves_the_others() {
    script()
        .input([
            tell(1, Do::Timer(5)),
            tell(2, Do::Timer(5)),
            tell(1, Do::Timer(6)),
            tell(1, Do::DeleteTimer(5)),
            tell(3, Do::DeleteTimer(6)),
            watermark(9),
        ])
        .expect_output([text("2: timer 5").at(5), text("1: timer 6").at(6), watermark(9)]);
}

#[test]
fn a_timer_that_is_set_by_a_timer_and_due_fires_before_the_watermark_goes_on() {
    script()
        .input([tell(1, Do::Chain(3, 6)), tell(2, Do::Timer(5)), watermark(5), watermark(20)])
        .expect_output([
            text("1: timer 3").at(3),
            text("1: timer 4").at(4),
            text("2: timer 5").at(5),
            text("1: timer 5").at(5),
            watermark(5),
            text("1: timer 6").at(6),
            watermark(20),
        ]);
}

#[test]
fn a_timer_that_is_overdue_when_set_fires_with_the_next_watermark() {
    script()
        .input([watermark(10), tell(1, Do::Timer(4)).at(4), tell(1, Do::Count).at(11), watermark(11)])
        .expect_output([watermark(10), text("1: 1").at(11), text("1: timer 4").at(4), watermark(11)]);
}

#[test]
fn the_end_of_the_input_fires_what_is_left() {
    script()
        .input([tell(1, Do::Timer(5)), tell(1, Do::Timer(i64::MAX)), watermark(MAX_WATERMARK)])
        .expect_output([
            text("1: timer 5").at(5),
            text(&format!("1: timer {}", i64::MAX)),
            watermark(MAX_WATERMARK),
        ]);
}

#[test]
fn more_timers_than_fit_into_a_slice_fire_all_and_once() {
    let until = 5_000;
    let fired = (1..=until).map(|at| text(&format!("1: timer {at}")).at(at));
    script()
        .input([tell(1, Do::Chain(1, until)), watermark(until)])
        .expect_output(fired.chain([watermark(until)]).collect::<Vec<_>>());
}

#[test]
fn timers_work_without_a_key() {
    Harness::process(Lone)
        .input([
            record(Do::Timer(5)),
            record(Do::Timer(5)),
            record(Do::ProcessingTimer(30)),
            record(Do::Timer(8)),
            record(Do::DeleteTimer(8)),
            advance(ms(30)),
            watermark(9),
        ])
        .expect_output([text("timer 30 at 30 ms"), text("timer 5").at(5), watermark(9)]);
}

#[test]
fn a_timer_of_processing_time_fires_when_the_clock_says_so() {
    script()
        .input([
            tell(1, Do::ProcessingTimer(30)),
            tell(2, Do::ProcessingTimer(20)),
            tell(3, Do::ProcessingTimer(25)),
            tell(3, Do::DeleteProcessingTimer(25)),
            tell(2, Do::ProcessingTimer(20)),
            advance(ms(19)),
            tell(1, Do::Count).at(3),
            advance(ms(11)),
        ])
        .expect_output([text("1: 1").at(3), text("2: timer 20 at 20 ms"), text("1: timer 30 at 30 ms")]);
}

#[test]
fn the_two_kinds_of_timers_do_not_touch_each_other() {
    script()
        .input([
            tell(1, Do::Timer(5)),
            tell(1, Do::ProcessingTimer(5)),
            tell(1, Do::DeleteProcessingTimer(5)),
            advance(ms(100)),
            watermark(5),
        ])
        .expect_output([text("1: timer 5").at(5), watermark(5)]);
}

#[test]
fn a_timer_of_processing_time_can_set_itself_again() {
    script().input([tell(1, Do::Every(10)), advance(ms(35))]).expect_output([
        text("1: timer 10 at 10 ms"),
        text("1: timer 20 at 20 ms"),
        text("1: timer 30 at 30 ms"),
    ]);
}

#[test]
fn a_timer_of_processing_time_that_is_not_due_when_the_input_ends_never_fires() {
    let world = World::new();
    let mut rig = keyed_with_credits(8, &world, 0, 1, &[]);
    rig.file([(1, Do::ProcessingTimer(10)), (2, Do::ProcessingTimer(1_000))]);
    rig.driver.settle().unwrap();
    world.clock.advance(ms(10));
    assert_eq!(rig.records(), ["1: timer 10 at 10 ms"]);
    rig.driver.send(0, Message::Watermark(MAX_WATERMARK)).unwrap();
    rig.driver.send(0, Message::End).unwrap();
    rig.driver.settle().unwrap();
    world.clock.advance(ms(10_000));
    assert_eq!(rig.records(), [""; 0]);
}

#[test]
fn timers_of_processing_time_wait_as_long_as_an_output_has_no_room() {
    let world = World::new();
    let mut rig = keyed_with_credits(1, &world, 0, 1, &[]);
    rig.file([(1, Do::Every(10))]);
    for _ in 0..100 {
        rig.driver.step().unwrap();
        world.clock.advance(ms(10));
    }
    assert_eq!(rig.records_so_far(), ["1: timer 10 at 10 ms"]);
    // One more was on its way when the output was found full; all others have waited.
    assert_eq!(
        rig.records()[..3],
        ["1: timer 20 at 20 ms", "1: timer 30 at 1000 ms", "1: timer 40 at 1000 ms"]
    );
}

#[test]
fn no_number_of_overdue_timers_keeps_an_actor_from_looking_at_control() {
    let world = World::new();
    let mut rig = keyed_with_credits(4096, &world, 0, 1, &[]);
    rig.file((0..3_000).map(|key| (key, Do::ProcessingTimer(5))));
    rig.driver.step().unwrap();
    world.clock.advance(ms(5));
    assert_eq!(rig.driver.step().unwrap(), Step::Waiting(ms(5).as_nanos() as u64));
    let first = rig.records_so_far().len();
    assert!(first < 2_000, "{first} timers in one step");
    assert_eq!(first + rig.records().len(), 3_000);
}

/// Counts and sets a timer, but has nothing to do when it fires.
struct Forgetful;

impl Process for Forgetful {
    type Key = u32;
    type In = u32;
    type Out = ();
    type State = ();

    fn on_record(&self, _key: u32, _state: &mut (), ctx: &mut Context<'_, Self>) -> UserResult {
        ctx.timer_at(5);
        Ok(())
    }
}

#[test]
fn a_timer_without_on_timer_is_an_error() {
    let failure = Harness::keyed(Forgetful, |key| *key).input([record(3), watermark(5)]).expect_failure();
    assert_eq!(failure.cause, "a timer for 5 came due, but this actor has no `on_timer`");
    assert_eq!(failure.key.as_deref(), Some("3"));
}

/// Each timer sets the next one, up to a time or for ever.
struct Clockwork {
    until: i64,
}

impl Process for Clockwork {
    type Key = ();
    type In = i64;
    type Out = i64;
    type State = ();

    fn on_record(&self, at: i64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        context.timer_at(at);
        Ok(())
    }

    fn on_timer(&self, timer: Timer, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        context.emit(timer.at);
        if timer.at < self.until {
            context.timer_at(timer.at + 1);
        }
        Ok(())
    }
}

/// An instance of it at the end of its input, with the first timer set.
fn at_the_end(world: &World, until: i64) -> Rig<Clockwork, InstanceStore<Clockwork>> {
    at_the_end_with_credits(1_000_000, world, until)
}

fn at_the_end_with_credits(
    credits: u32,
    world: &World,
    until: i64,
) -> Rig<Clockwork, InstanceStore<Clockwork>> {
    let env = world.env("clockwork", 0, 1);
    let parts = (Clockwork { until }, InstanceStore::new());
    let mut rig = Rig::start(world, env, parts, &[], credits).unwrap();
    let mut batch = Batch::default();
    batch.push(0, 0);
    rig.driver.send(0, Message::Batch(batch)).unwrap();
    rig.driver.settle().unwrap();
    rig.driver.send(0, Message::Watermark(MAX_WATERMARK)).unwrap();
    rig
}

const SAID: &str = "event-time timers set new ones";

#[test]
fn timers_that_set_themselves_for_ever_at_the_end_are_said_and_leave_time_for_control() {
    let world = World::new();
    let mut rig = at_the_end(&world, i64::MAX);
    let early = log_of(|| {
        for _ in 0..3 {
            assert_eq!(rig.driver.step().unwrap(), Step::Ready, "it comes back between timers");
        }
    });
    assert!(!early.contains(SAID), "{early}");
    world.clock.advance(ms(1_000));
    let log = log_of(|| {
        for _ in 0..5 {
            rig.driver.step().unwrap();
        }
    });
    assert_eq!(log.matches(SAID).count(), 1, "{log}");
    assert!(log.contains("operator=\"clockwork\" set=1 fired=4096 next_at_ms=4096"), "{log}");
    world.clock.advance(ms(60_000));
    let again = log_of(|| drop(rig.driver.step()));
    assert_eq!(again.matches(SAID).count(), 1, "once in a while: {again}");
    rig.driver.control(Control::Stop).unwrap();
    assert_eq!(rig.driver.step().unwrap(), Step::Stopped);
    let fired = rig.records_so_far();
    assert!(fired.len() >= 4_096 && fired.iter().copied().eq(0..fired.len() as i64));
}

#[test]
fn timers_that_come_to_an_end_are_not_said() {
    let world = World::new();
    let mut rig = at_the_end(&world, 500);
    world.clock.advance(ms(5_000));
    let log = log_of(|| assert_eq!(rig.records(), (0..=500).collect::<Vec<_>>()));
    assert!(!log.contains(SAID), "{log}");
}

#[test]
fn a_checkpoint_is_made_while_timers_set_themselves_at_the_end_and_has_what_is_left_of_them() {
    let mut world = World::new();
    let mut rig = at_the_end(&world, 20_000);
    rig.driver.send(0, Message::End).unwrap();
    world.prepare(1);
    rig.driver.send_barrier(0, 1).unwrap();
    for _ in 0..3 {
        rig.driver.step().unwrap();
    }
    assert!(world.reports.part(TaskId(0), 1).is_none(), "not as long as they may come to an end soon");
    world.clock.advance(ms(1_000));
    for _ in 0..6 {
        rig.driver.step().unwrap();
    }
    let unfinished = world.reports.of(TaskId(0)).into_iter().find_map(|event| match event {
        TaskEvent::Acknowledged { checkpoint: 1, unfinished, .. } => Some(unfinished),
        _ => None,
    });
    assert_eq!(unfinished, Some(true));
    let heard = rig.heard_so_far();
    let barrier = heard.iter().position(|heard| *heard == Heard::Barrier(1)).unwrap();
    let before = heard[..barrier].iter().filter(|heard| matches!(heard, Heard::Record(..))).count() as i64;
    assert!((1..20_000).contains(&before) && !heard.contains(&Heard::End), "{before}");

    // What is not in it comes again, and after that the end.
    let saved = world.read(&world.reports.part(TaskId(0), 1).unwrap());
    world.power_cut();
    let env = world.env("clockwork", 0, 1);
    let parts = (Clockwork { until: 20_000 }, InstanceStore::new());
    let mut rig = Rig::start(&world, env, parts, &[saved], 1_000_000).unwrap();
    rig.driver.send(0, Message::Watermark(MAX_WATERMARK)).unwrap();
    rig.driver.send(0, Message::End).unwrap();
    rig.driver.settle().unwrap();
    let heard = rig.heard_so_far();
    let values =
        heard.iter().filter_map(|heard| if let Heard::Record(at, _) = heard { Some(*at) } else { None });
    assert!(values.eq(before..=20_000));
    assert_eq!(heard[heard.len() - 2..], [Heard::Watermark(MAX_WATERMARK), Heard::End]);
}

#[test]
fn the_end_waits_for_timers_also_where_a_barrier_has_come_between() {
    let world = World::new();
    let mut rig = at_the_end(&world, 20_000);
    rig.driver.send(0, Message::End).unwrap();
    rig.driver.step().unwrap();
    world.clock.advance(ms(1_000));
    world.prepare(1);
    rig.driver.send_barrier(0, 1).unwrap();
    rig.driver.settle().unwrap();
    world.prepare(2);
    rig.driver.send_barrier(0, 2).unwrap();
    rig.driver.settle().unwrap();
    let finished = world.reports.of(TaskId(0)).into_iter().filter_map(|event| match event {
        TaskEvent::Acknowledged { checkpoint, unfinished, .. } => Some((checkpoint, !unfinished)),
        _ => None,
    });
    assert_eq!(finished.collect::<Vec<_>>(), [(1, false), (2, true)]);
    let heard = rig.heard_so_far();
    let records = heard.iter().filter(|heard| matches!(heard, Heard::Record(..))).count();
    let end = [Heard::Watermark(MAX_WATERMARK), Heard::End, Heard::Barrier(2)];
    assert_eq!((records, &heard[heard.len() - 3..]), (20_001, &end[..]));
}

#[test]
fn timers_that_set_themselves_for_ever_are_said_and_let_barriers_in_also_where_they_fill_the_output() {
    let world = World::new();
    let mut rig = at_the_end_with_credits(600, &world, i64::MAX);
    rig.driver.send(0, Message::End).unwrap();
    world.prepare(1);
    rig.driver.send_barrier(0, 1).unwrap();
    let mut heard = Vec::new();
    let log = log_of(|| {
        for _ in 0..40 {
            rig.driver.step().unwrap();
            // There is room again, and it is full again at once.
            rig.make_room();
            heard.extend(rig.heard_so_far());
            world.clock.advance(ms(100));
        }
    });
    assert_eq!(log.matches(SAID).count(), 1, "{log}");
    assert!(heard.contains(&Heard::Barrier(1)), "no barrier comes through");
    let records = || heard.iter().filter(|heard| matches!(heard, Heard::Record(..)));
    let barrier = heard.iter().position(|heard| *heard == Heard::Barrier(1)).unwrap();
    assert!(heard[barrier..].iter().any(|heard| matches!(heard, Heard::Record(..))), "and they go on");
    let values = records().map(|heard| if let Heard::Record(at, _) = heard { *at } else { -1 });
    assert!(values.eq(0..records().count() as i64));
    let unfinished = world.reports.of(TaskId(0)).into_iter().find_map(|event| match event {
        TaskEvent::Acknowledged { checkpoint: 1, unfinished, .. } => Some(unfinished),
        _ => None,
    });
    assert_eq!(unfinished, Some(true));
}
