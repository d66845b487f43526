//! Event times that are ahead of the clock: how far they may be, as one that is wrong would make all later records
//! late.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::error::UserError;
use crate::supervision::Rejecter;

/// What becomes of a record whose event time is far ahead of processing time.
///
/// A watermark never goes back, not even with a restart. So one record of the year 9999 would make all records behind
/// it late for good. Event times of the past can't do harm, so data of any age can be read. In a simulation, whose
/// clock begins in 2020, every event time is taken as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FarAhead {
    /// A record that is further ahead than this is an error of the operator, as if the closure that tells its time had
    /// failed: the policy for [`Stage::Process`](crate::Stage::Process) says what becomes of it. It is left out with
    /// [`Directive::Quarantine`](crate::Directive::Quarantine) or [`Directive::Skip`](crate::Directive::Skip); else the
    /// operator fails.
    Reject(Duration),
    /// A record that is further ahead than this goes on with the time that it has, and event time does not follow it.
    /// Timers and windows for its time wait until event time gets there, or the input ends.
    PassOn(Duration),
    /// Event time follows all records.
    Allow,
}

impl Default for FarAhead {
    /// [`FarAhead::Reject`] what is more than a day ahead.
    fn default() -> Self {
        Self::Reject(Duration::from_hours(24))
    }
}

/// Holds event times against the clock.
#[derive(Debug)]
pub(super) struct Bound {
    far_ahead: FarAhead,
    clock: Option<Arc<dyn Clock>>,
    rejecter: Rejecter,
    /// What is known to be not too far ahead, in milliseconds: so the clock is read next to never.
    limit_ms: i64,
    /// When the next warning may be given, in clock nanoseconds, and what has happened since the last.
    warn_nanos: u64,
    unsaid: u64,
}

/// The least time between two warnings of an instance.
const WARN_NANOS: u64 = 60_000_000_000;
/// How much of a record is in a warning.
const SHOWN_CHARS: usize = 200;

impl Bound {
    pub(super) fn new(far_ahead: FarAhead, clock: Option<Arc<dyn Clock>>, rejecter: Rejecter) -> Self {
        let far_ahead = if clock.is_some() { far_ahead } else { FarAhead::Allow };
        let limit_ms = if far_ahead == FarAhead::Allow { i64::MAX } else { i64::MIN };
        Self { far_ahead, clock, rejecter, limit_ms, warn_nanos: 0, unsaid: 0 }
    }

    /// Whether event time may follow a record of this time.
    #[inline]
    pub(super) fn allows(&mut self, at: i64) -> bool {
        at <= self.limit_ms || self.allows_by_clock(at)
    }

    #[cold]
    fn allows_by_clock(&mut self, at: i64) -> bool {
        if let FarAhead::Reject(most) | FarAhead::PassOn(most) = self.far_ahead
            && let Some(clock) = &self.clock
        {
            let most_ms = i64::try_from(most.as_millis()).unwrap_or(i64::MAX);
            self.limit_ms = clock.wall_ms().saturating_add(most_ms);
        }
        at <= self.limit_ms
    }

    /// Says in the log that the watermark of a checkpoint is too far ahead.
    pub(super) fn warn_of_restored(&mut self, watermark: i64) {
        if self.allows(watermark) {
            return;
        }
        let now_ms = self.clock.as_ref().map_or(0, |clock| clock.wall_ms());
        let ahead = Duration::from_millis(watermark.saturating_sub(now_ms).unsigned_abs());
        tracing::warn!(
            watermark_ms = watermark,
            ahead = days(ahead),
            "a restored watermark is too far ahead of processing time: records up to it are late. Is the clock of this machine right? \
             `Config::reset_event_time` lets event time begin anew"
        );
    }

    /// What says what becomes of a record that is too far ahead; `None` if it goes on.
    pub(super) fn rejecter(&self) -> Option<&Rejecter> {
        matches!(self.far_ahead, FarAhead::Reject(_)).then_some(&self.rejecter)
    }

    /// Says in the log, now and then, that a record is too far ahead. Returns the error that it is.
    #[cold]
    pub(super) fn warn<T: Serialize>(&mut self, record: &T, at: i64) -> UserError {
        let (now_ms, now_nanos) =
            self.clock.as_ref().map_or((0, 0), |clock| (clock.wall_ms(), clock.nanos()));
        let most = match self.far_ahead {
            FarAhead::Reject(most) | FarAhead::PassOn(most) => most,
            FarAhead::Allow => Duration::MAX,
        };
        let ahead = Duration::from_millis(at.saturating_sub(now_ms).unsigned_abs());
        self.unsaid += 1;
        if now_nanos >= self.warn_nanos {
            let record: String =
                serde_json::to_string(record).unwrap_or_default().chars().take(SHOWN_CHARS).collect();
            tracing::warn!(
                ?record,
                event_time_ms = at,
                ahead = days(ahead),
                records = self.unsaid,
                "the event time of a record is too far ahead of processing time: event time does not follow it"
            );
            self.warn_nanos = now_nanos.saturating_add(WARN_NANOS);
            self.unsaid = 0;
        }
        format!(
            "the event time of a record, {at} ms since 1970, is {} ahead of processing time, and more than {} would make the records \
             behind it late: mend what tells the time (is it in milliseconds? is the clock of this machine right?), leave such records \
             out with `Supervision::quarantine`, or set another bound with `Lateness::far_ahead`",
            days(ahead),
            days(most)
        )
        .into()
    }
}

/// A time in the largest unit of which there is one.
fn days(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{} s", time.as_millis() as f64 / 1_000.0),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
