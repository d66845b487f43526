//! Work that does not come from the inputs: letters that are replayed, and the records of keys that are released.

use std::collections::VecDeque;

use crate::batch::Flow;
use crate::chain::Push;
use crate::clock::NO_TIMESTAMP;
use crate::error::UserResult;
use crate::failure::Failure;
use crate::process::{Process, Timer};
use crate::supervision::{DeadLetter, Evidence, Place, Replay, Stage};
use crate::task::operator::Logic;
use crate::task::process::parked::Waiting;
use crate::task::process::records::{Attempted, Outcome};
use crate::task::process::{ProcessLogic, Store};
use crate::task::{Exhibit, Replays, Verdict, no_closure};

/// What there is to do, in order.
#[derive(Debug, Default)]
pub(super) struct Errands {
    pub(super) replays: Replays,
    /// Hashes of the keys whose queues are being worked off.
    releasing: VecDeque<u64>,
}

impl Errands {
    /// Whether something has been begun and not ended.
    pub(super) fn is_empty(&self) -> bool {
        self.replays.is_empty() && self.releasing.is_empty()
    }

    /// Lets a key go.
    pub(super) fn release(&mut self, hash: u64) {
        if !self.releasing.contains(&hash) {
            self.releasing.push_back(hash);
        }
    }
}

impl<P: Process, S: Store<P>> ProcessLogic<P, S> {
    /// Does one thing, with all that comes of it.
    pub(super) fn next_errand(&mut self) -> Result<Flow, Failure> {
        let Self { care, store, env, errands, .. } = self;
        let owns = |letter: &DeadLetter| store.owns(letter.evidence.key_hash, letter.instance, &env.instance);
        errands.replays.extend(care.take_replays(owns));
        if let Some(replay) = self.errands.replays.next(&self.care) {
            self.replay(replay)?;
        } else if let Some(hash) = self.errands.releasing.front().copied() {
            self.work_off(hash)?;
        }
        // What a closure was given may have found no room.
        self.resume()
    }

    fn replay(&mut self, replay: Replay) -> Result<(), Failure> {
        let Replay { letter, discarded } = replay;
        let id = letter.id.clone();
        let hash = letter.evidence.key_hash.unwrap_or(0);
        if discarded {
            self.care.given_up(id);
        } else {
            self.care.replays(&id);
            match self.replay_record(&letter) {
                Ok(done) => done.map(drop)?,
                Err(error) => {
                    // It stays a dead letter: nothing of it is lost.
                    self.care.cannot_replay(&id, &error);
                    return Ok(());
                }
            }
            self.care.replayed(id);
        }
        // One that was left out again may wait for the new letter instead.
        if self.parked.waits_for(hash, &letter.id) {
            self.errands.release(hash);
        }
        Ok(())
    }

    /// Gives a letter's record back to where it failed. The outer error says that this cannot be done.
    fn replay_record(&mut self, letter: &DeadLetter) -> UserResult<Result<Outcome, Failure>> {
        let evidence = &letter.evidence;
        let at = evidence.timestamp.unwrap_or(NO_TIMESTAMP);
        let hash = self.store.hash(evidence.key_hash.unwrap_or(0));
        let exhibit = Exhibit {
            replay_of: Some(letter.id.clone()),
            ..Exhibit::new(evidence.stage, evidence.place.clone(), at)
        };
        match &evidence.place {
            Place::Input => {
                let record = evidence.record::<P::In>()?;
                Ok(self.attempt(exhibit, hash, Attempted::Record(record)))
            }
            Place::Timer { kind, at } => {
                let key = evidence.record::<P::Key>()?;
                let timer = Timer { at: *at, kind: *kind };
                Ok(self.attempt(exhibit, hash, Attempted::Timer(timer, key)))
            }
            Place::Closure { .. } => self.replay_into_closure(exhibit, evidence),
            Place::Undecoded | Place::Output => Err("it is not from an actor with a process function".into()),
        }
    }

    fn replay_into_closure(
        &mut self,
        exhibit: Exhibit,
        evidence: &Evidence,
    ) -> UserResult<Result<Outcome, Failure>> {
        let (bytes, place, at) = (evidence.bytes()?, &evidence.place, exhibit.timestamp);
        if self.care.is_active()
            && let Verdict::LeaveOut(entry) = self.care.examine_letter(exhibit, &bytes, &evidence.payload)
        {
            // It is past its key.
            return Ok(self.leave_out_listed(*entry, 0).map(|()| Outcome::LeftOut));
        }
        let replayed = self.outlet.replay(place, &bytes, at);
        let replayed = replayed.or_else(|| self.emitted.side.replay(place, &bytes, at));
        // What it sends waits like everything else if there is no room.
        let _: Flow = replayed.ok_or_else(|| no_closure(place))??;
        Ok(Ok(Outcome::Processed))
    }

    /// Processes the next record or timer of a key that is being released.
    fn work_off(&mut self, hash: u64) -> Result<(), Failure> {
        let letter = self.parked.letter_of(hash).map(str::to_string);
        match self.parked.pop(hash) {
            None => {
                self.errands.releasing.pop_front();
                return Ok(());
            }
            Some(Waiting::Record { record, at }) => {
                let exhibit = Exhibit::new(Stage::Process, Place::Input, at);
                self.attempt(exhibit, hash, Attempted::Record(record))?;
            }
            Some(Waiting::Timer { key, kind, at }) => {
                let timer = Timer { at, kind };
                let exhibit = Exhibit::new(Stage::Timer, Place::Timer { kind, at }, timer.timestamp());
                self.attempt(exhibit, hash, Attempted::Timer(timer, key))?;
            }
        }
        self.env.counters.set_parked(self.parked.waiting());
        if self.parked.letter_of(hash) != letter.as_deref() {
            // The rest waits for a new letter.
            self.errands.releasing.pop_front();
        }
        Ok(())
    }
}
