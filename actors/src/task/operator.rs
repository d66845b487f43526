//! The task of every operator that has inputs: alignment, snapshots and pace; what is done with a record is [`Logic`].

#[cfg(test)]
mod tests;

use watershed_state::{CodecError, Data, SliceProgress};

use crate::batch::{Batch, Flow};
use crate::error::chain_of;
use crate::failure::{Blame, Failure};
use crate::inbox::{Inbox, Input, ValveChange};
use crate::link::Permit;
use crate::message::Envelope;
use crate::panics::guard;
use crate::query::{QueryError, QueryKey, Reading};
use crate::snapshot::SnapshotItem;
use crate::task::pace::Pace;
use crate::task::{Control, Env, Step, Task, Upload};

/// What an operator does with records and with what stands between them.
pub trait Logic: Send {
    /// A record that comes in.
    type In: Data;

    /// Takes records from the front of the batch; leaves the rest when an output has no room.
    ///
    /// # Errors
    /// What user code returned.
    fn run(&mut self, batch: &mut Batch<Self::In>) -> Result<Flow, Failure>;

    /// The next batch is one of this input channel.
    fn comes_on(&mut self, channel: Option<u32>);

    /// Goes on with what was interrupted: outputs first, then timers.
    ///
    /// # Errors
    /// What user code returned.
    fn resume(&mut self) -> Result<Flow, Failure>;

    /// Whether a record or a firing of timers is only partly through.
    fn interrupted(&self) -> bool;

    /// The watermark or status of the inputs changed: fires timers, then passes it on.
    ///
    /// # Errors
    /// What user code returned.
    fn change(&mut self, change: ValveChange) -> Result<Flow, Failure>;

    /// All inputs have ended: passes it on.
    fn end(&mut self);

    /// The snapshot point: passes the barrier on behind everything emitted, and fixes what is to be written.
    ///
    /// # Errors
    /// What user code returned.
    fn barrier(&mut self, checkpoint: u64) -> Result<Vec<SnapshotItem>, Failure>;

    /// Writes some more of the state as it was at the barrier.
    ///
    /// # Errors
    /// What could not be encoded.
    fn snapshot_slice(&mut self) -> Result<(Vec<SnapshotItem>, SliceProgress), CodecError>;

    /// Gives a running snapshot up.
    fn abort_snapshot(&mut self);

    /// The checkpoint is complete.
    fn complete(&mut self, checkpoint: u64);

    /// The next snapshot has to hold everything: what it would add to is lost.
    fn save_all(&mut self);

    /// Tells the time: fires timers of processing time, unless a record is only partly through, and flushes what has
    /// waited long enough on channels that have room.
    ///
    /// # Errors
    /// What user code returned.
    fn tick(&mut self, now_nanos: u64, starved: bool) -> Result<Tick, Failure>;

    /// Whether it stopped by itself in the middle of long work and goes on in [`Logic::resume`] without waiting for
    /// room.
    fn is_paused(&self) -> bool {
        false
    }

    /// Whether it has paused where a barrier may come between, in work at the end of the input that may have no end.
    /// The snapshot then has what is left of that work; what is not in it yet is done when the input ends again.
    fn lets_barriers_in(&self) -> bool {
        false
    }

    /// See [`Task::current_key`].
    fn current_key(&self) -> Option<String> {
        None
    }

    /// See [`Task::blame`].
    fn blame(&self, failure: &Failure) -> Option<Blame>;

    /// Whether it has work that comes from outside of its inputs: replayed letters, records of a released key.
    fn has_errand(&self) -> bool;

    /// Does some of that work.
    ///
    /// # Errors
    /// What user code returned.
    fn run_errand(&mut self) -> Result<Flow, Failure>;

    /// What the state of a key is. Nothing changes by that.
    ///
    /// # Errors
    /// Why it does not say.
    fn read_state(&self, key: &QueryKey) -> Result<Reading, QueryError>;

    /// The key of a record, as JSON, for whoever looks at it; `None` without keys.
    fn key_of(&self, _record: &Self::In) -> Option<String> {
        None
    }
}

/// What became of a tick.
#[derive(Debug, Clone, Copy)]
pub struct Tick {
    /// Whether the outputs have room.
    pub flow: Flow,
    /// When to tick again at the latest, in clock nanoseconds; `u64::MAX` for never.
    pub again_nanos: u64,
}

