//! What an actor with a sink does with its input.

mod desk;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use watershed_state::bug::{self, Bug};
use watershed_state::{
    CodecError, Data, Sampler, Section, SectionKind, SliceProgress, decode, encode_for_keeps,
};

use crate::batch::{Batch, Flow};
use crate::error::chain_of;
use crate::failure::{Blame, Failure};
use crate::inbox::ValveChange;
use crate::message::Signal;
use crate::operator_state::OperatorStates;
use crate::panics::guard;
use crate::process::SideOutputs;
use crate::query::{QueryError, QueryKey, Reading};
use crate::restored::Restored;
use crate::sink::{Prepare, Sink, SinkWriter, TwoPhaseSink, TwoPhaseWriter};
use crate::snapshot::SnapshotItem;
use crate::task::operator::{Logic, Tick};
use crate::task::{Env, TaskEvent, Work};
use desk::Desk;

/// Writes records at least once.
pub struct SinkLogic<S: Sink> {
    writer: S::Writer,
    /// Something was written since the last flush.
    dirty: bool,
    states: OperatorStates,
    desk: Desk,
}

impl<S: Sink> std::fmt::Debug for SinkLogic<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkLogic").field("dirty", &self.dirty).finish_non_exhaustive()
    }
}

impl<S: Sink> SinkLogic<S> {
    /// Opens the writer; records that are left out go to `sides`.
    ///
    /// # Errors
    /// What the sink says; what cannot be decoded.
    pub fn open(env: &Env, sink: &S, sides: SideOutputs, restored: &Restored) -> Result<Self, Failure> {
        let states = OperatorStates::restore(restored, &env.instance, env.instance.parallelism);
        let states = states.map_err(|error| Failure::state(chain_of(&error)))?;
        let writer = sink.open(&env.writer_context(&states)).map_err(|error| Failure::connector(&error))?;
        Ok(Self { writer, dirty: false, states, desk: Desk::restore(env, sides, restored)? })
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.dirty) {
            self.writer.flush().map_err(|error| Failure::connector(&error))?;
        }
        Ok(())
    }
}

impl<S: Sink> Logic for SinkLogic<S> {
    type In = S::In;

    fn run(&mut self, batch: &mut Batch<S::In>) -> Result<Flow, Failure> {
        self.dirty |= !batch.is_empty();
        self.desk.write(batch, |record| self.writer.write(record))
    }

    fn read_state(&self, _key: &QueryKey) -> Result<Reading, QueryError> {
        Err(QueryError::NoState)
    }

    fn comes_on(&mut self, channel: Option<u32>) {
        self.desk.aside.care.comes_on(channel);
    }

    fn resume(&mut self) -> Result<Flow, Failure> {
        self.desk.resume()
    }

    fn interrupted(&self) -> bool {
        self.desk.aside.interrupted()
    }

    fn change(&mut self, change: ValveChange) -> Result<Flow, Failure> {
        self.desk.change(change);
        Ok(Flow::Continue)
    }

    fn end(&mut self) {
        self.desk.aside.signal(Signal::End);
    }

    fn barrier(&mut self, checkpoint: u64) -> Result<Vec<SnapshotItem>, Failure> {
        if !bug::is(Bug::NotFlushedAtBarrier) {
            self.flush()?;
        }
        let mut items = self.states.save();
        items.extend(self.desk.barrier(checkpoint));
        Ok(items)
    }

    fn snapshot_slice(&mut self) -> Result<(Vec<SnapshotItem>, SliceProgress), CodecError> {
        Ok((Vec::new(), SliceProgress::Done))
    }

    fn abort_snapshot(&mut self) {}

    // It always saves everything.
    fn save_all(&mut self) {}

    fn complete(&mut self, checkpoint: u64) {
        self.desk.aside.care.complete(checkpoint);
    }

    fn tick(&mut self, now_nanos: u64, starved: bool) -> Result<Tick, Failure> {
        if starved {
            self.flush()?;
        }
        Ok(Tick { flow: Flow::Continue, again_nanos: self.desk.aside.tick(now_nanos, starved) })
    }

    fn blame(&self, failure: &Failure) -> Option<Blame> {
        self.desk.blame(failure)
    }

    fn has_errand(&self) -> bool {
        self.desk.aside.has_errand()
    }

    fn run_errand(&mut self) -> Result<Flow, Failure> {
        self.dirty = true;
        self.desk.run_errand(|record| self.writer.write(record))
    }
}

/// Writes records exactly once, in two phases.
pub struct TwoPhaseLogic<S: TwoPhaseSink> {
    writer: S::Writer,
    states: OperatorStates,
    desk: Desk,
    commits: Arc<Commits<S>>,
}

