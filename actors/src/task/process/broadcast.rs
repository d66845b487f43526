//! What an actor with a [`BroadcastProcess`] does with its input: records of a key go the way of any process, broadcast
//! records change the replica of the instance.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use watershed_state::bug::{self, Bug};
use watershed_state::{CodecError, Redistribution, SavedState, SliceProgress};

use crate::batch::{Batch, Flow};
use crate::chain::Tee;
use crate::error::{UserError, chain_of};
use crate::failure::{Blame, Failure};
use crate::inbox::ValveChange;
use crate::operator_state::OperatorStates;
use crate::process::{BroadcastContext, BroadcastInput, BroadcastProcess, Connected, SideOutputs};
use crate::query::{QueryError, QueryKey, Reading};
use crate::restored::Restored;
use crate::snapshot::SnapshotItem;
use crate::supervision::{DeadLetter, Evidence, Place, Replay, Stage};
use crate::task::operator::{Logic, Tick};
use crate::task::process::parked::Waiting;
use crate::task::process::records::{Attempted, attempt_of};
use crate::task::process::{EMIT_RECORDS, ProcessLogic, Store};
use crate::task::{Env, Exhibit, Verdict};

/// Runs a [`BroadcastProcess`] over state per key or per instance, and a replica of what is shared.
pub struct BroadcastLogic<B: BroadcastProcess, S: Store<Connected<B>>> {
    inner: ProcessLogic<Connected<B>, S>,
    /// The replica, and what else was restored.
    states: OperatorStates,
}

type InputOf<B> = BroadcastInput<<B as BroadcastProcess>::In, <B as BroadcastProcess>::Broadcast>;

impl<B: BroadcastProcess, S: Store<Connected<B>>> std::fmt::Debug for BroadcastLogic<B, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BroadcastLogic").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<B: BroadcastProcess, S: Store<Connected<B>>> BroadcastLogic<B, S> {
    /// An instance that goes on from a snapshot and sends what it emits to `outlet` and `sides`, with the watermark to
    /// begin with.
    ///
    /// # Errors
    /// What could not be decoded, or cannot be divided.
    pub fn restore(
        env: Env,
        process: Arc<B>,
        store: S,
        (outlet, sides): (Tee<B::Out>, SideOutputs),
        restored: &Restored,
    ) -> Result<(Self, i64), Failure> {
        let states = OperatorStates::restore(restored, &env.instance, env.instance.parallelism);
        let states = states.map_err(|error| Failure::state(chain_of(&error)))?;
        let shared = states
            .open(SavedState::REPLICA, Redistribution::Broadcast)
            .map_err(|error| Failure::user(&error))?;
        let connected = Arc::new(Connected::new(process, shared));
        let mut inner = ProcessLogic::new(env, connected, store, outlet, sides);
        let watermark = inner.restore(restored)?;
        // Whoever it was that such a record made fail: no replica takes it.
        inner.care.adopt(restored, |entry| Self::is_broadcast(&entry.evidence))?;
        Ok((Self { inner, states }, watermark))
    }

    /// Takes a record of either input.
    fn take(&mut self, input: InputOf<B>, at: i64, hash: u64) -> Result<Flow, Failure> {
        let exhibit = self.inner.care.arrival(Stage::Process, at);
        // Where somebody is under suspicion all that comes of a record is out before the next one.
        let watched = self.inner.care.is_active();
        if matches!(input, BroadcastInput::Broadcast(_)) {
            self.attempt(&exhibit, input)?;
        } else {
            let hash = self.inner.store.hash(hash);
            if self.inner.parked.contains(hash) {
                self.inner.park(hash, Waiting::Record { record: input, at })?;
                return Ok(Flow::Continue);
            }
            self.inner.attempt(exhibit, hash, Attempted::Record(input))?;
        }
        if (watched || self.inner.emitted.len() >= EMIT_RECORDS) && self.inner.flush()? == Flow::Blocked {
            return Ok(Flow::Blocked);
        }
        self.inner.care.done();
        Ok(Flow::Continue)
    }

    /// Gives a broadcast record to user code, unless it is on the skip list. One that ends in an error is taken back
    /// and left out if the policy says so.
    fn attempt(&mut self, exhibit: &Exhibit, input: InputOf<B>) -> Result<(), Failure> {
        if self.inner.care.is_active()
            && let Verdict::LeaveOut(entry) = self.inner.care.examine(exhibit.clone(), &input)
        {
            return self.inner.leave_out_listed(*entry, 0);
        }
        let kept = self.inner.care.keeps(Stage::Process).then(|| input.clone());
        let BroadcastInput::Broadcast(record) = input else { return Ok(()) };
        match (self.call(record, exhibit.timestamp, kept.is_some()), kept) {
            (Ok(()), _) => Ok(()),
            (Err(error), None) => Err(Failure::user(&error)),
            (Err(error), Some(input)) => {
                let attempt = attempt_of(&error)?;
                self.inner.leave_out(exhibit.evidence(&input), attempt, 0)
            }
        }
    }

    /// Calls user code. After an error everything is as it was before, if `keeps` says so.
    fn call(&mut self, record: B::Broadcast, timestamp: i64, keeps: bool) -> Result<(), UserError> {
        let ProcessLogic { process, emitted, env, watermark, .. } = &mut self.inner;
        let keeps_shared = keeps && !env.oversight.policy.errors_before_writes;
        let sent = emitted.main.len();
        emitted.side.begin_record();
        let (instance, clock) = (&env.instance, &*env.clock);
        let mut context =
            BroadcastContext { instance, timestamp, watermark: *watermark, clock, emitted: &mut *emitted };
        let done = process.with_shared(|process, shared| {
            let before = keeps_shared.then(|| shared.clone());
            let done = process.on_broadcast(record, shared, &mut context);
            if done.is_err()
                && let Some(before) = before
                && !bug::is(Bug::ErrorNotTakenBack)
            {
                *shared = before;
            }
            done
        });
        if done.is_err() && keeps {
            emitted.main.truncate(sent);
            emitted.side.take_back();
        }
        done
    }

    /// Whether something was a broadcast record.
    fn is_broadcast(evidence: &Evidence) -> bool {
        evidence.place == Place::Input
            && evidence.key_hash.is_none()
            && matches!(evidence.record::<InputOf<B>>(), Ok(BroadcastInput::Broadcast(_)))
    }
}

