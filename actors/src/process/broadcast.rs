//! Processes with a second input that all instances get, and a state of it that all instances share.

use serde::{Deserialize, Serialize};
use watershed_state::{Data, Key, State};

use crate::clock::{Clock, NO_TIMESTAMP};
use crate::error::UserResult;
use crate::instance::Instance;
use crate::operator_state::OperatorState;
use crate::process::{Context, Emitted, Process, SideOutput, Timer};

/// The behaviour of an actor whose records meet what is broadcast to all of its instances, like rules.
///
/// Each instance has a replica of the shared state, which changes only with broadcast records. Every instance gets all
/// of them: those of one sender in the order in which they were sent, those of several senders in no particular order
/// between them, and in none between them and other records. So that replicas stay the same,
/// [`on_broadcast`](Self::on_broadcast) must do the same in every instance, and what it does should not depend on the
/// order of senders.
///
/// Replicas are part of each snapshot. With the same parallelism each instance has its own back, with another one all
/// have a copy of the first one's.
pub trait BroadcastProcess: Sized + Send + Sync + 'static {
    /// What `key_by` found; `()` without it.
    type Key: Key;
    /// A record that comes to one instance.
    type In: Data;
    /// A record that comes to all instances.
    type Broadcast: Data;
    /// A record that goes out.
    type Out: Data;
    /// What is remembered for a key. A key that was never seen has the default.
    type State: State;
    /// What every instance remembers of the broadcast records.
    type Shared: State;

    /// Takes a record, with the state of its key, and looks at what was broadcast.
    ///
    /// # Errors
    /// Any error of the user's; the supervisor decides what becomes of it.
    fn on_record(
        &self,
        record: Self::In,
        state: &mut Self::State,
        shared: &Self::Shared,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult;

    /// Takes a broadcast record, as every other instance does. What is emitted here is emitted by each of them.
    ///
    /// # Errors
    /// Any error of the user's; the supervisor decides what becomes of it. If it leaves the record out, each instance
    /// does, and each makes a dead letter of it, which cannot be replayed: a change has to come to all replicas,
    /// through the stream. A broadcast record that makes one instance panic again and again is left out by all.
    fn on_broadcast(
        &self,
        record: Self::Broadcast,
        shared: &mut Self::Shared,
        context: &mut BroadcastContext<'_, Self::Out>,
    ) -> UserResult;

    /// A timer that was set in [`on_record`](Self::on_record) has come due.
    ///
    /// # Errors
    /// Any error of the user's. As long as it is not written, a timer is an error: it would be lost.
    fn on_timer(
        &self,
        timer: Timer,
        state: &mut Self::State,
        shared: &Self::Shared,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        let _ = (state, shared, context);
        if timer.is_at_end() {
            return Err("the end of the input has come, but this actor has no `on_end`".into());
        }
        Err(format!("a timer for {} came due, but this actor has no `on_timer`", timer.at).into())
    }

    /// Both inputs have ended, for a key that has asked for it in [`on_record`](Self::on_record). See
    /// [`Process::on_end`].
    ///
    /// # Errors
    /// As there.
    fn on_end(
        &self,
        state: &mut Self::State,
        shared: &Self::Shared,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        self.on_timer(Timer::AT_END, state, shared, context)
    }
}

/// What a [`BroadcastProcess`] may do with the record or timer of a key.
pub type ConnectedContext<'a, B> = Context<'a, Connected<B>>;

/// A record of one of the two inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BroadcastInput<T, U> {
    /// It comes to one instance.
    Record(T),
    /// It comes to all instances.
    Broadcast(U),
}

impl<T, U> BroadcastInput<T, U> {
    /// The record that comes to one instance, if it is one.
    pub fn record(&self) -> Option<&T> {
        match self {
            Self::Record(record) => Some(record),
            Self::Broadcast(_) => None,
        }
    }
}

/// The replica of an instance, with the behaviour: a process for the records that come to one instance.
pub struct Connected<B: BroadcastProcess> {
    pub(crate) process: std::sync::Arc<B>,
    /// One element.
    shared: OperatorState<B::Shared>,
}

impl<B: BroadcastProcess> std::fmt::Debug for Connected<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected").finish_non_exhaustive()
    }
}

impl<B: BroadcastProcess> Connected<B> {
    /// The replica is what was restored, or the default.
    pub(crate) fn new(process: std::sync::Arc<B>, shared: OperatorState<B::Shared>) -> Self {
        shared.with(|replica| replica.resize_with(1, B::Shared::default));
        Self { process, shared }
    }

    /// Works on the replica.
    #[inline]
    pub(crate) fn with_shared<R>(&self, work: impl FnOnce(&B, &mut B::Shared) -> R) -> R {
        self.shared.with(|replica| work(&self.process, &mut replica[0]))
    }
}

impl<B: BroadcastProcess> Process for Connected<B> {
    type Key = B::Key;
    type In = BroadcastInput<B::In, B::Broadcast>;
    type Out = B::Out;
    type State = B::State;

    #[inline]
    fn on_record(
        &self,
        record: Self::In,
        state: &mut B::State,
        context: &mut Context<'_, Self>,
    ) -> UserResult {
        match record {
            BroadcastInput::Record(record) => {
                self.with_shared(|process, shared| process.on_record(record, state, shared, context))
            }
            BroadcastInput::Broadcast(_) => Err("a broadcast record was taken for one with a key".into()),
        }
    }

    fn on_timer(&self, timer: Timer, state: &mut B::State, context: &mut Context<'_, Self>) -> UserResult {
        self.with_shared(|process, shared| process.on_timer(timer, state, shared, context))
    }

    fn on_end(&self, state: &mut B::State, context: &mut Context<'_, Self>) -> UserResult {
        self.with_shared(|process, shared| process.on_end(state, shared, context))
    }
}

/// What an actor may do with a broadcast record. It has no key, so there are no timers.
pub struct BroadcastContext<'a, T> {
    pub(crate) instance: &'a Instance,
    pub(crate) timestamp: i64,
    pub(crate) watermark: i64,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) emitted: &'a mut Emitted<T>,
}

impl<T> std::fmt::Debug for BroadcastContext<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BroadcastContext")
            .field("instance", &self.instance)
            .field("timestamp", &self.timestamp())
            .finish_non_exhaustive()
    }
}

impl<T> BroadcastContext<'_, T> {
    /// Whose replica it is: for what only one of them is to emit. The shared state must not depend on it.
    pub fn instance(&self) -> &Instance {
        self.instance
    }

    /// Event time of the record in milliseconds; `None` without event time.
    pub fn timestamp(&self) -> Option<i64> {
        (self.timestamp != NO_TIMESTAMP).then_some(self.timestamp)
    }

    /// How far event time has come, in milliseconds; `i64::MIN` before the first watermark. It is that of both inputs.
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    /// Processing time: milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.wall_ms()
    }

    /// Sends a record on, with the event time of what it came from.
    pub fn emit(&mut self, record: T) {
        self.emitted.main.push(record, self.timestamp);
    }

    /// Sends a record on with an event time (milliseconds) of its own.
    pub fn emit_at(&mut self, record: T, at: i64) {
        self.emitted.main.push(record, at);
    }

    /// Sends a record to a side output. One that no stream uses is dropped.
    pub fn emit_to<U: Clone + Send + 'static>(&mut self, output: &SideOutput<U>, record: U) {
        self.emitted.side.emit(output, record, self.timestamp);
    }
}
