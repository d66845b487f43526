//! Taking records: as fast as can be where nothing can go wrong that the policy cares about, with what each record
//! writes kept apart where an error takes it back, and one by one where somebody is under suspicion.

use std::any::type_name;
use std::vec::Drain;

use watershed_state::Collections;
use watershed_state::bug::{self, Bug};

use crate::batch::{Batch, Flow};
use crate::chain::Push;
use crate::clock::NO_TIMESTAMP;
use crate::error::{UserError, chain_of};
use crate::failure::{Failure, FailureKind};
use crate::process::{Context, Emitted, Process, Timer, TimerService};
use crate::supervision::{Evidence, Place, SkipEntry, Stage, letters};
use crate::task::process::parked::Waiting;
use crate::task::process::{EMIT_RECORDS, PREFETCH_AHEAD, ProcessLogic, Store, effective_watermark};
use crate::task::{Attempt, Exhibit, Verdict};

/// What there was before a record, in case it has to be taken back.
struct Before<S> {
    /// `None` if user code fails only before it changes it.
    state: Option<S>,
    births: u64,
    emitted: usize,
}

/// A record or timer on its way to user code.
pub(super) enum Attempted<P: Process> {
    Record(P::In),
    Timer(Timer, P::Key),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Processed,
    LeftOut,
}

impl<P: Process, S: Store<P>> ProcessLogic<P, S> {
    /// Processes records until an output has no room. Returns how many were taken; with room left and records too, it
    /// wants to be called again.
    pub(super) fn take_records(
        &mut self,
        values: &mut Drain<'_, P::In>,
        hashes: &[u64],
        timestamps: &[i64],
    ) -> Result<(usize, Flow), Failure> {
        if self.needs_care() {
            self.take_one_by_one(values, hashes, timestamps)
        } else if self.care.keeps(Stage::Process) {
            self.take_many::<true>(values, hashes, timestamps)
        } else {
            self.take_many::<false>(values, hashes, timestamps)
        }
    }

    /// Whether records have to be looked at one by one.
    #[inline]
    fn needs_care(&self) -> bool {
        self.care.is_active() || !self.parked.is_empty()
    }

    /// With `KEEP`, a record whose processing ends in an error is taken back and left out.
    fn take_many<const KEEP: bool>(
        &mut self,
        values: &mut Drain<'_, P::In>,
        hashes: &[u64],
        timestamps: &[i64],
    ) -> Result<(usize, Flow), Failure> {
        let Self {
            process,
            store,
            timers,
            collections,
            emitted,
            outlet,
            env,
            floors,
            current_hash,
            watermark,
            care,
            ..
        } = self;
        let (groups, keeps_state) = (store.groups(), KEEP && !env.oversight.policy.errors_before_writes);
        timers.keep(KEEP);
        collections.keep(keeps_state);
        hashes.iter().take(PREFETCH_AHEAD).for_each(|hash| store.prefetch(*hash));
        let mut taken = 0;
        // Hashes first: where they end, no value has been taken out.
        for (hash, value) in hashes.iter().zip(values) {
            if let Some(ahead) = hashes.get(taken + PREFETCH_AHEAD) {
                store.prefetch(*ahead);
            }
            let hash = store.hash(*hash);
            *current_hash = hash;
            let at = timestamps.get(taken).copied().unwrap_or(NO_TIMESTAMP);
            let kept = if KEEP { Some((value.clone(), store.births(), emitted.main.len())) } else { None };
            let (key, state) = store.access(&value, hash);
            let before = if keeps_state { Some(state.clone()) } else { None };
            if KEEP {
                timers.begin_record();
                collections.begin_record();
                emitted.side.begin_record();
            }
            let mut context = Context {
                key,
                hash,
                timestamp: at,
                watermark: effective_watermark(*watermark, floors, groups, hash),
                clock: &*env.clock,
                timers,
                collections,
                emitted,
                cleared: false,
            };
            taken += 1;
            match process.on_record(value, state, &mut context) {
                Ok(()) => {
                    if context.cleared {
                        let key = key.clone();
                        store.clear(hash, &key);
                    }
                }
                Err(error) => {
                    let Some((record, births, sent)) = kept else { return Err(Failure::user(&error)) };
                    let key = key.clone();
                    let before = Before { state: before, births, emitted: sent };
                    take_back::<P, S>(
                        (&mut *store, &mut *timers, &mut *collections, &mut *emitted),
                        hash,
                        &key,
                        before,
                    );
                    let attempt = attempt_of(&error)?;
                    let mut exhibit = care.arrival(Stage::Process, at);
                    exhibit.key = store.is_keyed().then(|| (serde_json::to_string(&key).ok(), hash));
                    if let Some(letter) = care.leave_out(exhibit.evidence(&record), attempt)? {
                        let parks = letter.parked.then(|| letter.id.clone());
                        emitted.side.emit(&letters(), letter, NO_TIMESTAMP);
                        if let Some(letter) = parks {
                            self.parked.park(hash, letter);
                            return Ok((taken, Flow::Continue));
                        }
                    }
                }
            }
            if emitted.len() >= EMIT_RECORDS {
                let flow = outlet.batch(&mut emitted.main);
                care.take_rejects(|letter| emitted.side.emit(&letters(), letter, NO_TIMESTAMP))?;
                let flow = flow.and(emitted.side.flush());
                if flow == Flow::Blocked {
                    return Ok((taken, flow));
                }
            }
        }
        Ok((taken, Flow::Continue))
    }

