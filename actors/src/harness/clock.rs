//! A clock that only moves when it is told to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// A clock that begins at 0 and only moves when it is told to.
#[derive(Debug, Default)]
pub struct VirtualClock {
    nanos: AtomicU64,
}

impl VirtualClock {
    /// Lets so much time pass.
    pub fn advance(&self, by: Duration) {
        self.nanos.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Goes to this moment, unless it has passed.
    pub(crate) fn advance_to(&self, nanos: u64) {
        self.nanos.fetch_max(nanos, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn wall_ms(&self) -> i64 {
        (self.nanos() / 1_000_000) as i64
    }

    fn nanos(&self) -> u64 {
        self.nanos.load(Ordering::Relaxed)
    }
}
