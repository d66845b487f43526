//! Edges: the way out of an actor, into the mailboxes of the next one.

mod route;
mod sender;
#[cfg(test)]
mod tests;

pub use route::{Broadcast, ByKey, Forward, Rebalance, Route};
pub use sender::{BatchLimits, Port, Sender};

use crate::batch::{Batch, Flow};
use crate::chain::{FusedWatermarks, Push};
use crate::message::Signal;

/// All channels from one instance to the instances of one operator, and which record takes which.
#[derive(Debug)]
pub struct Edge<T, R> {
    senders: Vec<Sender<T>>,
    route: R,
    linger_nanos: u64,
    /// When the oldest record that has not been sent came, as far as known.
    gathering_since: Option<u64>,
}

impl<T, R> Edge<T, R> {
    /// With a channel for each instance of the receiver.
    pub fn new(senders: Vec<Sender<T>>, route: R, limits: BatchLimits) -> Self {
        Self { senders, route, linger_nanos: limits.linger_nanos, gathering_since: None }
    }

    fn flow(&self) -> Flow {
        if self.senders.iter().all(|sender| sender.waiting.is_empty()) {
            Flow::Continue
        } else {
            Flow::Blocked
        }
    }
}

impl<T: Clone + Send, R: Route<T>> Push<T> for Edge<T, R> {
    #[inline]
    fn push(&mut self, value: T, at: i64) -> Flow {
        self.route.route(value, at, &mut self.senders)
    }

    fn batch(&mut self, batch: &mut Batch<T>) -> Flow {
        if self.flow() == Flow::Blocked {
            return Flow::Blocked;
        }
        self.route.batch(batch, &mut self.senders)
    }

    fn resume(&mut self) -> Flow {
        for sender in &mut self.senders {
            sender.pump();
        }
        self.flow()
    }

    fn interrupted(&self) -> bool {
        false
    }

    fn signal(&mut self, signal: Signal) {
        for sender in &mut self.senders {
            sender.signal(signal);
        }
    }

    fn tick(&mut self, now_nanos: u64, starved: bool) -> u64 {
        for sender in &mut self.senders {
            sender.pump();
        }
        if self.senders.iter().all(|sender| sender.building.is_empty()) {
            self.gathering_since = None;
            return u64::MAX;
        }
        let since = *self.gathering_since.get_or_insert(now_nanos);
        let deadline = since.saturating_add(self.linger_nanos);
        if !starved && now_nanos < deadline {
            return deadline;
        }
        self.gathering_since = None;
        for sender in &mut self.senders {
            sender.close();
        }
        u64::MAX
    }

    fn save(&self, _saved: &mut FusedWatermarks) {}

    fn load(&mut self, _saved: &mut FusedWatermarks) {}
}
