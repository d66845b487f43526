//! Event time: where timestamps and watermarks come from.

mod ahead;

pub use ahead::FarAhead;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use watershed_state::Data;
use watershed_state::bug::{self, Bug};

use crate::batch::Flow;
use crate::chain::event_time::ahead::Bound;
use crate::chain::{FusedWatermarks, Operation, Push};
use crate::clock::{Clock, MAX_WATERMARK, nanos_of};
use crate::error::UserResult;
use crate::message::{Signal, Status};
use crate::supervision::{Place, Rejecter};

/// Says how far event time has come, from the event times it has seen.
pub trait WatermarkGenerator: Send + 'static {
    /// Sees the event time of a record, in milliseconds, unless it is too far ahead of processing time ([`FarAhead`]).
    fn on_event(&mut self, at: i64);

    /// The time up to which all records are believed to have come, `i64::MIN` if nothing is known.
    fn watermark(&self) -> i64;
}

/// Makes a [`WatermarkGenerator`] for each instance.
pub trait WatermarkStrategy: Send + Sync + 'static {
    /// What it makes.
    type Generator: WatermarkGenerator;

    /// A fresh generator.
    fn generator(&self) -> Self::Generator;

    /// After how long without a record an instance stops holding back the watermark of the others.
    fn idle_after(&self) -> Option<Duration>;

    /// Whether a watermark goes behind each record that moves it, rather than now and then. See
    /// [`Lateness::per_record`].
    fn per_record(&self) -> bool {
        false
    }

    /// What becomes of records whose event time is far ahead of processing time.
    fn far_ahead(&self) -> FarAhead {
        FarAhead::default()
    }

    /// Under which name checkpoints keep the watermark: see [`Lateness::named`].
    fn name(&self) -> &str {
        EVENT_TIME
    }
}

/// The name of an `event_time` that was given none.
const EVENT_TIME: &str = "event_time";

/// How much out of order records may be.
#[derive(Debug, Clone)]
pub struct Lateness {
    bound_ms: i64,
    idle_after: Option<Duration>,
    per_record: bool,
    far_ahead: FarAhead,
    name: Cow<'static, str>,
}

impl Lateness {
    /// A record may come after another whose event time is later by up to this. With `Duration::MAX` event time stands
    /// still until the input ends.
    pub fn up_to(lateness: Duration) -> Self {
        Self {
            bound_ms: i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX),
            idle_after: None,
            per_record: false,
            far_ahead: FarAhead::default(),
            name: Cow::Borrowed(EVENT_TIME),
        }
    }

    /// Event times never decrease.
    pub fn none() -> Self {
        Self::up_to(Duration::ZERO)
    }

    /// After so long without a record, an instance no longer holds back the watermark of the others (never; so it is
    /// with `Duration::MAX`).
    pub fn idle_after(mut self, idle: Duration) -> Self {
        self.idle_after = Some(idle);
        self
    }

    /// Sends a watermark behind each record that moves it. Else watermarks go out now and then
    /// (`Config::watermark_interval`) and when the input runs empty, so that it is a matter of wall time which records
    /// are late.
    ///
    /// With it, which records are late follows from the input alone, in each run and after each restart, if the actor
    /// that looks has one sender: the actor with this `event_time` has parallelism 1, reads one split or several one
    /// after the other, and nothing but fused closures lies between the two. With several senders the watermark is the
    /// least of theirs, so how far they are apart still counts: a record that is in time among those of its own sender
    /// is never late (unless the sender was idle), and one that is not may be in time.
    ///
    /// It costs throughput: a watermark closes the batch, so that where event times rise, records travel one by one,
    /// and each instance of the next actor gets a message for every one of them.
    pub fn per_record(mut self) -> Self {
        self.per_record = true;
        self
    }

    /// What becomes of records whose event time is far ahead of processing time (one that is more than a day ahead is
    /// rejected).
    pub fn far_ahead(mut self, far_ahead: FarAhead) -> Self {
        self.far_ahead = far_ahead;
        self
    }

    /// The name under which checkpoints keep the watermark (`event_time`). Each `event_time` that is fused into one
    /// actor needs a name of its own, so that each gets back its own watermark, also from a program that wires them in
    /// another order.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Cow::Owned(name.to_string());
        self
    }
}

impl WatermarkStrategy for Lateness {
    type Generator = BoundedLateness;

    fn generator(&self) -> BoundedLateness {
        BoundedLateness { lateness_ms: self.bound_ms, latest: i64::MIN }
    }

    fn idle_after(&self) -> Option<Duration> {
        self.idle_after
    }

    fn per_record(&self) -> bool {
        self.per_record
    }

