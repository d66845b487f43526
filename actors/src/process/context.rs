//! What a process function may do.

use watershed_state::{
    Aggregate, AggregatingState, Collections, Data, Key, ListState, MapState, OpenAggregating, OpenList,
    OpenMap, OpenReducing, OpenValue, ReducingState, ValueState,
};

use crate::batch::Batch;
use crate::clock::{Clock, MAX_WATERMARK, NO_TIMESTAMP};
use crate::process::timers::TimerService;
use crate::process::{Process, SideOutput, SideOutputs, TimerKind};

/// What an actor may do with the record or timer at hand.
pub struct Context<'a, P: Process + ?Sized> {
    pub(crate) key: &'a P::Key,
    pub(crate) hash: u64,
    pub(crate) timestamp: i64,
    pub(crate) watermark: i64,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) timers: &'a mut TimerService<P::Key>,
    pub(crate) collections: &'a mut Collections<P::Key>,
    pub(crate) emitted: &'a mut Emitted<P::Out>,
    pub(crate) cleared: bool,
}

impl<P: Process + ?Sized> std::fmt::Debug for Context<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("timestamp", &self.timestamp())
            .field("watermark", &self.watermark)
            .finish_non_exhaustive()
    }
}

impl<P: Process + ?Sized> Context<'_, P> {
    /// The key of the record or timer.
    #[inline]
    pub fn key(&self) -> &P::Key {
        self.key
    }

    /// Event time of the record in milliseconds, or the time of an event-time timer; `None` without event time.
    #[inline]
    pub fn timestamp(&self) -> Option<i64> {
        (self.timestamp != NO_TIMESTAMP).then_some(self.timestamp)
    }

    /// How far event time has come, in milliseconds; `i64::MIN` before the first watermark.
    #[inline]
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    /// Processing time: milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.wall_ms()
    }

    /// Sends a record on, with the event time of what it came from.
    #[inline]
    pub fn emit(&mut self, record: P::Out) {
        self.emitted.main.push(record, self.timestamp);
    }

    /// Sends a record on with an event time (milliseconds) of its own.
    #[inline]
    pub fn emit_at(&mut self, record: P::Out, at: i64) {
        self.emitted.main.push(record, at);
    }

    /// Sends a record to a side output. One that no stream uses is dropped.
    pub fn emit_to<T: Clone + Send + 'static>(&mut self, output: &SideOutput<T>, record: T) {
        self.emitted.side.emit(output, record, self.timestamp);
    }

    /// Sets a timer of this key for when the watermark reaches `at` (milliseconds). Setting it twice is setting it
    /// once.
    ///
    /// When the input ends the watermark goes to [`MAX_WATERMARK`](crate::MAX_WATERMARK), so that all timers fire, in
    /// the order of their times, and those that they set, too. **A timer that sets itself again has to stop there**, or
    /// it goes on to the end of all time, which the log says after a second:
    ///
    /// ```
    /// # use watershed_actors::{Context, MAX_WATERMARK, Process, Timer, UserResult};
    /// # struct Minutely;
    /// # impl Process for Minutely {
    /// #     type Key = u64;
    /// #     type In = u64;
    /// #     type Out = i64;
    /// #     type State = ();
    /// #     fn on_record(&self, _: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
    /// #         context.timer_at(0);
    /// #         Ok(())
    /// #     }
    /// fn on_timer(&self, timer: Timer, _: &mut (), context: &mut Context<'_, Self>) -> UserResult {
    ///     context.emit(timer.at);
    ///     if context.watermark() < MAX_WATERMARK {
    ///         context.timer_at(timer.at + 60_000);
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    pub fn timer_at(&mut self, at: i64) {
        self.timers.register(TimerKind::EventTime, at, self.hash, self.key);
    }

    /// Asks for this key to be told of the end of the input, by [`Process::on_end`]. Asking twice is asking once; the
    /// end itself cannot ask again. It is an event-time timer at [`MAX_WATERMARK`], so it needs no event time and is
    /// part of each checkpoint. Without keys it is the instance that is told, if it has seen a record that asked.
    /// Unbounded input ends only when the job is drained.
    pub fn timer_at_end(&mut self) {
        self.timer_at(MAX_WATERMARK);
    }

    /// Takes back what [`Context::timer_at_end`] asked for.
    pub fn delete_timer_at_end(&mut self) {
        self.delete_timer_at(MAX_WATERMARK);
    }

    /// Takes back a timer that [`Context::timer_at`] set.
    pub fn delete_timer_at(&mut self, at: i64) {
        self.timers.delete(TimerKind::EventTime, at, self.hash, self.key);
    }

    /// Sets a timer of this key for when the clock reaches `at` (milliseconds since the Unix epoch). One that is
    /// overdue after a restart fires at once; one that is not due when the input ends never fires.
    pub fn timer_at_processing_time(&mut self, at: i64) {
        self.timers.register(TimerKind::ProcessingTime, at, self.hash, self.key);
    }

    /// Takes back a timer that [`Context::timer_at_processing_time`] set.
    pub fn delete_timer_at_processing_time(&mut self, at: i64) {
        self.timers.delete(TimerKind::ProcessingTime, at, self.hash, self.key);
    }

    /// The map of this key that the behaviour declares.
    #[inline]
    pub fn map<'c, K: Key, V: Data>(&'c mut self, map: &MapState<K, V>) -> OpenMap<'c, P::Key, K, V> {
        let clock = self.clock;
        map.open(self.collections, self.key, self.hash, || clock.wall_ms())
    }

    /// The list of this key that the behaviour declares.
    #[inline]
    pub fn list<'c, T: Data>(&'c mut self, list: &ListState<T>) -> OpenList<'c, P::Key, T> {
        let clock = self.clock;
        list.open(self.collections, self.key, self.hash, || clock.wall_ms())
    }

    /// The value of this key that the behaviour declares, besides the state.
    #[inline]
    pub fn value<'c, T: Data>(&'c mut self, value: &ValueState<T>) -> OpenValue<'c, P::Key, T> {
        let clock = self.clock;
        value.open(self.collections, self.key, self.hash, || clock.wall_ms())
    }

    /// What the behaviour folds values of this key into.
    #[inline]
    pub fn reducing<'c, T: Data>(&'c mut self, state: &'c ReducingState<T>) -> OpenReducing<'c, P::Key, T> {
        let clock = self.clock;
        state.open(self.collections, self.key, self.hash, || clock.wall_ms())
    }

    /// The accumulator of this key that the behaviour declares.
    #[inline]
    pub fn aggregating<'c, A: Aggregate>(
        &'c mut self,
        state: &'c AggregatingState<A>,
    ) -> OpenAggregating<'c, P::Key, A> {
        let clock = self.clock;
        state.open(self.collections, self.key, self.hash, || clock.wall_ms())
    }

    /// Forgets the state of this key when the call returns. Its collections stay; each has a `clear` of its own.
    #[inline]
    pub fn clear(&mut self) {
        self.cleared = true;
    }
}

/// What user code has emitted and nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Emitted<T> {
    pub(crate) main: Batch<T>,
    pub(crate) side: SideOutputs,
}

impl<T> Emitted<T> {
    /// Records in all outputs together.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.main.len() + self.side.gathered()
    }
}
