//! What an actor does that only receives: records arrive by key, and what is fused behind takes them as they are.

#[cfg(test)]
mod tests;

use watershed_state::{Data, SliceProgress};

use crate::batch::{Batch, Flow};
use crate::chain::{Push, Tee};
use crate::error::Failure;
use crate::inbox::ValveChange;
use crate::message::{Signal, Status};
use crate::task::operator::{Logic, Tick};
use crate::task::process::{restore_chain, small_section};
use crate::task::{Env, Restored, SnapshotItem};

/// Hands batches on without touching them.
#[derive(Debug)]
pub struct RelayLogic<T> {
    outlet: Tee<T>,
}

impl<T: Data> RelayLogic<T> {
    /// Sends everything to `outlet`.
    ///
    /// # Errors
    /// What a snapshot holds for the chain and cannot be decoded.
    pub fn restore(env: &Env, outlet: Tee<T>, restored: &Restored) -> Result<Self, Failure> {
        let mut relay = Self { outlet };
        restore_chain(restored, &env.instance, |saved| relay.outlet.load(&mut saved.iter().copied()))?;
        Ok(relay)
    }
}

impl<T: Data> Logic for RelayLogic<T> {
    type In = T;

    fn run(&mut self, batch: &mut Batch<T>) -> Result<Flow, Failure> {
        // Keys end here.
        batch.hashes.clear();
        Ok(self.outlet.batch(batch))
    }

    fn resume(&mut self) -> Result<Flow, Failure> {
        Ok(self.outlet.resume())
    }

    fn interrupted(&self) -> bool {
        self.outlet.interrupted()
    }

    fn change(&mut self, change: ValveChange) -> Result<Flow, Failure> {
        if let Some(status) = change.status.filter(|status| *status != Status::Finished) {
            self.outlet.signal(Signal::Status(status));
        }
        if let Some(at) = change.watermark {
            self.outlet.signal(Signal::Watermark(at));
        }
        Ok(Flow::Continue)
    }

    fn end(&mut self) {
        self.outlet.signal(Signal::End);
    }

    fn barrier(&mut self, checkpoint: u64) -> Result<Vec<SnapshotItem>, Failure> {
        self.outlet.signal(Signal::Barrier(checkpoint));
        let mut chain = Vec::new();
        self.outlet.save(&mut chain);
        Ok(vec![small_section(watershed_state::SectionKind::ChainState, &chain)?])
    }

    fn snapshot_slice(&mut self) -> Result<(Vec<SnapshotItem>, SliceProgress), String> {
        Ok((Vec::new(), SliceProgress::Done))
    }

    fn abort_snapshot(&mut self) {}

    fn complete(&mut self, _checkpoint: u64) {}

    fn tick(&mut self, now_nanos: u64, starved: bool) -> Result<Tick, Failure> {
        Ok(Tick { flow: Flow::Continue, again_nanos: self.outlet.tick(now_nanos, starved) })
    }
}
