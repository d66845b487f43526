//! An operator and what comes after it, as one type.

use crate::batch::Flow;
use crate::chain::{FusedWatermarks, Operation, Push};
use crate::error::UserResult;
use crate::message::Signal;
use crate::supervision::Place;

/// An operator followed by the rest of its chain.
#[derive(Debug)]
pub struct Fused<O, N> {
    operation: O,
    next: N,
}

impl<O, N> Fused<O, N> {
    /// Puts `operation` before `next`.
    pub fn new(operation: O, next: N) -> Self {
        Self { operation, next }
    }
}

impl<T, O: Operation<T>, N: Push<O::Out>> Push<T> for Fused<O, N> {
    #[inline]
    fn push(&mut self, value: T, at: i64) -> Flow {
        self.operation.apply(value, at, &mut self.next)
    }

    fn resume(&mut self) -> Flow {
        match self.next.resume() {
            Flow::Continue => self.operation.resume(&mut self.next),
            Flow::Blocked => Flow::Blocked,
        }
    }

    fn interrupted(&self) -> bool {
        self.operation.interrupted() || self.next.interrupted()
    }

    fn signal(&mut self, signal: Signal) {
        self.operation.signal(signal, &mut self.next);
    }

    fn tick(&mut self, now_nanos: u64, starved: bool) -> u64 {
        let own = self.operation.tick(now_nanos, starved, &mut self.next);
        own.min(self.next.tick(now_nanos, starved))
    }

    fn save(&self, saved: &mut FusedWatermarks) {
        self.operation.save(saved);
        self.next.save(saved);
    }

    fn load(&mut self, saved: &mut FusedWatermarks) {
        self.operation.load(saved);
        self.next.load(saved);
    }

    fn replay(&mut self, place: &Place, record: &[u8], at: i64) -> Option<UserResult<Flow>> {
        match self.operation.replay(place, record) {
            Some(record) => Some(record.map(|record| self.push(record, at))),
            None => self.next.replay(place, record, at),
        }
    }
}
