mod metrics;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::chain::{EventTime, Fused, Lateness, Push, Tee, Timing};
use crate::clock::{Clock, MAX_WATERMARK};
use crate::error::UserResult;
use crate::harness::VirtualClock;
use crate::harness::driver::Driver;
use crate::harness::probe::{Credits, Heard, Probe};
use crate::harness::world::World;
use crate::message::{Message, Status};
use crate::process::{Context, Process, SideOutputs, Timer, TimerKind};
use crate::task::{InstanceStore, ProcessLogic, TaskEvent, TaskId};

/// Passes each record on, and takes its time.
struct Slow {
    clock: Arc<VirtualClock>,
    micros_per_record: u64,
}

impl Process for Slow {
    type Key = ();
    type In = u64;
    type Out = u64;
    type State = ();

    fn on_record(&self, record: u64, _state: &mut (), ctx: &mut Context<'_, Self>) -> UserResult {
        self.clock.advance(Duration::from_micros(self.micros_per_record));
        ctx.emit(record);
        Ok(())
    }
}

/// Sets a timer for the time that a record names, and takes a millisecond for each that fires.
struct SlowTimers {
    clock: Arc<VirtualClock>,
    kind: TimerKind,
}

impl Process for SlowTimers {
    type Key = ();
    type In = i64;
    type Out = i64;
    type State = ();

    fn on_record(&self, at: i64, _state: &mut (), ctx: &mut Context<'_, Self>) -> UserResult {
        match self.kind {
            TimerKind::EventTime => ctx.timer_at(at),
            TimerKind::ProcessingTime => ctx.timer_at_processing_time(at),
        }
        Ok(())
    }

    fn on_timer(&self, timer: Timer, _state: &mut (), _ctx: &mut Context<'_, Self>) -> UserResult {
        assert_eq!(timer.kind, self.kind);
        self.clock.advance(Duration::from_millis(1));
        Ok(())
    }
}

fn start_timers(
    world: &World,
    kind: TimerKind,
) -> Driver<OperatorTask<ProcessLogic<SlowTimers, InstanceStore<SlowTimers>>>> {
    let env = world.env("timers", 0, 1);
    let process = Arc::new(SlowTimers { clock: Arc::clone(&world.clock), kind });
    let given = env.clone();
    let boot = Box::new(move || {
        let inbox = Inbox::new(1, given.run);
        let outlet = Tee::new(Vec::new());
        let logic =
            ProcessLogic::new(given.clone(), process, InstanceStore::new(), outlet, SideOutputs::default());
        Ok(OperatorTask::new(given, inbox, logic))
    });
    let mut driver = Driver::boot(world, env, 1, Vec::new(), boot).unwrap();
    driver.send_values(0, (1..=500).collect()).unwrap();
    driver.step().unwrap();
    driver
}

#[test]
fn slow_timers_do_not_keep_an_actor_from_looking_at_control() {
    for kind in [TimerKind::EventTime, TimerKind::ProcessingTime] {
        let world = World::new();
        let mut driver = start_timers(&world, kind);
        match kind {
            TimerKind::EventTime => driver.send(0, Message::Watermark(1_000)).unwrap(),
            TimerKind::ProcessingTime => world.clock.advance(Duration::from_secs(1)),
        }
        let begin = world.clock.nanos();
        let mut steps = 0;
        while world.clock.nanos() < begin + 500_000_000 {
            let before = world.clock.nanos();
            driver.step().unwrap();
            steps += 1;
            assert!(world.clock.nanos() - before < 50_000_000, "in step {steps}, {kind:?}");
        }
    }
}

#[test]
fn a_step_with_many_watermarks_takes_about_a_millisecond_too() {
    let world = World::new();
    let mut driver = start_timers(&world, TimerKind::EventTime);
    for at in 1..=9 {
        driver.send(0, Message::Watermark(at)).unwrap();
    }
    for step in 1..=9 {
        assert_eq!(driver.step().unwrap(), Step::Ready);
        assert_eq!(world.clock.nanos(), step * 1_000_000);
    }
}