/// What was written and is not known to be committed. Shared with the jobs that prepare and commit.
struct Commits<S: TwoPhaseSink> {
    sink: Arc<S>,
    env: Env,
    /// Closed by the writer, oldest checkpoint first. A checkpoint that is given up leaves them to the next one.
    unprepared: Mutex<VecDeque<(u64, Prepare<S::Committable>)>>,
    /// Held while preparing, so that no checkpoint misses what an earlier one is still preparing.
    preparing: Mutex<()>,
    /// Prepared, oldest checkpoint first.
    prepared: Mutex<Vec<(u64, S::Committable)>>,
    /// Held while committing, so that checkpoints are committed in order.
    committing: Mutex<()>,
    /// What went wrong in a job: the task fails of it, as what was written is lost.
    failure: Mutex<Option<Failure>>,
}

impl<S: TwoPhaseSink> std::fmt::Debug for TwoPhaseLogic<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TwoPhaseLogic").field("instance", &self.commits.env.instance).finish_non_exhaustive()
    }
}

impl<S: TwoPhaseSink> TwoPhaseLogic<S> {
    /// Commits what the snapshot names, removes what it does not name, and opens the writer.
    ///
    /// # Errors
    /// What the sink says; what cannot be decoded.
    pub fn restore(
        env: &Env,
        sink: &Arc<S>,
        sides: SideOutputs,
        restored: &Restored,
    ) -> Result<Self, Failure> {
        let context = env.sink_context();
        let user = |error| Failure::connector(&error);
        let own = env.instance.index;
        let mut committables: Vec<(u64, S::Committable)> = Vec::new();
        // What an earlier process prepared is the business of the first instance, as there may be fewer instances now;
        // what this process prepared is that of the instance that did, as those of other regions go on with theirs.
        if restored.from_this_process || own == 0 {
            for (writer, section) in restored.sections(SectionKind::Committables) {
                if restored.from_this_process && writer != own {
                    continue;
                }
                let saved: Vec<(u64, S::Committable)> = decode(&mut section.bytes.as_slice())
                    .map_err(|error| Failure::state(chain_of(&error)))?;
                committables.extend(saved);
            }
        }
        committables.sort_by_key(|(checkpoint, _)| *checkpoint);
        let keep: Vec<S::Committable> =
            committables.into_iter().map(|(_, committable)| committable).collect();
        for committable in keep.iter().filter(|_| !bug::is(Bug::NotCommittedOnRestore)) {
            sink.commit(committable, &context).map_err(user)?;
        }
        if !restored.from_this_process && own == 0 && !bug::is(Bug::DanglingNotDiscarded) {
            sink.discard_dangling(&keep, 0..restored.process_run, None, &context).map_err(user)?;
        }
        sink.discard_dangling(&keep, restored.process_run..env.run, Some(own), &context).map_err(user)?;
        let states = OperatorStates::restore(restored, &env.instance, env.instance.parallelism);
        let states = states.map_err(|error| Failure::state(chain_of(&error)))?;
        let writer = sink.open(&env.writer_context(&states)).map_err(user)?;
        let commits = Commits {
            sink: Arc::clone(sink),
            env: env.clone(),
            unprepared: Mutex::default(),
            preparing: Mutex::default(),
            prepared: Mutex::default(),
            committing: Mutex::default(),
            failure: Mutex::default(),
        };
        let desk = Desk::restore(env, sides, restored)?;
        Ok(Self { writer, states, desk, commits: Arc::new(commits) })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Committables as they go into a checkpoint. There are few, and output is lost with one that cannot be read: all are
/// read back.
fn encoded<C: Data>(due: &Vec<(u64, C)>) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    encode_for_keeps(due, &mut bytes, &mut Sampler::default())?;
    Ok(bytes)
}

impl<S: TwoPhaseSink> Commits<S> {
    /// Everything written up to a checkpoint, prepared, as it goes into that checkpoint.
    fn section(&self, checkpoint: u64) -> crate::error::UserResult<Result<Section, CodecError>> {
        let _turn = lock(&self.preparing);
        let _work = self.env.at_work(Work::Prepare);
        loop {
            let next = lock(&self.unprepared).pop_front_if(|(id, _)| *id <= checkpoint);
            let Some((id, prepare)) = next else { break };
            let committable = prepare()?;
            lock(&self.prepared).push((id, committable));
        }
        let prepared = lock(&self.prepared);
        let forgotten = |id| id < checkpoint && bug::is(Bug::PreparedForAbandonedForgotten);
        let is_due = |id| id <= checkpoint && !forgotten(id);
        let due: Vec<(u64, S::Committable)> =
            prepared.iter().filter(|(id, _)| is_due(*id)).cloned().collect();
        // If it cannot be encoded, the checkpoint is given up; the next one covers what is prepared.
        let (kind, entries) = (SectionKind::Committables, due.len() as u32);
        Ok(encoded(&due).map(|bytes| Section { kind, group: 0, entries, bytes }))
    }