/// An operator instance at work.
#[derive(Debug)]
pub struct OperatorTask<L: Logic> {
    env: Env,
    inbox: Inbox<L::In>,
    logic: L,
    started: bool,
    input: InputState,
    /// An output has no room; nothing is taken in until it has.
    blocked: bool,
    current: Option<Current<L::In>>,
    /// The snapshot that is being written in slices.
    snapshot: Option<Upload>,
    pace: Pace,
}

/// How far the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputState {
    Open,
    /// There is no more, and those behind are told when what the logic does at the end is done.
    EndWaits,
    /// There is no more, and nobody behind expects anything more.
    Ended,
}

/// The batch at hand.
#[derive(Debug)]
struct Current<T> {
    batch: Batch<T>,
    permit: Permit<T>,
    records: usize,
    since_nanos: u64,
}

impl<L: Logic> OperatorTask<L> {
    /// An instance with its inputs and what to do with them.
    pub fn new(env: Env, inbox: Inbox<L::In>, logic: L) -> Self {
        let pace = Pace::new(env.batch_records);
        env.counters.counts::<L::In>();
        env.counters.watermark.set(inbox.watermark());
        Self {
            env,
            inbox,
            logic,
            started: false,
            input: InputState::Open,
            blocked: false,
            current: None,
            snapshot: None,
            pace,
        }
    }

    /// Works off the batch at hand. Returns the time.
    fn run_current(&mut self) -> Result<u64, Failure> {
        let Some(current) = &mut self.current else { return Ok(self.env.clock.nanos()) };
        let flow = self.logic.run(&mut current.batch)?;
        self.blocked = flow == Flow::Blocked;
        let now = self.env.clock.nanos();
        if self.env.is_fenced() {
            // Code of the user's may have taken long, and the run be over: nothing of it counts any more.
            return Ok(now);
        }
        // A batch counts as done only when its last output has found room: until then its permit holds back the sender.
        if current.batch.is_empty()
            && !self.blocked
            && let Some(done) = self.current.take()
        {
            self.logic.comes_on(None);
            self.pace.observe(done.records, now.saturating_sub(done.since_nanos));
            self.env.counters.add(done.records);
            done.permit.advise(self.pace.records());
            done.permit.recycle(done.batch);
        }
        Ok(now)
    }

    /// Takes the next input. Returns whether there was one.
    fn take_input(&mut self, now: u64) -> Result<bool, Failure> {
        match self.inbox.pop()? {
            None => return Ok(false),
            Some(Input::Batch(batch, permit)) => {
                self.logic.comes_on(Some(self.inbox.popped()));
                if self.env.tap.is_open() {
                    let Env { tap, instance, clock, .. } = &self.env;
                    tap.show(&batch, instance, &**clock, |record| self.logic.key_of(record));
                }
                let records = batch.len();
                self.current = Some(Current { batch, permit, records, since_nanos: now });
            }
            Some(Input::Change(change)) => {
                self.env.counters.watermark.set(self.inbox.watermark());
                self.blocked = self.logic.change(change)? == Flow::Blocked;
            }
            Some(Input::Barrier(checkpoint)) => self.snapshot_point(checkpoint)?,
            Some(Input::End) => self.end(),
        }
        Ok(true)
    }

    fn end(&mut self) {
        self.input = InputState::Ended;
        self.logic.end();
    }

    /// The logic has paused in work that may have no end: takes a barrier that waits behind the end of the input, so
    /// that there are checkpoints meanwhile, and the job can be stopped with one.
    fn let_barrier_in(&mut self) -> Result<(), Failure> {
        while self.blocked && self.logic.lets_barriers_in() && self.inbox.has_only_barriers() {
            match self.inbox.pop()? {
                Some(Input::Barrier(checkpoint)) => self.snapshot_point(checkpoint)?,
                Some(Input::End) => self.input = InputState::EndWaits,
                Some(Input::Batch(..) | Input::Change(_)) => {
                    return Err(Failure::internal("something was sent behind the end of the input"));
                }
                None => break,
            }
        }
        Ok(())
    }

    fn snapshot_point(&mut self, checkpoint: u64) -> Result<(), Failure> {
        if let Some(older) = self.snapshot.take() {
            // Its checkpoint was given up, or this one would not have been triggered.
            older.cancel();
            self.logic.abort_snapshot();
        }
        let unfinished = self.logic.lets_barriers_in();
        let items = self.logic.barrier(checkpoint)?;
        let upload = Upload::begin_in(&self.env, checkpoint, unfinished);
        upload.push(items);
        self.snapshot = Some(upload);
        self.inbox.unblock();
        self.blocked = self.logic.resume()? == Flow::Blocked;
        Ok(())
    }