impl<B: BroadcastProcess, S: Store<Connected<B>>> Logic for BroadcastLogic<B, S> {
    type In = InputOf<B>;

    fn run(&mut self, batch: &mut Batch<InputOf<B>>) -> Result<Flow, Failure> {
        // A channel carries records of one input only, as a rule.
        if !batch.values.iter().any(|input| matches!(input, BroadcastInput::Broadcast(_))) {
            return self.inner.run(batch);
        }
        let mut failed = None;
        let flow = batch.drain_while(|input, at, hash| {
            self.take(input, at, hash).unwrap_or_else(|failure| {
                failed = Some(failure);
                Flow::Blocked
            })
        });
        match failed {
            Some(failure) => Err(failure),
            None if flow == Flow::Continue => self.inner.flush(),
            None => Ok(flow),
        }
    }

    fn read_state(&self, key: &QueryKey) -> Result<Reading, QueryError> {
        self.inner.read_state(key)
    }

    fn comes_on(&mut self, channel: Option<u32>) {
        self.inner.comes_on(channel);
    }

    fn resume(&mut self) -> Result<Flow, Failure> {
        self.inner.resume()
    }

    fn interrupted(&self) -> bool {
        self.inner.interrupted()
    }

    fn is_paused(&self) -> bool {
        self.inner.is_paused()
    }

    fn lets_barriers_in(&self) -> bool {
        self.inner.lets_barriers_in()
    }

    fn change(&mut self, change: ValveChange) -> Result<Flow, Failure> {
        self.inner.change(change)
    }

    fn end(&mut self) {
        self.inner.end();
    }

    fn barrier(&mut self, checkpoint: u64) -> Result<Vec<SnapshotItem>, Failure> {
        let mut items = self.inner.barrier(checkpoint)?;
        items.extend(self.states.save());
        Ok(items)
    }

    fn snapshot_slice(&mut self) -> Result<(Vec<SnapshotItem>, SliceProgress), CodecError> {
        self.inner.snapshot_slice()
    }

    fn abort_snapshot(&mut self) {
        self.inner.abort_snapshot();
    }

    fn complete(&mut self, checkpoint: u64) {
        self.inner.complete(checkpoint);
    }

    fn save_all(&mut self) {
        self.inner.save_all();
    }

    fn tick(&mut self, now_nanos: u64, starved: bool) -> Result<Tick, Failure> {
        self.inner.tick(now_nanos, starved)
    }

    fn key_of(&self, input: &InputOf<B>) -> Option<String> {
        match input {
            BroadcastInput::Record(_) => self.inner.key_of(input),
            BroadcastInput::Broadcast(_) => None,
        }
    }

    fn current_key(&self) -> Option<String> {
        self.inner.current_key()
    }

    fn blame(&self, failure: &Failure) -> Option<Blame> {
        self.inner.blame(failure)
    }

    fn has_errand(&self) -> bool {
        self.inner.has_errand()
    }

    fn run_errand(&mut self) -> Result<Flow, Failure> {
        let ProcessLogic { care, store, env, errands, .. } = &mut self.inner;
        let owns = |letter: &DeadLetter| store.owns(letter.evidence.key_hash, letter.instance, &env.instance);
        errands.replays.extend(care.take_replays(owns));
        let is_refused = |replay: &Replay| !replay.discarded && Self::is_broadcast(&replay.letter.evidence);
        if let Some(replay) = errands.replays.next_if(care, is_refused) {
            let error = "it was broadcast, and a change has to come to all instances: send it again through its stream, and \
                         discard the letter";
            care.cannot_replay(&replay.letter.id, &error.into());
            return self.inner.resume();
        }
        self.inner.next_errand()
    }
}