    /// Each record with all that comes of it before the next one, so that it is known whose fault a failure is.
    fn take_one_by_one(
        &mut self,
        values: &mut Drain<'_, P::In>,
        hashes: &[u64],
        timestamps: &[i64],
    ) -> Result<(usize, Flow), Failure> {
        let mut taken = 0;
        for (hash, record) in hashes.iter().zip(values) {
            let at = timestamps.get(taken).copied().unwrap_or(NO_TIMESTAMP);
            let hash = self.store.hash(*hash);
            taken += 1;
            if self.parked.contains(hash) {
                self.park(hash, Waiting::Record { record, at })?;
                continue;
            }
            let exhibit = self.care.arrival(Stage::Process, at);
            // Where somebody is under suspicion all that comes of a record is out before the next one.
            let watched = self.care.is_active();
            self.attempt(exhibit, hash, Attempted::Record(record))?;
            if (watched || self.emitted.len() >= EMIT_RECORDS) && self.flush()? == Flow::Blocked {
                // It stays under suspicion until what came of it has found room.
                return Ok((taken, Flow::Blocked));
            }
            self.care.done();
            if !self.needs_care() {
                break;
            }
        }
        Ok((taken, Flow::Continue))
    }

    /// Looks whether records have the keys here that they had where they came from: some of each batch, and all where
    /// debug assertions are on.
    ///
    /// # Errors
    /// If one has another. A key that is not the same each time is another one after a restart, too, so the job ends.
    pub(super) fn check_keys(&mut self, batch: &Batch<P::In>) -> Result<(), Failure> {
        const EVERY: usize = if cfg!(debug_assertions) { 1 } else { 1024 };
        let records = batch.values.iter().zip(&batch.hashes).step_by(EVERY);
        for (record, hash) in records {
            if !self.store.is_placed(record, *hash) {
                return Err(Failure::stop(Stage::Process, self.unstable_key(record)));
            }
        }
        Ok(())
    }

    #[cold]
    fn unstable_key(&self, record: &P::In) -> String {
        let keys: Vec<String> = (0..2).filter_map(|_| self.store.key_of(record)).collect();
        let shown = match &*keys {
            [one, other] if one != other => format!(" (it said {one}, and then {other})"),
            [one, _] => format!(" (here it is {one})"),
            _ => String::new(),
        };
        format!(
            "a record has another key of type {} here than where it came from{shown}: the closure of `key_by` before this \
             operator has to give a record the same key each time, and equal keys have to hash equally; what depends on \
             time, on chance, on addresses or on the order of a HashMap does neither. A restart would not change that",
            type_name::<P::Key>()
        )
    }

