//! What an instance tells of itself while it works: plain atomics that it alone writes, a few per step or batch and
//! none per record, and that anybody may read at any time.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use crate::clock::Clock;

/// Where the time of an instance goes.
///
/// Totals since the clock began; who wants a share of the last seconds looks twice and takes the difference. So any
/// number of readers can look, each at its own pace.
#[derive(Debug, Default)]
pub struct Meter {
    /// The [`Activity`] that the time since the last change belongs to.
    activity: AtomicU8,
    /// Nanoseconds of each activity up to the last change. Together they are the time of that change, so that it need
    /// not be kept, and nobody can read it torn from the totals.
    nanos: [AtomicU64; 4],
}

/// What an instance spends its time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// It is not there: not started yet, failed, stopped.
    Down,
    /// It works, or waits for its turn on its thread.
    Busy,
    /// It waits for input.
    Idle,
    /// It waits for room in an output.
    Blocked,
}

/// What a [`Meter`] showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Nanoseconds of [`Activity::Busy`].
    pub busy_nanos: u64,
    /// Nanoseconds of [`Activity::Idle`].
    pub idle_nanos: u64,
    /// Nanoseconds of [`Activity::Blocked`].
    pub blocked_nanos: u64,
}

impl Meter {
    /// What is done from now on. Costs no look at the clock if it is what was done before.
    #[inline]
    pub fn change(&self, activity: Activity, clock: &dyn Clock) {
        if self.activity.load(Ordering::Relaxed) != activity as u8 {
            self.settle(activity, clock.nanos());
        }
    }

    fn settle(&self, activity: Activity, now: u64) {
        let before = usize::from(self.activity.load(Ordering::Relaxed));
        let rest = now.saturating_sub(self.settled());
        if let Some(nanos) = self.nanos.get(before) {
            add(nanos, rest);
        }
        self.activity.store(activity as u8, Ordering::Release);
    }

    /// The time of the last change.
    fn settled(&self) -> u64 {
        self.nanos.iter().map(|nanos| nanos.load(Ordering::Relaxed)).sum()
    }

    /// The totals, what has not been settled included.
    pub fn read(&self, now_nanos: u64) -> Times {
        let [_, busy_nanos, idle_nanos, blocked_nanos] = self.totals(now_nanos);
        Times { busy_nanos, idle_nanos, blocked_nanos }
    }

    fn totals(&self, now_nanos: u64) -> [u64; 4] {
        // The activity first: if it changes right after, its total has grown by what the rest is short of.
        let activity = usize::from(self.activity.load(Ordering::Acquire));
        let mut totals = [0, 1, 2, 3].map(|index: usize| self.nanos[index].load(Ordering::Relaxed));
        let rest = now_nanos.saturating_sub(totals.iter().sum());
        if let Some(total) = totals.get_mut(activity) {
            *total += rest;
        }
        totals
    }

    /// One that goes on from here, for the next attempt of the same instance: that of the last one may still be written
    /// to, by a thread that is stuck.
    pub(super) fn carry_on(&self, now_nanos: u64) -> Self {
        Self {
            activity: AtomicU8::new(Activity::Down as u8),
            nanos: self.totals(now_nanos).map(AtomicU64::new),
        }
    }
}

/// What an instance has sent on.
#[derive(Debug, Default)]
pub struct Sent {
    /// Records sent to other actors; one that goes to two of them counts twice.
    pub records: AtomicU64,
    /// Their size in memory, without what they point to: the text of a `String` is not in it.
    pub bytes: AtomicU64,
}

impl Sent {
    pub(crate) fn add<T>(&self, records: usize) {
        add(&self.records, records as u64);
        add(&self.bytes, (records * size_of::<T>()) as u64);
    }

    pub(super) fn carry_on(&self) -> Self {
        Self { records: copy(&self.records), bytes: copy(&self.bytes) }
    }
}

/// How far event time has come.
#[derive(Debug)]
pub struct WatermarkGauge(AtomicI64);

impl Default for WatermarkGauge {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl WatermarkGauge {
    pub(crate) fn set(&self, at: i64) {
        self.0.store(at, Ordering::Relaxed);
    }

    pub(crate) fn raise(&self, at: i64) {
        if self.0.load(Ordering::Relaxed) < at {
            self.set(at);
        }
    }

    /// The watermark, if there is one.
    pub fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at != i64::MIN)
    }
}

/// Adds to a counter of which this thread is the one writer: no need for a locked instruction.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// A counter that begins where another one is.
pub(super) fn copy(counter: &AtomicU64) -> AtomicU64 {
    AtomicU64::new(counter.load(Ordering::Relaxed))
}