    /// Writes one slice of the running snapshot.
    fn write_slice(&mut self) {
        let Some(upload) = &self.snapshot else { return };
        if upload.is_full() {
            return;
        }
        match self.logic.snapshot_slice() {
            Ok((items, progress)) => {
                upload.push(items);
                if progress == SliceProgress::Done {
                    upload.complete();
                    self.snapshot = None;
                }
            }
            Err(error) => {
                let checkpoint = upload.checkpoint();
                upload.cancel();
                self.snapshot = None;
                self.logic.abort_snapshot();
                self.env.report(crate::task::TaskEvent::Declined {
                    checkpoint,
                    reason: chain_of(&error),
                    lasts: error.lasts(),
                });
            }
        }
    }

    /// Answers those who ask about the state.
    #[cold]
    fn answer_queries(&self) {
        for query in self.env.oversight.queries.take() {
            // Code of the user's that fails here must not harm a job that it would not have harmed unasked.
            let read = guard(|| self.logic.read_state(query.key()));
            query.answer(read.unwrap_or_else(|failure| Err(QueryError::Fault(failure.to_string()))));
        }
    }

    fn has_errand(&self) -> bool {
        self.input != InputState::Ended && self.logic.has_errand()
    }

    /// Lets time pass for the logic. Returns when to do so again.
    fn tick(&mut self, now: u64, starved: bool) -> Result<u64, Failure> {
        let tick = self.logic.tick(now, starved)?;
        self.blocked |= tick.flow == Flow::Blocked;
        Ok(tick.again_nanos)
    }
}

impl<L: Logic> Task for OperatorTask<L> {
    type In = L::In;

    fn file(&mut self, envelope: Envelope<L::In>) -> Result<(), Failure> {
        self.inbox.file(envelope)
    }

    fn control(&mut self, control: Control) -> Result<(), Failure> {
        match control {
            Control::Start => self.started = true,
            Control::Abort(checkpoint) => {
                self.inbox.abort(checkpoint);
                if let Some(upload) = self.snapshot.take_if(|upload| upload.checkpoint() == checkpoint) {
                    upload.cancel();
                    self.logic.abort_snapshot();
                }
            }
            Control::Complete(checkpoint) => self.logic.complete(checkpoint),
            Control::SaveAll => self.logic.save_all(),
            Control::Trigger(_) | Control::TriggerLast(_) | Control::Drain | Control::Stop => {}
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Step, Failure> {
        if self.env.oversight.queries.any() {
            self.answer_queries();
        }
        if !self.started {
            return Ok(Step::Waiting(u64::MAX));
        }
        let begin = self.env.clock.nanos();
        let mut now = begin;
        let mut starved = false;
        loop {
            self.write_slice();
            if self.blocked {
                self.let_barrier_in()?;
                self.blocked = self.logic.resume()? == Flow::Blocked;
            }
            if !self.blocked && self.input == InputState::EndWaits {
                self.end();
            }
            // Before any input, so that the end of the input finds none of it undone. What is asked for later waits for
            // the next process.
            if !self.blocked && self.current.is_none() && self.has_errand() {
                self.blocked = self.logic.run_errand()? == Flow::Blocked;
                now = self.env.clock.nanos();
            } else if !self.blocked && self.current.is_none() && !self.take_input(now)? {
                starved = true;
                break;
            }
            if !self.blocked {
                now = self.run_current()?;
            }
            if self.env.is_fenced() {
                return Ok(Step::Stopped);
            }
            if self.blocked || now.saturating_sub(begin) >= self.env.step_nanos {
                break;
            }
        }
        // What a blocked channel holds is held back, not missing.
        let again = self.tick(now, starved && self.inbox.depth() == 0)?;
        let writing = self.snapshot.as_ref().is_some_and(|upload| !upload.is_full());
        let busy = !starved || self.has_errand();
        let more = writing || (!self.blocked && busy) || self.logic.is_paused();
        Ok(if more { Step::Ready } else { Step::Waiting(again) })
    }

    fn is_blocked(&self) -> bool {
        self.blocked
    }

    fn current_key(&self) -> Option<String> {
        self.logic.current_key()
    }

    fn blame(&self, failure: &Failure) -> Option<Blame> {
        self.logic.blame(failure)
    }
}