type SlowDriver = Driver<OperatorTask<ProcessLogic<Slow, InstanceStore<Slow>>>>;

fn start(world: &World, channels: usize, micros_per_record: u64, credits: u32) -> (SlowDriver, Probe<u64>) {
    let output = Probe::new();
    let outlet = output.outlet(credits, world.run());
    (start_with(world, channels, micros_per_record, outlet, &output), output)
}

fn start_with(
    world: &World,
    channels: usize,
    micros_per_record: u64,
    outlet: Tee<u64>,
    output: &Probe<u64>,
) -> SlowDriver {
    let env = world.env("slow", 0, 1);
    let process = Arc::new(Slow { clock: Arc::clone(&world.clock), micros_per_record });
    let given = env.clone();
    let boot = Box::new(move || {
        let inbox = Inbox::new(channels, given.run);
        let logic =
            ProcessLogic::new(given.clone(), process, InstanceStore::new(), outlet, SideOutputs::default());
        Ok(OperatorTask::new(given, inbox, logic))
    });
    Driver::boot(world, env, channels, vec![Box::new(output.clone())], boot).unwrap()
}

fn records(heard: &[Heard<u64>]) -> Vec<u64> {
    heard
        .iter()
        .filter_map(|heard| if let Heard::Record(value, _) = heard { Some(*value) } else { None })
        .collect()
}

#[test]
fn records_come_out_before_the_barrier_that_they_came_before() {
    let world = World::new();
    world.prepare(1);
    let (mut driver, output) = start(&world, 2, 0, 8);
    driver.send_values(0, vec![1, 2]).unwrap();
    driver.send_barrier(0, 1).unwrap();
    driver.send_values(0, vec![3]).unwrap();
    driver.settle().unwrap();
    driver.send_values(1, vec![10]).unwrap();
    driver.send_barrier(1, 1).unwrap();
    driver.send_values(1, vec![11]).unwrap();
    driver.settle().unwrap();
    let heard = output.take();
    let barrier = heard.iter().position(|heard| *heard == Heard::Barrier(1)).unwrap();
    assert_eq!(records(&heard[..barrier]), [1, 2, 10]);
    let mut after = records(&heard[barrier..]);
    after.sort_unstable();
    assert_eq!(after, [3, 11]);
    assert!(world.reports.part(TaskId(0), 1).is_some());
}

#[test]
fn an_abort_while_channels_are_blocked_lets_them_flow() {
    let world = World::new();
    world.prepare(2);
    let (mut driver, output) = start(&world, 2, 0, 8);
    driver.send_barrier(0, 1).unwrap();
    driver.send_values(0, vec![1]).unwrap();
    driver.settle().unwrap();
    assert_eq!(output.take(), []);
    driver.control(Control::Abort(1)).unwrap();
    driver.settle().unwrap();
    assert_eq!(records(&output.take()), [1]);

    // The barrier that comes late starts nothing; the next checkpoint is whole.
    driver.send_barrier(1, 1).unwrap();
    driver.send_values(1, vec![2]).unwrap();
    driver.settle().unwrap();
    assert_eq!(records(&output.take()), [2]);
    driver.send_barrier(0, 2).unwrap();
    driver.send_barrier(1, 2).unwrap();
    driver.settle().unwrap();
    assert_eq!(output.take(), [Heard::Barrier(2)]);
    assert!(world.reports.part(TaskId(0), 2).is_some());
}

