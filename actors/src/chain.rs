//! Chains: the record-at-a-time operators that are fused into the actor before them.
//!
//! A chain is a tower of [`Fused`] operators that ends in an edge to other actors or in a closure. It is one type,
//! so the compiler turns it into one loop over a batch; it is boxed where the actor hands it a batch.

mod event_time;
mod fused;
mod operation;
mod tee;
#[cfg(test)]
mod tests;
mod watermarks;

pub use event_time::{EventTime, FarAhead, Lateness, Timing, WatermarkGenerator, WatermarkStrategy};
pub use fused::Fused;
pub use operation::{
    Filter, FilterMap, FlatMap, ForEach, Inspect, Map, Operation, TryFilterMap, TryFlatMap, TryMap,
};
pub use tee::Tee;
pub use watermarks::{FusedWatermarks, SavedWatermarks};

use crate::batch::{Batch, Flow};
use crate::error::UserResult;
use crate::message::Signal;
use crate::supervision::Place;

/// Takes records and what stands between them.
///
/// Records are given one by one or a batch at a time. After [`Flow::Blocked`] nothing may be given until
/// [`Push::resume`] says [`Flow::Continue`]; signals are always taken, each output queues them in order.
pub trait Push<T>: Send {
    /// Takes a record with its event time, always; the answer says whether more may follow.
    fn push(&mut self, value: T, at: i64) -> Flow;

    /// Takes records from the front of `batch` until blocked; what was not taken stays in it.
    #[inline]
    fn batch(&mut self, batch: &mut Batch<T>) -> Flow {
        batch.drain_while(|value, at, _| self.push(value, at))
    }

    /// Goes on with what was interrupted.
    fn resume(&mut self) -> Flow;

    /// Whether a record is only partly through, so that no cut may be made here.
    fn interrupted(&self) -> bool;

    /// Passes a signal on, behind all records given so far.
    fn signal(&mut self, signal: Signal);

    /// Tells the time: sends what has waited long enough, or everything if the input has run `starved`. Returns when to
    /// call again at the latest, in clock nanoseconds, `u64::MAX` for never.
    fn tick(&mut self, now_nanos: u64, starved: bool) -> u64;

    /// Notes how far event time has come in each fused operator that has to know it after a restart.
    fn save(&self, saved: &mut FusedWatermarks);

    /// Takes back what [`Push::save`] noted.
    fn load(&mut self, saved: &mut FusedWatermarks);

    /// Gives the closure in this place a record that it has rejected before. `None` if it is not in this chain.
    fn replay(&mut self, _place: &Place, _record: &[u8], _at: i64) -> Option<UserResult<Flow>> {
        None
    }
}

impl<T> Push<T> for Box<dyn Push<T>> {
    fn push(&mut self, value: T, at: i64) -> Flow {
        (**self).push(value, at)
    }
    fn batch(&mut self, batch: &mut Batch<T>) -> Flow {
        (**self).batch(batch)
    }
    fn resume(&mut self) -> Flow {
        (**self).resume()
    }
    fn interrupted(&self) -> bool {
        (**self).interrupted()
    }
    fn signal(&mut self, signal: Signal) {
        (**self).signal(signal);
    }
    fn tick(&mut self, now_nanos: u64, starved: bool) -> u64 {
        (**self).tick(now_nanos, starved)
    }
    fn save(&self, saved: &mut FusedWatermarks) {
        (**self).save(saved);
    }
    fn load(&mut self, saved: &mut FusedWatermarks) {
        (**self).load(saved);
    }
    fn replay(&mut self, place: &Place, record: &[u8], at: i64) -> Option<UserResult<Flow>> {
        (**self).replay(place, record, at)
    }
}
