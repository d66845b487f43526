use super::*;
use crate::clock::MAX_WATERMARK;
use crate::harness::{advance, watermark};
use crate::process::{BroadcastContext, BroadcastInput, BroadcastProcess, ConnectedContext};

/// Counts the records of each key, and says how many there were when the input has ended, if it was even asked for.
struct Tally {
    /// Whether it has something to say then.
    tells: bool,
}

fn ended() -> SideOutput<u64> {
    SideOutput::new("ended")
}

impl Process for Tally {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, n: u64, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        if n < 100 {
            context.timer_at_end();
            context.timer_at(50);
        }
        Ok(())
    }

    fn on_timer(&self, timer: Timer, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        if timer.at == MAX_WATERMARK {
            return Err("the end is no timer where there is an `on_end`".into());
        }
        context.emit((1_000, *count));
        Ok(())
    }

    fn on_end(&self, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        if !self.tells {
            return self.on_timer(Timer { at: 7, kind: TimerKind::EventTime }, count, context);
        }
        assert_eq!((context.timestamp(), context.watermark()), (None, MAX_WATERMARK));
        let key = *context.key();
        context.emit((key, *count));
        context.emit_at((key, *count), 60);
        context.emit_to(&ended(), key);
        context.clear();
        // There is only one end.
        context.timer_at_end();
        Ok(())
    }
}

#[test]
fn the_end_of_the_input_is_told_once_and_last_to_each_key_that_has_asked() {
    Harness::keyed(Tally { tells: true }, |n| n % 10)
        .input([
            record(3).at(1),
            record(13).at(2),
            watermark(20),
            record(104).at(21),
            record(23).at(22),
            watermark(MAX_WATERMARK),
            advance(std::time::Duration::from_millis(5)),
        ])
        .expect_side(&ended(), [record(3)])
        .expect_output([
            watermark(20),
            record((1_000, 3)).at(50),
            record((3, 3)),
            record((3, 3)).at(60),
            watermark(MAX_WATERMARK),
        ]);
}

/// Says how many records its instance has seen, without keys.
struct Lonely;

impl Process for Lonely {
    type Key = ();
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, _: u64, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.timer_at_end();
        Ok(())
    }

    fn on_end(&self, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        context.emit(*count);
        Ok(())
    }
}

#[test]
fn without_keys_the_instance_is_told_and_needs_no_event_time_for_that() {
    let ended = || watermark(MAX_WATERMARK);
    Harness::process(Lonely)
        .input([record(1), record(2), record(3), ended()])
        .expect_output([record(3), ended()]);
    Harness::process(Lonely).input([ended()]).expect_output([ended()]);
}

/// Asks for the end, and has nothing to say then.
struct Speechless;

impl Process for Speechless {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = ();

    fn on_record(&self, _: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        context.timer_at_end();
        Ok(())
    }
}

#[test]
fn to_ask_for_the_end_without_an_on_end_is_an_error() {
    let asks = Harness::keyed(Speechless, |n| *n).input([record(3), watermark(MAX_WATERMARK)]);
    let failure = asks.expect_failure();
    assert!(failure.cause.contains("has no `on_end`"), "{failure}");
    let errs = Harness::keyed(Tally { tells: false }, |n| *n).input([
        record(3),
        watermark(5),
        watermark(MAX_WATERMARK),
    ]);
    errs.expect_output([
        watermark(5),
        record((1_000, 1)).at(50),
        record((1_000, 1)),
        watermark(MAX_WATERMARK),
    ]);
}

/// Multiplies the sum of each key by what was broadcast last, at the end.
struct Scaled;

impl BroadcastProcess for Scaled {
    type Key = u64;
    type In = u64;
    type Broadcast = u64;
    type Out = u64;
    type State = u64;
    type Shared = u64;

    fn on_record(
        &self,
        n: u64,
        sum: &mut u64,
        _: &u64,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        *sum += n;
        context.timer_at_end();
        Ok(())
    }

    fn on_broadcast(&self, factor: u64, shared: &mut u64, _: &mut BroadcastContext<'_, u64>) -> UserResult {
        *shared = factor;
        Ok(())
    }

    fn on_end(&self, sum: &mut u64, factor: &u64, context: &mut ConnectedContext<'_, Self>) -> UserResult {
        context.emit(*sum * factor);
        Ok(())
    }
}

#[test]
fn with_a_broadcast_input_the_end_sees_what_was_broadcast_last() {
    let number = |n| record(BroadcastInput::Record(n));
    Harness::keyed_broadcast(Scaled, |n| n % 2)
        .input([number(3), record(BroadcastInput::Broadcast(10)), number(5), watermark(MAX_WATERMARK)])
        .expect_output([record(80), watermark(MAX_WATERMARK)]);
}