#[test]
fn a_stream_whose_records_wait_for_a_barrier_is_not_idle() {
    let world = World::new();
    world.prepare(1);
    let output = Probe::new();
    let second = Duration::from_secs(1);
    let strategy = Lateness::none().idle_after(second);
    let timing = Timing { interval: second, ..Timing::default() };
    let event_time = EventTime::new(Arc::new(|value: &u64| *value as i64), &strategy, timing);
    let outlet = Tee::new(vec![Box::new(Fused::new(event_time, output.edge(64, 1))) as Box<dyn Push<u64>>]);
    let mut driver = start_with(&world, 2, 0, outlet, &output);
    driver.send_values(0, vec![1]).unwrap();
    driver.send_barrier(0, 1).unwrap();
    driver.send_values(0, vec![2]).unwrap();
    for _ in 0..50 {
        driver.settle().unwrap();
        world.clock.advance(Duration::from_millis(100));
    }
    assert!(
        !output.take().contains(&Heard::Status(Status::Idle)),
        "the second record is there, only held back"
    );
    driver.send_barrier(1, 1).unwrap();
    driver.settle().unwrap();
    for _ in 0..50 {
        driver.settle().unwrap();
        world.clock.advance(Duration::from_millis(100));
    }
    let heard = output.take();
    assert_eq!(records(&heard), [2]);
    assert_eq!(heard.last(), Some(&Heard::Status(Status::Idle)), "now there is none");
}

#[test]
fn an_operator_that_takes_20_ms_for_a_record_gets_one_record_at_a_time() {
    let world = World::new();
    let (mut driver, _output) = start(&world, 1, 20_000, 1024);
    for _ in 0..20 {
        let batch = (0..driver.wanted(0) as u64).collect();
        driver.send_values(0, batch).unwrap();
        driver.settle().unwrap();
        assert_eq!(driver.wanted(0), 1);
    }
}

#[test]
fn a_quick_operator_soon_gets_large_batches_and_a_slow_one_some_5_ms_of_work() {
    for (micros_per_record, expected) in [(1, 1024), (10, 500), (100, 50), (1_000, 5), (6_000, 1)] {
        let world = World::new();
        let (mut driver, _output) = start(&world, 1, micros_per_record, 1024);
        for _ in 0..12 {
            let batch = (0..driver.wanted(0) as u64).collect();
            driver.send_values(0, batch).unwrap();
            driver.settle().unwrap();
        }
        assert_eq!(driver.wanted(0), expected, "at {micros_per_record} µs a record");
    }
}

#[test]
fn a_step_takes_about_a_millisecond_however_much_there_is_to_do() {
    let world = World::new();
    let (mut driver, output) = start(&world, 1, 400, 1024);
    for value in 0..9 {
        driver.send_values(0, vec![value]).unwrap();
    }
    for step in 1..=3 {
        assert_eq!(driver.step().unwrap(), Step::Ready);
        assert_eq!(records(&output.take()).len(), 3, "in step {step}");
    }
    assert!(matches!(driver.step().unwrap(), Step::Waiting(_)));
}

#[test]
fn a_sender_gets_its_credit_back_when_the_last_output_has_found_room() {
    let world = World::new();
    let (mut driver, output) = start(&world, 1, 0, 1);
    driver.send_values(0, vec![1, 2, 3]).unwrap();
    for (value, unprocessed) in [(1, 1), (2, 1), (3, 0)] {
        driver.step().unwrap();
        assert_eq!(records(&output.take()), [value]);
        assert_eq!(driver.unprocessed(0), unprocessed, "after {value}");
        output.release();
    }
}

#[test]
fn nothing_is_taken_in_while_an_output_has_no_room() {
    let world = World::new();
    let (mut driver, output) = start(&world, 1, 0, 1);
    for value in 0..10 {
        driver.send_values(0, vec![value]).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(driver.step().unwrap(), Step::Waiting(u64::MAX));
    }
    // One is on its way, one waits for a credit; the others are still in the inbox.
    assert_eq!((records(&output.take()), driver.unprocessed(0)), (vec![0], 9));
    driver.settle().unwrap();
    assert_eq!((records(&output.take()), driver.unprocessed(0)), ((1..10).collect(), 0));
}

#[test]
fn a_consumer_without_room_does_not_make_another_wait_longer_than_the_linger_time() {
    let world = World::new();
    let (slow, quick) = (Probe::new(), Probe::wanting(100));
    let outlet = Tee::new(vec![Box::new(slow.edge(1, 1)) as Box<dyn Push<u64>>, Box::new(quick.edge(8, 1))]);
    let mut driver = start_with(&world, 1, 0, outlet, &slow);
    driver.send_values(0, vec![0]).unwrap();
    driver.send_values(0, vec![1, 2]).unwrap();
    // Of [1, 2] nothing fits into the slow channel; 2 is the beginning of a larger batch for the quick one.
    assert_eq!(driver.step().unwrap(), Step::Waiting(1_000_000));
    assert_eq!((records(&slow.take()), records(&quick.take())), (vec![0], vec![0, 1]));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(driver.step().unwrap(), Step::Waiting(u64::MAX));
    assert_eq!(records(&quick.take()), [2]);
}

