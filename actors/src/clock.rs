//! The only way to the time: a clock that the simulation can replace.
#![expect(clippy::disallowed_methods, reason = "this is the one place where the system's clocks are read")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Event time of a record that has none.
pub const NO_TIMESTAMP: i64 = i64::MIN;

/// The watermark that says that no record will follow.
pub const MAX_WATERMARK: i64 = i64::MAX;

/// Tells the time; every operator, source and coordinator asks it and nothing else.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Milliseconds since the Unix epoch: processing time as users see it.
    fn wall_ms(&self) -> i64;

    /// Nanoseconds since some fixed moment; never goes back.
    fn nanos(&self) -> u64;
}

/// A duration in nanoseconds, as clocks count them. One that is too long for that is `u64::MAX`, which is never: add it
/// to a time with `saturating_add`.
pub fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The clocks of the machine.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose nanoseconds count from now.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    }

    fn nanos(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}
