//! The clock of a simulation.

use std::sync::atomic::{AtomicU64, Ordering};

use watershed_actors::Clock;

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    nanos: AtomicU64,
}

/// Where virtual time begins, in milliseconds since the Unix epoch: a round number in 2020.
const EPOCH_MS: i64 = 1_600_000_000_000;

impl VirtualClock {
    pub(crate) fn starting_at(nanos: u64) -> Self {
        Self { nanos: AtomicU64::new(nanos) }
    }

    pub(crate) fn advance(&self, nanos: u64) {
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn advance_to(&self, nanos: u64) {
        self.nanos.fetch_max(nanos, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn wall_ms(&self) -> i64 {
        EPOCH_MS + (self.nanos() / 1_000_000) as i64
    }

    fn nanos(&self) -> u64 {
        self.nanos.load(Ordering::Relaxed)
    }
}
