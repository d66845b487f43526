//! What an operator without side outputs of its own has beside its work: the care of its records, and the way out for
//! those that were left out.

use watershed_state::Data;

use crate::batch::Flow;
use crate::chain::{FusedWatermarks, Push, Tee};
use crate::clock::NO_TIMESTAMP;
use crate::error::UserResult;
use crate::failure::Failure;
use crate::message::Signal;
use crate::process::SideOutputs;
use crate::restored::Restored;
use crate::snapshot::SnapshotItem;
use crate::supervision::{Evidence, Place, Position, Replay, Stage, letters};
use crate::task::{Attempt, Care, Env, Exhibit, Replays, Verdict};

/// Care and dead letters of an instance.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) care: Care,
    sides: SideOutputs,
    replays: Replays,
}

impl Aside {
    /// Takes over its share of a snapshot.
    ///
    /// # Errors
    /// What cannot be decoded.
    pub(super) fn restore(env: &Env, sides: SideOutputs, restored: &Restored) -> Result<Self, Failure> {
        let Env { instance, .. } = env;
        let owns = |_, writer: usize| writer % instance.parallelism == instance.index;
        Ok(Self { care: Care::restore(env, restored, owns)?, sides, replays: Replays::default() })
    }

    /// Looks at a record while records are taken one by one. Returns whether it may be processed; one that may not has
    /// been left out.
    pub(super) fn admits<T: Data>(&mut self, exhibit: Exhibit, record: &T) -> Result<bool, Failure> {
        if !self.care.is_active() {
            return Ok(true);
        }
        let verdict = self.care.examine(exhibit, record);
        self.heed(verdict)
    }

    /// [`Aside::admits`] for the record of a letter whose type only a fused closure knows.
    fn admits_letter(
        &mut self,
        exhibit: Exhibit,
        bytes: &[u8],
        evidence: &Evidence,
    ) -> Result<bool, Failure> {
        if !self.care.is_active() {
            return Ok(true);
        }
        let verdict = self.care.examine_letter(exhibit, bytes, &evidence.payload);
        self.heed(verdict)
    }

    /// Leaves out what is to be left out.
    fn heed(&mut self, verdict: Verdict) -> Result<bool, Failure> {
        let Verdict::LeaveOut(entry) = verdict else { return Ok(true) };
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
                // A record that is replayed does not stand where the source is now.
                if letter.replay_of.is_none() {
                    letter.evidence.position = position.cloned();
                }
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

    /// The next letter that is to be replayed. Those that are given up are done with at once.
    pub(super) fn next_replay(&mut self) -> Option<Replay> {
        let handed_over = self.care.take_unkeyed_replays();
        self.replays.extend(handed_over);
        while let Some(replay) = self.replays.next(&self.care) {
            if !replay.discarded {
                return Some(replay);
            }
            self.care.given_up(replay.letter.id);
        }
        None
    }

    /// Gives a letter's record to `replay`, which gives it back to where it failed. A letter that does not fit stays
    /// one.
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
        self.care.replays(&letter.id);
        match give(self, exhibit) {
            Ok(done) => {
                done?;
                self.care.replayed(letter.id.clone());
            }
            Err(error) => self.care.cannot_replay(&letter.id, &error),
        }
        Ok(())
    }

    /// What is saved: after the barrier has been passed on.
    pub(super) fn barrier(&mut self, checkpoint: u64) -> Option<SnapshotItem> {
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
    pub(super) fn save(&self, saved: &mut FusedWatermarks) {
        self.sides.save(saved);
    }

    /// See [`Push::load`].
    pub(super) fn load(&mut self, saved: &mut FusedWatermarks) {
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
        place @ Place::Closure { .. } => {
            let (bytes, at) = (evidence.bytes()?, exhibit.timestamp);
            match aside.admits_letter(exhibit, &bytes, evidence) {
                Ok(true) => {
                    // What it sends waits like everything else if there is no room.
                    let _: Flow = outlet.replay(place, &bytes, at).ok_or_else(|| no_closure(place))??;
                    Ok(Ok(()))
                }
                admitted => Ok(admitted.map(drop)),
            }
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

/// Why a record cannot be given back to a closure.
pub(super) fn no_closure(place: &Place) -> String {
    let Place::Closure { number, name } = place else { return "it failed in no closure".to_string() };
    format!(
        "the operator has no closure `{name}` as number {number} of those that may fail: the topology has changed; put \
         the closure back and ask again, or discard the letter"
    )
}
