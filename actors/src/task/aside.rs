//! What an operator without side outputs of its own has beside its work: the care of its records, and the way out for
//! those that were left out.

use std::collections::VecDeque;

use watershed_state::Data;

use crate::batch::Flow;
use crate::chain::{Push, Tee};
use crate::clock::NO_TIMESTAMP;
use crate::error::{Failure, UserResult, chain_of};
use crate::message::Signal;
use crate::process::SideOutputs;
use crate::supervision::{Evidence, Place, Position, Replay, Stage, letters};
use crate::task::{Attempt, Care, Env, Exhibit, Restored, SnapshotItem, Verdict};

/// Care and dead letters of an instance.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) care: Care,
    sides: SideOutputs,
    replays: VecDeque<Replay>,
}

impl Aside {
    /// Takes over its share of a snapshot.
    ///
    /// # Errors
    /// What cannot be decoded.
    pub(super) fn restore(env: &Env, sides: SideOutputs, restored: &Restored) -> Result<Self, Failure> {
        let Env { instance, .. } = env;
        let owns = |_, writer: usize| writer % instance.parallelism == instance.index;
        Ok(Self { care: Care::restore(env, restored, owns)?, sides, replays: VecDeque::new() })
    }

    /// Looks at a record while records are taken one by one. Returns whether it may be processed; one that may not has been
    /// left out.
    pub(super) fn admits<T: Data>(&mut self, exhibit: Exhibit, record: &T) -> Result<bool, Failure> {
        if !self.care.is_active() {
            return Ok(true);
        }
        let Verdict::LeaveOut(entry) = self.care.examine(exhibit, record) else { return Ok(true) };
        let entry = *entry;
        let attempt = Attempt {
            cause: entry.cause,
            attempts: entry.attempts,
            panicked: entry.panicked,
            backtrace: entry.backtrace,
            replay_of: entry.replay_of,
        };
        self.leave_out(entry.evidence, attempt)?;
        Ok(false)
    }

    /// Leaves a record out.
    pub(super) fn leave_out(&mut self, evidence: Evidence, attempt: Attempt) -> Result<(), Failure> {
        if let Some(letter) = self.care.leave_out(evidence, attempt)? {
            self.sides.emit(&letters(), letter, NO_TIMESTAMP);
        }
        Ok(())
    }

    /// Hands on what closures have rejected, and all letters.
    pub(super) fn flush(&mut self, position: Option<&Position>) -> Result<Flow, Failure> {
        let Self { care, sides, .. } = self;
        let mut flow = Flow::Continue;
        loop {
            care.take_rejects(|mut letter| {
                letter.evidence.position = position.cloned();
                sides.emit(&letters(), letter, NO_TIMESTAMP);
            })?;
            if sides.gathered() == 0 || flow == Flow::Blocked {
                return Ok(flow);
            }
            flow = sides.flush();
        }
    }

    /// Whether letters are to be replayed.
    pub(super) fn has_errand(&self) -> bool {
        !self.replays.is_empty() || self.care.has_replays()
    }

    /// The next letter that is to be replayed. One that is given up is done with at once.
    pub(super) fn next_replay(&mut self) -> Option<Replay> {
        let Self { care, replays, .. } = self;
        replays.extend(care.take_unkeyed_replays());
        let replay = replays.pop_front()?;
        if replay.discarded {
            self.done_with(&replay.letter.id);
            return self.next_replay();
        }
        Some(replay)
    }

    /// A letter has been replayed, or given up.
    pub(super) fn done_with(&mut self, letter: &str) {
        tracing::info!(letter, "a dead letter is done with");
        self.care.replayed(letter.to_string());
    }

    /// Gives a letter's record to `replay`, which gives it back to where it failed. A letter that does not fit stays one.
    pub(super) fn replay(
        &mut self,
        replay: &Replay,
        stage: Stage,
        give: impl FnOnce(&mut Self, Exhibit) -> UserResult<Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let (letter, evidence) = (&replay.letter, &replay.letter.evidence);
        let at = evidence.timestamp.unwrap_or(NO_TIMESTAMP);
        let exhibit =
            Exhibit { replay_of: Some(letter.id.clone()), ..Exhibit::new(stage, evidence.place.clone(), at) };
        match give(self, exhibit) {
            Ok(done) => {
                done?;
                self.done_with(&letter.id);
            }
            Err(error) => {
                let cause = chain_of(&*error);
                tracing::error!(letter = letter.id, cause, "a dead letter cannot be replayed");
            }
        }
        Ok(())
    }

    /// What is saved: after the barrier has been passed on.
    pub(super) fn barrier(&mut self, checkpoint: u64) -> Result<Option<SnapshotItem>, Failure> {
        self.sides.signal(Signal::Barrier(checkpoint));
        self.care.barrier(checkpoint)
    }

    /// See [`Push::signal`].
    pub(super) fn signal(&mut self, signal: Signal) {
        self.sides.signal(signal);
    }

    /// See [`Push::resume`].
    pub(super) fn resume(&mut self) -> Flow {
        self.sides.resume()
    }

    /// See [`Push::interrupted`].
    pub(super) fn interrupted(&self) -> bool {
        self.sides.interrupted() || self.sides.gathered() > 0
    }

    /// See [`Push::tick`].
    pub(super) fn tick(&mut self, now_nanos: u64, starved: bool) -> u64 {
        self.sides.tick(now_nanos, starved)
    }

    /// See [`Push::save`].
    pub(super) fn save(&self, saved: &mut Vec<i64>) {
        self.sides.save(saved);
    }

    /// See [`Push::load`].
    pub(super) fn load(&mut self, saved: &mut dyn Iterator<Item = i64>) {
        self.sides.load(saved);
    }
}

/// Gives the record of a letter back to the chain: from its beginning, or at the closure that rejected it.
pub(super) fn replay_into<T: Data>(
    aside: &mut Aside,
    outlet: &mut Tee<T>,
    exhibit: Exhibit,
    evidence: &Evidence,
) -> UserResult<Result<(), Failure>> {
    match &evidence.place {
        Place::Closure { number, name } => {
            let replayed = outlet.replay(*number, &evidence.bytes()?, exhibit.timestamp);
            // What it sends waits like everything else if there is no room.
            let _: Flow = replayed
                .ok_or_else(|| format!("there is no closure `{name}` number {number} any more"))??;
            Ok(Ok(()))
        }
        Place::Output | Place::Input => {
            let (record, at) = (evidence.record::<T>()?, exhibit.timestamp);
            Ok(aside.admits(exhibit, &record).map(|admitted| {
                if admitted {
                    let _: Flow = outlet.push(record, at);
                }
            }))
        }
        Place::Undecoded => Err("it never was a record: mend it and give it to the source again".into()),
        Place::Timer { .. } => Err("this actor has no timers".into()),
    }
}