#[test]
fn a_checkpoint_is_acknowledged_while_its_barrier_still_waits_for_room() {
    let world = World::new();
    world.prepare(1);
    let (mut driver, output) = start(&world, 1, 0, 1);
    driver.send_values(0, vec![1]).unwrap();
    driver.send_barrier(0, 1).unwrap();
    driver.send_values(0, vec![2]).unwrap();
    while driver.step().unwrap() == Step::Ready {}
    assert!(world.reports.part(TaskId(0), 1).is_some());
    assert_eq!(records(&output.take()), [1]);
    driver.settle().unwrap();
    assert_eq!(output.take(), [Heard::Barrier(1), Heard::Record(2, crate::NO_TIMESTAMP)]);
}

#[test]
fn watermarks_statuses_and_the_end_go_on_when_all_inputs_say_so() {
    let world = World::new();
    let (mut driver, output) = start(&world, 2, 0, 8);
    driver.send(0, Message::Watermark(10)).unwrap();
    driver.send(1, Message::Watermark(20)).unwrap();
    driver.send(0, Message::Status(Status::Idle)).unwrap();
    driver.settle().unwrap();
    assert_eq!(output.take(), [Heard::Watermark(10), Heard::Watermark(20)]);
    driver.send(1, Message::Status(Status::Idle)).unwrap();
    driver.settle().unwrap();
    assert_eq!(output.take(), [Heard::Status(Status::Idle)]);
    driver.send(1, Message::Status(Status::Active)).unwrap();
    driver.settle().unwrap();
    assert_eq!(output.take(), [Heard::Status(Status::Active)]);
    for channel in [0, 1] {
        driver.send(channel, Message::Watermark(MAX_WATERMARK)).unwrap();
        driver.send(channel, Message::End).unwrap();
    }
    driver.settle().unwrap();
    assert_eq!(output.take(), [Heard::Watermark(MAX_WATERMARK), Heard::End]);
}

#[test]
fn an_operator_whose_inputs_have_ended_still_takes_part_in_checkpoints() {
    let world = World::new();
    world.prepare(1);
    let (mut driver, output) = start(&world, 1, 0, 8);
    driver.send(0, Message::Watermark(MAX_WATERMARK)).unwrap();
    driver.send(0, Message::End).unwrap();
    driver.send_barrier(0, 1).unwrap();
    driver.settle().unwrap();
    assert_eq!(output.take(), [Heard::Watermark(MAX_WATERMARK), Heard::End, Heard::Barrier(1)]);
    assert!(world.reports.part(TaskId(0), 1).is_some());
}

#[test]
fn nothing_is_done_before_the_start_and_after_the_stop() {
    let world = World::new();
    let env = world.env("slow", 0, 1);
    let output = Probe::<u64>::new();
    let process = Arc::new(Slow { clock: Arc::clone(&world.clock), micros_per_record: 0 });
    let outlet = output.outlet(8, env.run);
    let logic = ProcessLogic::new(env.clone(), process, InstanceStore::new(), outlet, SideOutputs::default());
    let mut task = OperatorTask::new(env.clone(), Inbox::new(1, env.run), logic);
    assert_eq!(task.step().unwrap(), Step::Waiting(u64::MAX));

    let (mut driver, output) = start(&world, 1, 0, 8);
    driver.control(Control::Stop).unwrap();
    driver.send_values(0, vec![1]).unwrap();
    assert_eq!(driver.step().unwrap(), Step::Stopped);
    assert_eq!(output.take(), []);
    assert_eq!(world.reports.of(TaskId(0)), [TaskEvent::Ready, TaskEvent::Stopped]);
}