    fn far_ahead(&self) -> FarAhead {
        self.far_ahead
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The generator of [`Lateness`]: the latest event time, less the lateness, less one.
#[derive(Debug)]
pub struct BoundedLateness {
    lateness_ms: i64,
    latest: i64,
}

impl WatermarkGenerator for BoundedLateness {
    #[inline]
    fn on_event(&mut self, at: i64) {
        self.latest = self.latest.max(at);
    }

    fn watermark(&self) -> i64 {
        // A record with exactly the latest time may still come, hence the one.
        self.latest.saturating_sub(self.lateness_ms).saturating_sub(1)
    }
}

/// Gives each record its event time and sends watermarks: now and then and when the input runs empty, or behind each
/// record.
#[derive(Debug)]
pub struct EventTime<F, G> {
    /// Under which its watermark is saved.
    name: String,
    time_of: Arc<F>,
    generator: G,
    /// Whether a watermark goes behind each record that moves it.
    per_record: bool,
    bound: Bound,
    /// Least time between two watermarks while records flow.
    interval_nanos: u64,
    idle_after_nanos: Option<u64>,
    /// The watermark sent last in this run.
    sent: i64,
    /// The watermark before a restart: those behind have to be told again, and must not fall behind it.
    restored: i64,
    /// When a watermark may be sent next.
    due_nanos: u64,
    /// When the last record was seen, or the input was last known to be held back.
    active_nanos: u64,
    /// A record came since the last tick.
    seen: bool,
    status: Status,
}

/// What event time needs beside its strategy.
#[derive(Debug, Default)]
pub struct Timing {
    /// How often to send watermarks.
    pub interval: Duration,
    /// Processing time. Without it event times may be as far ahead as they like.
    pub clock: Option<Arc<dyn Clock>>,
    /// What becomes of records whose event time is too far ahead.
    pub rejecter: Rejecter,
}

impl<F, G: WatermarkGenerator> EventTime<F, G> {
    /// With the closure that finds the time in milliseconds, and what says how far event time has come.
    pub fn new<W: WatermarkStrategy<Generator = G>>(time_of: Arc<F>, strategy: &W, timing: Timing) -> Self {
        let Timing { interval, clock, rejecter } = timing;
        let bound = Bound::new(strategy.far_ahead(), clock, rejecter);
        Self {
            name: strategy.name().to_string(),
            time_of,
            generator: strategy.generator(),
            per_record: strategy.per_record(),
            bound,
            interval_nanos: nanos_of(interval),
            idle_after_nanos: strategy.idle_after().map(nanos_of),
            sent: i64::MIN,
            restored: i64::MIN,
            due_nanos: 0,
            active_nanos: 0,
            seen: true,
            status: Status::Active,
        }
    }

    /// How far event time has come.
    fn watermark(&self) -> i64 {
        // That of the end is not for a record to say.
        self.generator.watermark().max(self.restored).min(MAX_WATERMARK - 1)
    }

    /// Sends the watermark if it has moved, and nothing of a record is still to come before it.
    fn follow<T>(&mut self, next: &mut impl Push<T>) {
        let watermark = self.watermark();
        if watermark > self.sent && !next.interrupted() {
            self.sent = watermark;
            next.signal(Signal::Watermark(watermark));
        }
    }

    fn set_status<T>(&mut self, status: Status, next: &mut impl Push<T>) {
        if self.status != status {
            self.status = status;
            next.signal(Signal::Status(status));
        }
    }
}

impl<T, F, G> Operation<T> for EventTime<F, G>
where
    T: Data,
    F: Fn(&T) -> i64 + Send + Sync,
    G: WatermarkGenerator,
{
    type Out = T;

    #[inline]
    fn apply<N: Push<T>>(&mut self, value: T, _at: i64, next: &mut N) -> Flow {
        let at = (self.time_of)(&value);
        self.seen = true;
        if !self.bound.allows(at) {
            let error = self.bound.warn(&value, at);
            return match self.bound.rejecter() {
                Some(rejecter) => rejecter.rejected(rejecter.keep(&value), at, error),
                None => next.push(value, at),
            };
        }
        self.generator.on_event(at);
        let flow = next.push(value, at);
        if self.per_record {
            self.follow(next);
        }
        flow
    }

    fn replay(&self, place: &Place, record: &[u8]) -> Option<UserResult<T>> {
        self.bound.rejecter().and_then(|rejecter| rejecter.replay(place, record))
    }

    fn resume<N: Push<T>>(&mut self, next: &mut N) -> Flow {
        if self.per_record && !bug::is(Bug::WatermarkOfInterruptedRecordLate) {
            self.follow(next);
        }
        Flow::Continue
    }

    fn signal<N: Push<T>>(&mut self, signal: Signal, next: &mut N) {
        match signal {
            // Watermarks are made here; from above only the one at the end counts. The last real one goes before it: it
            // is what a later start goes on from, and nothing may come after the end.
            Signal::Watermark(MAX_WATERMARK) => {
                let watermark = self.watermark();
                if watermark > self.sent {
                    self.sent = watermark;
                    next.signal(Signal::Watermark(watermark));
                }
                self.idle_after_nanos = None;
                next.signal(signal);
            }
            Signal::Watermark(_) => {}
            Signal::Status(status) => self.set_status(status, next),
            Signal::Barrier(_) | Signal::End => next.signal(signal),
        }
    }

    fn tick<N: Push<T>>(&mut self, now_nanos: u64, starved: bool, next: &mut N) -> u64 {
        if next.interrupted() {
            // A watermark must not overtake the rest of a record.
            return u64::MAX;
        }
        if self.seen {
            self.set_status(Status::Active, next);
        }
        if self.seen || !starved {
            // Held back is not idle.
            self.active_nanos = now_nanos;
        }
        self.seen = false;
        let watermark = self.watermark();
        let mut again = u64::MAX;
        if watermark > self.sent {
            if starved || now_nanos >= self.due_nanos {
                self.sent = watermark;
                self.due_nanos = now_nanos.saturating_add(self.interval_nanos);
                next.signal(Signal::Watermark(watermark));
            } else {
                again = self.due_nanos;
            }
        }
        match self.idle_after_nanos {
            Some(idle) if self.status == Status::Active => {
                let deadline = self.active_nanos.saturating_add(idle);
                if now_nanos >= deadline {
                    self.set_status(Status::Idle, next);
                    again
                } else {
                    again.min(deadline)
                }
            }
            _ => again,
        }
    }

    fn save(&self, saved: &mut FusedWatermarks) {
        saved.note(&self.name, self.sent.max(self.restored));
    }

    fn load(&mut self, saved: &mut FusedWatermarks) {
        if let Some(watermark) = saved.give(&self.name) {
            self.bound.warn_of_restored(watermark);
            self.restored = watermark;
        }
    }
}