    /// Lets the task fail if a job has failed.
    fn check<R>(&self, done: Result<crate::error::UserResult<R>, Failure>) -> crate::error::UserResult<R> {
        let failure = match done {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => Failure::connector(&error),
            Err(failure) => failure,
        };
        let cause = failure.to_string();
        *lock(&self.failure) = Some(failure);
        self.env.waker.wake_task();
        Err(cause.into())
    }

    /// Commits everything prepared up to a checkpoint, in order.
    fn commit(&self, checkpoint: u64) -> crate::error::UserResult {
        let _turn = lock(&self.committing);
        let _work = self.env.at_work(Work::Commit);
        let is_due = |id| id <= checkpoint || bug::is(Bug::CommitsBeyondCheckpoint);
        let mut due: Vec<_> = lock(&self.prepared).iter().filter(|(id, _)| is_due(*id)).cloned().collect();
        due.sort_by_key(|(id, _)| *id);
        let context = self.env.sink_context();
        for (id, committable) in due {
            if self.env.is_fenced() {
                // The next run commits it from the snapshot.
                return Ok(());
            }
            self.sink.commit(&committable, &context)?;
            lock(&self.prepared).retain(|(other, _)| *other != id);
        }
        Ok(())
    }
}

impl<S: TwoPhaseSink> Logic for TwoPhaseLogic<S> {
    type In = S::In;

    fn run(&mut self, batch: &mut Batch<S::In>) -> Result<Flow, Failure> {
        self.desk.write(batch, |record| self.writer.write(record))
    }

    fn read_state(&self, _key: &QueryKey) -> Result<Reading, QueryError> {
        Err(QueryError::NoState)
    }

    fn comes_on(&mut self, channel: Option<u32>) {
        self.desk.aside.care.comes_on(channel);
    }

    fn resume(&mut self) -> Result<Flow, Failure> {
        self.desk.resume()
    }

    fn interrupted(&self) -> bool {
        self.desk.aside.interrupted()
    }

    fn change(&mut self, change: ValveChange) -> Result<Flow, Failure> {
        self.desk.change(change);
        Ok(Flow::Continue)
    }

    fn end(&mut self) {
        self.desk.aside.signal(Signal::End);
    }

    fn barrier(&mut self, checkpoint: u64) -> Result<Vec<SnapshotItem>, Failure> {
        let prepare = self.writer.prepare(checkpoint).map_err(|error| Failure::connector(&error))?;
        lock(&self.commits.unprepared).extend(prepare.map(|prepare| (checkpoint, prepare)));
        let commits = Arc::clone(&self.commits);
        let mut items = self.states.save();
        items.extend(self.desk.barrier(checkpoint));
        items.push(SnapshotItem::Deferred(Box::new(move || {
            Ok(commits.check(guard(|| commits.section(checkpoint)))??)
        })));
        Ok(items)
    }

    fn snapshot_slice(&mut self) -> Result<(Vec<SnapshotItem>, SliceProgress), CodecError> {
        Ok((Vec::new(), SliceProgress::Done))
    }

    fn abort_snapshot(&mut self) {}

    // It always saves everything.
    fn save_all(&mut self) {}

    fn complete(&mut self, checkpoint: u64) {
        self.desk.aside.care.complete(checkpoint);
        let commits = Arc::clone(&self.commits);
        self.commits.env.pool.run(Box::new(move || {
            let env = &commits.env;
            if commits.check(guard(|| commits.commit(checkpoint))).is_ok() && !env.is_fenced() {
                env.report(TaskEvent::Committed(checkpoint));
            }
        }));
    }

    fn tick(&mut self, now_nanos: u64, starved: bool) -> Result<Tick, Failure> {
        match lock(&self.commits.failure).take() {
            Some(failure) => Err(failure),
            None => Ok(Tick { flow: Flow::Continue, again_nanos: self.desk.aside.tick(now_nanos, starved) }),
        }
    }

    fn blame(&self, failure: &Failure) -> Option<Blame> {
        self.desk.blame(failure)
    }

    fn has_errand(&self) -> bool {
        self.desk.aside.has_errand()
    }

    fn run_errand(&mut self) -> Result<Flow, Failure> {
        self.desk.run_errand(|record| self.writer.write(record))
    }
}
