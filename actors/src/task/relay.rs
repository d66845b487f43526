//! What an actor does that only receives: records arrive by key, and what is fused behind takes them as they are.

#[cfg(test)]
mod tests;

use watershed_state::{CodecError, Data, SliceProgress};

use crate::batch::{Batch, Flow};
use crate::chain::{FusedWatermarks, Push, Tee};
use crate::failure::{Blame, Failure};
use crate::inbox::ValveChange;
use crate::message::{Signal, Status};
use crate::process::SideOutputs;
use crate::query::{QueryError, QueryKey, Reading};
use crate::restored::Restored;
use crate::snapshot::SnapshotItem;
use crate::supervision::Stage;
use crate::task::operator::{Logic, Tick};
use crate::task::{Aside, Env, replay_into};

/// Hands batches on without touching them.
#[derive(Debug)]
pub struct RelayLogic<T> {
    outlet: Tee<T>,
    aside: Aside,
}

impl<T: Data> RelayLogic<T> {
    /// Sends everything to `outlet`.
    ///
    /// # Errors
    /// What a snapshot holds for the chain and cannot be decoded.
    pub fn restore(
        env: &Env,
        outlet: Tee<T>,
        sides: SideOutputs,
        restored: &Restored,
    ) -> Result<Self, Failure> {
        let mut relay = Self { outlet, aside: Aside::restore(env, sides, restored)? };
        let mut watermarks = FusedWatermarks::restore(restored, &env.instance)?;
        relay.outlet.load(&mut watermarks);
        relay.aside.load(&mut watermarks);
        Ok(relay)
    }

    /// Each record with all that comes of it before the next one.
    fn run_one_by_one(&mut self, batch: &mut Batch<T>) -> Result<Flow, Failure> {
        let Self { outlet, aside } = self;
        let mut failed = None;
        let flow = batch.drain_while(|record, at, _| {
            let exhibit = aside.care.arrival(Stage::Process, at);
            let done = aside.admits(exhibit, &record).and_then(|admitted| {
                let flow = if admitted { outlet.push(record, at) } else { Flow::Continue };
                Ok(flow.and(aside.flush(None)?))
            });
            match done {
                Ok(Flow::Continue) => {
                    aside.care.done();
                    Flow::Continue
                }
                Ok(Flow::Blocked) => Flow::Blocked,
                Err(failure) => {
                    failed = Some(failure);
                    Flow::Blocked
                }
            }
        });
        failed.map_or(Ok(flow), Err)
    }
}

impl<T: Data> RelayLogic<T> {
    fn signal(&mut self, signal: Signal) {
        self.outlet.signal(signal);
        self.aside.signal(signal);
    }
}

impl<T: Data> Logic for RelayLogic<T> {
    type In = T;

    fn run(&mut self, batch: &mut Batch<T>) -> Result<Flow, Failure> {
        // Keys end here.
        batch.hashes.clear();
        if self.aside.care.is_active() {
            return self.run_one_by_one(batch);
        }
        let flow = self.outlet.batch(batch);
        Ok(flow.and(self.aside.flush(None)?))
    }

    fn read_state(&self, _key: &QueryKey) -> Result<Reading, QueryError> {
        Err(QueryError::NoState)
    }

    fn comes_on(&mut self, channel: Option<u32>) {
        self.aside.care.comes_on(channel);
    }

    fn resume(&mut self) -> Result<Flow, Failure> {
        let mut flow = self.outlet.resume().and(self.aside.resume());
        flow = flow.and(self.aside.flush(None)?);
        if flow == Flow::Continue {
            self.aside.care.done();
        }
        Ok(flow)
    }

    fn interrupted(&self) -> bool {
        self.outlet.interrupted() || self.aside.interrupted()
    }

    fn change(&mut self, change: ValveChange) -> Result<Flow, Failure> {
        if let Some(status) = change.status.filter(|status| *status != Status::Finished) {
            self.signal(Signal::Status(status));
        }
        if let Some(at) = change.watermark {
            self.signal(Signal::Watermark(at));
        }
        Ok(Flow::Continue)
    }

    fn end(&mut self) {
        self.signal(Signal::End);
    }

    fn barrier(&mut self, checkpoint: u64) -> Result<Vec<SnapshotItem>, Failure> {
        self.outlet.signal(Signal::Barrier(checkpoint));
        let mut watermarks = FusedWatermarks::default();
        self.outlet.save(&mut watermarks);
        self.aside.save(&mut watermarks);
        let mut items: Vec<SnapshotItem> = watermarks.section().into_iter().collect();
        items.extend(self.aside.barrier(checkpoint));
        Ok(items)
    }

    fn snapshot_slice(&mut self) -> Result<(Vec<SnapshotItem>, SliceProgress), CodecError> {
        Ok((Vec::new(), SliceProgress::Done))
    }

    fn abort_snapshot(&mut self) {}

    // It always saves everything.
    fn save_all(&mut self) {}

    fn complete(&mut self, checkpoint: u64) {
        self.aside.care.complete(checkpoint);
    }

    fn tick(&mut self, now_nanos: u64, starved: bool) -> Result<Tick, Failure> {
        let again_nanos = self.outlet.tick(now_nanos, starved).min(self.aside.tick(now_nanos, starved));
        Ok(Tick { flow: Flow::Continue, again_nanos })
    }

    fn blame(&self, failure: &Failure) -> Option<Blame> {
        self.aside.care.blame(Some(Stage::Process), failure)
    }

    fn has_errand(&self) -> bool {
        self.aside.has_errand()
    }

    fn run_errand(&mut self) -> Result<Flow, Failure> {
        if let Some(replay) = self.aside.next_replay() {
            let outlet = &mut self.outlet;
            self.aside.replay(&replay, Stage::Process, |aside, exhibit| {
                replay_into(aside, outlet, exhibit, &replay.letter.evidence)
            })?;
        }
        self.resume()
    }
}
