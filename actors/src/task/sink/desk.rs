//! What both kinds of sinks have in common: records on their way to a writer, and those that it refuses.

use watershed_state::Data;

use crate::batch::{Batch, Flow};
use crate::chain::FusedWatermarks;
use crate::clock::NO_TIMESTAMP;
use crate::error::{UserError, UserResult, chain_of};
use crate::failure::{Blame, Failure, is_io};
use crate::inbox::ValveChange;
use crate::message::{Signal, Status};
use crate::process::SideOutputs;
use crate::restored::Restored;
use crate::snapshot::SnapshotItem;
use crate::supervision::{Place, Stage};
use crate::task::{Aside, Attempt, Env, Exhibit};

/// Hands records to a writer.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) aside: Aside,
    /// A record is being written, so that a failure is one of it.
    writing: bool,
}

impl Desk {
    /// Takes over its share of a snapshot.
    ///
    /// # Errors
    /// What cannot be decoded.
    pub(super) fn restore(env: &Env, sides: SideOutputs, restored: &Restored) -> Result<Self, Failure> {
        let mut aside = Aside::restore(env, sides, restored)?;
        aside.load(&mut FusedWatermarks::restore(restored, &env.instance)?);
        Ok(Self { aside, writing: false })
    }

    /// Passes a barrier on to those behind dead letters. Returns what the snapshot holds of them.
    pub(super) fn barrier(&mut self, checkpoint: u64) -> impl Iterator<Item = SnapshotItem> + use<> {
        let mut watermarks = FusedWatermarks::default();
        self.aside.save(&mut watermarks);
        self.aside.barrier(checkpoint).into_iter().chain(watermarks.section())
    }

    /// Hands the records of a batch to a writer.
    pub(super) fn write<T: Data>(
        &mut self,
        batch: &mut Batch<T>,
        mut write: impl FnMut(T) -> UserResult,
    ) -> Result<Flow, Failure> {
        let exact = self.aside.care.is_active() || self.aside.care.keeps(Stage::Sink);
        let mut failed = None;
        self.writing = true;
        let flow = batch.drain_while(|record, at, _| {
            let written = if exact {
                self.write_one(&self.aside.care.arrival(Stage::Sink, at), record, &mut write)
            } else {
                write(record).map(|()| Flow::Continue).map_err(|error| Failure::connector(&error))
            };
            written.unwrap_or_else(|failure| {
                failed = Some(failure);
                Flow::Blocked
            })
        });
        if let Some(failure) = failed {
            return Err(failure);
        }
        self.writing = false;
        Ok(flow)
    }

    /// Writes a record unless it is on the skip list; leaves it out if the writer refuses it.
    fn write_one<T: Data>(
        &mut self,
        exhibit: &Exhibit,
        record: T,
        write: &mut impl FnMut(T) -> UserResult,
    ) -> Result<Flow, Failure> {
        if self.aside.admits(exhibit.clone(), &record)? {
            let kept = self.aside.care.keeps(Stage::Sink).then(|| record.clone());
            if let Err(error) = write(record) {
                let Some(record) = kept else { return Err(Failure::connector(&error)) };
                self.refused(exhibit, &record, &error)?;
            }
        }
        let flow = self.aside.flush(None)?;
        self.aside.care.done();
        Ok(flow)
    }

    /// What comes of the input or output of the machine is not the record's fault: it comes again, after a restart.
    fn refused<T: Data>(&mut self, exhibit: &Exhibit, record: &T, error: &UserError) -> Result<(), Failure> {
        if is_io(&**error) {
            self.writing = false;
            self.aside.care.done();
            return Err(Failure::connector(error));
        }
        let attempt = Attempt {
            cause: chain_of(&**error),
            attempts: 1,
            replay_of: exhibit.replay_of.clone(),
            ..Attempt::default()
        };
        self.aside.leave_out(exhibit.evidence(record), attempt)
    }

    /// See [`Logic::resume`](crate::task::Logic::resume).
    pub(super) fn resume(&mut self) -> Result<Flow, Failure> {
        let flow = self.aside.resume();
        Ok(flow.and(self.aside.flush(None)?))
    }

    /// Passes a change on to whoever reads the dead letters.
    pub(super) fn change(&mut self, change: ValveChange) {
        if let Some(status) = change.status.filter(|status| *status != Status::Finished) {
            self.aside.signal(Signal::Status(status));
        }
        if let Some(at) = change.watermark {
            self.aside.signal(Signal::Watermark(at));
        }
    }

    /// Whom to blame: a record only if one was being written.
    pub(super) fn blame(&self, failure: &Failure) -> Option<Blame> {
        let blame = self.aside.care.blame(Some(Stage::Sink), failure)?;
        (self.writing || !blame.directive.leaves_out()).then_some(blame)
    }

    /// Writes the record of the next letter that is replayed.
    pub(super) fn run_errand<T: Data>(
        &mut self,
        mut write: impl FnMut(T) -> UserResult,
    ) -> Result<Flow, Failure> {
        if let Some(replay) = self.aside.next_replay() {
            self.writing = true;
            // The record is taken out first, so that a letter that does not fit stays one.
            match replay.letter.evidence.record::<T>() {
                Ok(record) => {
                    let at = replay.letter.evidence.timestamp.unwrap_or(NO_TIMESTAMP);
                    let exhibit = Exhibit {
                        replay_of: Some(replay.letter.id.clone()),
                        ..Exhibit::new(Stage::Sink, Place::Input, at)
                    };
                    let _: Flow = self.write_one(&exhibit, record, &mut write)?;
                    self.aside.care.replayed(replay.letter.id);
                }
                Err(error) => self.aside.care.cannot_replay(&replay.letter.id, &error),
            }
            self.writing = false;
        }
        self.resume()
    }
}