    /// Lets something wait for its key to be released.
    pub(super) fn park(&mut self, hash: u64, waiting: Waiting<P::In, P::Key>) -> Result<(), Failure> {
        let max = self.env.oversight.policy.parked_max;
        if self.parked.waiting() >= max {
            let cause = format!(
                "{max} records of parked keys wait already, and no more are allowed: replay or discard the dead letters that \
                 they wait for, or set `Supervision::park_at_most`"
            );
            return Err(Failure::stop(Stage::Process, cause));
        }
        self.parked.push(hash, waiting);
        self.env.counters.set_parked(self.parked.waiting());
        Ok(())
    }

    /// Gives a record or timer to user code, unless it is on the skip list. One that ends in an error is taken back and
    /// left out if the policy says so.
    pub(super) fn attempt(
        &mut self,
        mut exhibit: Exhibit,
        hash: u64,
        what: Attempted<P>,
    ) -> Result<Outcome, Failure> {
        (self.current_hash, self.busy) = (hash, true);
        if self.care.is_active() {
            if self.store.is_keyed() {
                let key = match &what {
                    Attempted::Record(record) => self.store.key_of(record),
                    Attempted::Timer(_, key) => serde_json::to_string(key).ok(),
                };
                exhibit.key = Some((key, hash));
            }
            let verdict = match &what {
                Attempted::Record(record) => self.care.examine(exhibit.clone(), record),
                Attempted::Timer(_, key) => self.care.examine(exhibit.clone(), key),
            };
            if let Verdict::LeaveOut(entry) = verdict {
                self.leave_out_listed(*entry, hash)?;
                self.busy = false;
                return Ok(Outcome::LeftOut);
            }
        }
        let keeps = self.care.keeps(exhibit.stage);
        let done = self.call(hash, exhibit.timestamp, keeps, what);
        let outcome = match done {
            Ok(()) => Outcome::Processed,
            Err((kept, key, error)) => {
                let Some(kept) = kept else { return Err(Failure::user(&error)) };
                let attempt = Attempt { replay_of: exhibit.replay_of.clone(), ..attempt_of(&error)? };
                exhibit.key = self.store.is_keyed().then(|| (serde_json::to_string(&key).ok(), hash));
                let evidence = match &kept {
                    Attempted::Record(record) => exhibit.evidence(record),
                    Attempted::Timer(_, key) => exhibit.evidence(key),
                };
                self.leave_out(evidence, attempt, hash)?;
                Outcome::LeftOut
            }
        };
        self.busy = false;
        Ok(outcome)
    }

