//! Processes that do what their input says, for all tests of this module.

mod basics;
mod collections;
mod ends;
mod failures;
mod queries;
mod rescale;
mod rig;
mod snapshots;
mod timers;

use serde::{Deserialize, Serialize};

use super::*;
use crate::error::UserResult;
use crate::harness::{Harness, Item, record};
use crate::process::{Context, SideOutput};

/// What a record tells its actor to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Do {
    /// Count, and emit the count.
    Count,
    /// Emit this text so many times.
    Emit(String, usize),
    /// Set a timer; it emits when it fires.
    Timer(i64),
    DeleteTimer(i64),
    /// Set a timer that sets the next one, a millisecond later, up to this time.
    Chain(i64, i64),
    ProcessingTimer(i64),
    DeleteProcessingTimer(i64),
    /// Set a timer of processing time that sets the next one so much later, and emits.
    Every(i64),
    /// Emit the watermark that holds for the key.
    Watermark,
    Late(String),
    Clear,
    Fail(String),
    Panic(String),
}

/// What is remembered for a key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    count: u64,
    /// Up to where a chain of timers goes on.
    chain_until: Option<i64>,
    every: Option<i64>,
}

/// Keyed by the first part of its records.
struct Script;

impl Process for Script {
    type Key = u32;
    type In = (u32, Do);
    type Out = String;
    type State = Memory;

    fn on_record(
        &self,
        (key, what): (u32, Do),
        memory: &mut Memory,
        ctx: &mut Context<'_, Self>,
    ) -> UserResult {
        assert_eq!(*ctx.key(), key);
        act(&format!("{key}: "), what, memory, ctx)
    }

    fn on_timer(&self, timer: Timer, memory: &mut Memory, ctx: &mut Context<'_, Self>) -> UserResult {
        let key = *ctx.key();
        fire(&format!("{key}: "), timer, memory, ctx);
        Ok(())
    }
}

/// The same without a key.
struct Lone;

impl Process for Lone {
    type Key = ();
    type In = Do;
    type Out = String;
    type State = Memory;

    fn on_record(&self, what: Do, memory: &mut Memory, ctx: &mut Context<'_, Self>) -> UserResult {
        act("", what, memory, ctx)
    }

    fn on_timer(&self, timer: Timer, memory: &mut Memory, ctx: &mut Context<'_, Self>) -> UserResult {
        fire("", timer, memory, ctx);
        Ok(())
    }
}

fn late() -> SideOutput<String> {
    SideOutput::new("late")
}

fn act<P: Process<Out = String>>(
    who: &str,
    what: Do,
    memory: &mut Memory,
    ctx: &mut Context<'_, P>,
) -> UserResult {
    match what {
        Do::Count => {
            memory.count += 1;
            ctx.emit(format!("{who}{}", memory.count));
        }
        Do::Emit(text, times) => (0..times).for_each(|_| ctx.emit(format!("{who}{text}"))),
        Do::Timer(at) => ctx.timer_at(at),
        Do::DeleteTimer(at) => ctx.delete_timer_at(at),
        Do::Chain(at, until) => {
            memory.chain_until = Some(until);
            ctx.timer_at(at);
        }
        Do::ProcessingTimer(at) => ctx.timer_at_processing_time(at),
        Do::DeleteProcessingTimer(at) => ctx.delete_timer_at_processing_time(at),
        Do::Every(interval) => {
            memory.every = Some(interval);
            ctx.timer_at_processing_time(ctx.now_ms() + interval);
        }
        Do::Watermark => ctx.emit(format!("{who}watermark {}", ctx.watermark())),
        Do::Late(text) => ctx.emit_to(&late(), text),
        Do::Clear => ctx.clear(),
        Do::Fail(why) => return Err(why.into()),
        Do::Panic(why) => panic!("{why}"),
    }
    Ok(())
}

fn fire<P: Process<Out = String>>(who: &str, timer: Timer, memory: &mut Memory, ctx: &mut Context<'_, P>) {
    match timer.kind {
        TimerKind::EventTime => {
            assert_eq!(ctx.timestamp(), (timer.at < i64::MAX).then_some(timer.at));
            ctx.emit(format!("{who}timer {}", timer.at));
            if memory.chain_until.is_some_and(|until| timer.at < until) {
                ctx.timer_at(timer.at + 1);
            }
        }
        TimerKind::ProcessingTime => {
            assert_eq!(ctx.timestamp(), None);
            ctx.emit(format!("{who}timer {} at {} ms", timer.at, ctx.now_ms()));
            if let Some(interval) = memory.every {
                ctx.timer_at_processing_time(timer.at + interval);
            }
        }
    }
}

/// A step for [`Script`].
fn tell(key: u32, what: Do) -> Item<(u32, Do)> {
    record((key, what))
}

fn text(text: &str) -> Item<String> {
    record(text.to_string())
}

fn script() -> Harness<Script> {
    Harness::keyed(Script, |(key, _)| *key)
}