    /// Calls user code. After an error everything is as it was before, if `keeps` says so, and what it was given comes
    /// back.
    #[expect(clippy::type_complexity, reason = "what failed, its key, and why")]
    fn call(
        &mut self,
        hash: u64,
        timestamp: i64,
        keeps: bool,
        what: Attempted<P>,
    ) -> Result<(), (Option<Attempted<P>>, P::Key, UserError)> {
        let watermark = effective_watermark(self.watermark, &self.floors, self.store.groups(), hash);
        let Self { process, store, timers, collections, emitted, env, .. } = self;
        let kept = keeps.then(|| match &what {
            Attempted::Record(record) => Attempted::Record(record.clone()),
            Attempted::Timer(timer, key) => Attempted::Timer(*timer, key.clone()),
        });
        let (births, sent) = (store.births(), emitted.main.len());
        timers.keep(keeps);
        collections.keep(keeps && !env.oversight.policy.errors_before_writes);
        emitted.side.begin_record();
        let (key, state) = match &what {
            Attempted::Record(record) => store.access(record, hash),
            Attempted::Timer(_, key) => store.access_key(hash, key.clone()),
        };
        let keeps_state = keeps && !env.oversight.policy.errors_before_writes;
        let before = Before { state: keeps_state.then(|| state.clone()), births, emitted: sent };
        let clock = &*env.clock;
        let mut context =
            Context { key, hash, timestamp, watermark, clock, timers, collections, emitted, cleared: false };
        let is_end = matches!(&what, Attempted::Timer(timer, _) if timer.is_at_end());
        let done = match what {
            Attempted::Record(record) => process.on_record(record, state, &mut context),
            Attempted::Timer(timer, _) if timer.is_at_end() => process.on_end(state, &mut context),
            Attempted::Timer(timer, _) => process.on_timer(timer, state, &mut context),
        };
        if is_end {
            // There is no other end to ask for.
            context.delete_timer_at(Timer::AT_END.at);
        }
        let cleared = context.cleared;
        let key = (cleared || done.is_err()).then(|| key.clone());
        match (done, key) {
            (Err(error), Some(key)) => {
                if keeps {
                    take_back::<P, S>((store, timers, collections, emitted), hash, &key, before);
                }
                Err((kept, key, error))
            }
            (_, Some(key)) => {
                store.clear(hash, &key);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn leave_out_listed(&mut self, entry: SkipEntry, hash: u64) -> Result<(), Failure> {
        let SkipEntry { evidence, attempts, cause, backtrace, panicked, replay_of, .. } = entry;
        let attempt = Attempt { cause, attempts, panicked, backtrace, replay_of };
        self.leave_out(evidence, attempt, hash)
    }

    /// Leaves something out; its key waits if the policy says so.
    pub(super) fn leave_out(
        &mut self,
        evidence: Evidence,
        attempt: Attempt,
        hash: u64,
    ) -> Result<(), Failure> {
        if let Some(letter) = self.care.leave_out(evidence, attempt)? {
            if letter.parked {
                self.parked.park(hash, letter.id.clone());
            }
            self.emitted.side.emit(&letters(), letter, NO_TIMESTAMP);
        }
        Ok(())
    }

    /// Fires a timer, or lets it wait if its key does.
    pub(super) fn fire(&mut self, timer: Timer, hash: u64, key: P::Key) -> Result<Flow, Failure> {
        let Timer { at, kind } = timer;
        if self.parked.contains(hash) {
            self.park(hash, Waiting::Timer { key, kind, at })?;
            return Ok(Flow::Continue);
        }
        let exhibit = Exhibit::new(Stage::Timer, Place::Timer { kind, at }, timer.timestamp());
        self.attempt(exhibit, hash, Attempted::Timer(timer, key))?;
        if self.care.is_active() {
            let flow = self.flush()?;
            if flow == Flow::Continue {
                self.care.done();
            }
            return Ok(flow);
        }
        if self.emitted.len() >= EMIT_RECORDS { self.flush() } else { Ok(Flow::Continue) }
    }
}

/// What a record writes to.
type Written<'w, P, S> = (
    &'w mut S,
    &'w mut TimerService<<P as Process>::Key>,
    &'w mut Collections<<P as Process>::Key>,
    &'w mut Emitted<<P as Process>::Out>,
);

/// Undoes what a record has written.
#[cold]
fn take_back<P: Process, S: Store<P>>(
    (store, timers, collections, emitted): Written<'_, P, S>,
    hash: u64,
    key: &P::Key,
    before: Before<P::State>,
) {
    if bug::is(Bug::ErrorNotTakenBack) {
        return;
    }
    if store.is_keyed() && store.births() > before.births {
        // The key came with this record.
        store.clear(hash, key);
    } else if let Some(state) = before.state {
        *store.access_key(hash, key.clone()).1 = state;
    }
    timers.take_back(hash, key);
    collections.take_back();
    emitted.main.truncate(before.emitted);
    emitted.side.take_back();
}

/// How an attempt ended that ended in an error. A full disk is nobody's fault, and passes.
pub(super) fn attempt_of(error: &UserError) -> Result<Attempt, Failure> {
    let failure = Failure::user(error);
    if failure.kind == FailureKind::NoSpace {
        return Err(failure);
    }
    Ok(Attempt { cause: chain_of(&**error), attempts: 1, ..Attempt::default() })
}
