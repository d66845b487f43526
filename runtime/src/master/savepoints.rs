//! Savepoints: checkpoints that are copied to a place of their own when they are complete.

use std::collections::VecDeque;
use std::sync::Arc;

use watershed_actors::{Control, chain_of};
use watershed_state::{Manifest, SnapshotId, SnapshotPlace, shown, write_savepoint};

use crate::error::Error;
use crate::event::Event;
use crate::event::Then;
use crate::event::Unread;
use crate::event::Wanted;
use crate::master::Master;
use crate::master::ledger::Purpose;
use crate::master::region::Phase;
use crate::savepoint::Savepoint;
use crate::startup::check_savepoint;
use crate::tree::ActorKind;

/// The savepoints of a running job, one after the other.
#[derive(Default)]
pub(crate) struct Savepoints {
    waiting: VecDeque<(Wanted, SnapshotPlace)>,
    /// What the checkpoint that is being made is to become.
    making: Option<(u64, Wanted, SnapshotPlace)>,
    /// The checkpoint that is being copied, and for whom.
    copying: Option<(u64, Wanted)>,
    /// The sources have been told to end.
    pub(super) draining: bool,
    /// The savepoint that the job began at and owns, until it needs it no more.
    pub(super) claimed: Option<(SnapshotPlace, SnapshotId)>,
}

impl Savepoints {
    /// None yet, in a job that owns the savepoint that it began at, if it does.
    pub(super) fn owning(claimed: Option<(SnapshotPlace, SnapshotId)>) -> Self {
        Self { claimed, ..Self::default() }
    }

    /// Whether a checkpoint is to be made for one.
    pub(super) fn is_due(&self) -> bool {
        self.making.is_none() && self.waiting.front().is_some_and(|(wanted, _)| wanted.then == Then::GoOn)
    }

    /// Whether there is one that somebody waits for.
    pub(super) fn any(&self) -> bool {
        !self.waiting.is_empty() || self.making.is_some() || self.copying.is_some()
    }

    /// The checkpoint whose files are being copied.
    pub(super) fn copying(&self) -> Option<u64> {
        self.copying.as_ref().map(|(checkpoint, _)| *checkpoint)
    }

    /// This checkpoint begins. Whatever it is made for, a savepoint can be made of it if all regions take part.
    pub(super) fn checkpoint_begins(&mut self, checkpoint: u64, purpose: Purpose) {
        if matches!(purpose, Purpose::Periodic | Purpose::Rescale) || self.making.is_some() {
            return;
        }
        if let Some((wanted, place)) = self.waiting.pop_front() {
            self.making = Some((checkpoint, wanted, place));
        }
    }

    /// The checkpoint was given up: nobody waits for ever, but a job that is to end tries again.
    pub(super) fn checkpoint_failed(&mut self, checkpoint: u64, reason: &str) {
        let Some((_, wanted, place)) = self.making.take_if(|(id, ..)| *id == checkpoint) else { return };
        if wanted.then == Then::GoOn {
            let why = format!("the savepoint to {} was given up: {reason}; the job goes on", wanted.uri);
            (wanted.reply)(Err(Error::state(why)));
        } else {
            self.waiting.push_front((wanted, place));
        }
    }

    /// Whose savepoint a checkpoint becomes that was made for `first`. One that is to be drained waits on if timers
    /// have still to fire at the end of the input, and leaves the checkpoint to another one.
    fn suited(
        &mut self,
        unfinished: bool,
        first: (Wanted, SnapshotPlace),
    ) -> Option<(Wanted, SnapshotPlace)> {
        if !unfinished || first.0.then != Then::Drain {
            return Some(first);
        }
        let other = self.waiting.iter().position(|(wanted, _)| wanted.then != Then::Drain);
        let other = other.and_then(|index| self.waiting.remove(index));
        self.waiting.push_front(first);
        other
    }
}

impl Master {
    /// Somebody wants a savepoint.
    pub(super) fn wants_savepoint(&mut self, wanted: Wanted) {
        if self.closing.is_some() || self.ending.is_some() || self.stop_requested {
            return (wanted.reply)(Err(Error::config(
                "the job is about to end: it makes no savepoint any more",
            )));
        }
        if let Err(error) = check_savepoint(&wanted.uri, &self.config) {
            return (wanted.reply)(Err(Error::config(format!("{error}; the job goes on"))));
        }
        let outputs = &self.host.surroundings().fs;
        let place = match SnapshotPlace::parse_on(&wanted.uri, outputs) {
            Ok(place) => place,
            Err(error) => return (wanted.reply)(Err(Error::config(chain_of(&error)))),
        };
        tracing::info!(uri = %shown(&wanted.uri), then = ?wanted.then, "a savepoint is asked for");
        match wanted.then {
            Then::GoOn => {}
            Then::Stop => self.stop_requested = true,
            Then::Drain => self.drain(),
        }
        self.savepoints.waiting.push_back((wanted, place));
    }

    /// Tells all sources to end: what follows is the end of any job, only that there is more to read.
    pub(super) fn drain(&mut self) {
        self.savepoints.draining = true;
        for region in 0..self.regions.len() {
            self.drain_sources(region);
        }
    }

    /// Tells the sources of a region to end, if the job is being drained.
    pub(super) fn drain_sources(&self, region: usize) {
        if !self.savepoints.draining || self.regions[region].phase != Phase::Running {
            return;
        }
        for task in &self.regions[region].tasks {
            if self.plan.node_of(*task).kind == ActorKind::Source
                && let Some(handle) = &self.tasks[task.0 as usize].handle
            {
                (handle.0)(Control::Drain);
            }
        }
    }

    /// The manifest of this checkpoint is there: if it is to be a savepoint, its files are copied, beside the control
    /// plane.
    pub(super) fn copy_savepoint(&mut self, checkpoint: u64, manifest: &Arc<Manifest>) {
        let Some((_, wanted, place)) = self.savepoints.making.take_if(|(id, ..)| *id == checkpoint) else {
            return;
        };
        let unfinished = self.unfinished == Some(checkpoint);
        let Some((wanted, place)) = self.savepoints.suited(unfinished, (wanted, place)) else { return };
        self.savepoints.copying = Some((checkpoint, wanted));
        let (store, manifest) = (self.store.clone(), Arc::clone(manifest));
        let surroundings = self.host.surroundings().clone();
        let pool = Arc::clone(&surroundings.pool);
        pool.run(Box::new(move || {
            let from = SnapshotPlace::from(Arc::clone(store.objects()));
            let written = write_savepoint(&manifest, &from, &place).map_err(|error| Unread::from(&error));
            let bytes = written.map(|()| manifest.files().map(|file| file.len).sum());
            surroundings.events.event(Event::Copied { checkpoint, bytes });
        }));
    }

    /// The files of a savepoint are copied, or could not be.
    pub(super) fn copied(&mut self, checkpoint: u64, bytes: Result<u64, Unread>) {
        let Some((_, wanted)) = self.savepoints.copying.take_if(|(id, _)| *id == checkpoint) else { return };
        let Wanted { uri, then, reply } = wanted;
        self.has_read(bytes.as_ref().err());
        reply(match bytes {
            Ok(bytes) => {
                tracing::info!(uri = %shown(&uri), checkpoint, bytes, "the savepoint is complete");
                Ok(Savepoint { uri, checkpoint, bytes })
            }
            Err(Unread { reason, .. }) => {
                tracing::warn!(uri = %shown(&uri), checkpoint, reason, "the savepoint could not be written");
                let after = match then {
                    Then::GoOn => "the job goes on".to_string(),
                    _ => format!(
                        "the job ends all the same, and goes on from checkpoint {checkpoint} when it is started again"
                    ),
                };
                Err(Error::state(format!("the savepoint to {uri} could not be written: {reason}; {after}")))
            }
        });
    }

    /// The job is over: whoever waits for a savepoint waits in vain.
    pub(super) fn drop_savepoints(&mut self) {
        let Savepoints { waiting, making, copying, .. } = std::mem::take(&mut self.savepoints);
        let waiting = waiting.into_iter().map(|(wanted, _)| wanted);
        let others = making.map(|(_, wanted, _)| wanted).into_iter().chain(copying.map(|(_, wanted)| wanted));
        for wanted in waiting.chain(others) {
            (wanted.reply)(Err(Error::state(format!(
                "the job ended before the savepoint to {} was made",
                wanted.uri
            ))));
        }
    }

    /// Every region has a checkpoint of its own: the savepoint that the job began at and owns is not needed any more.
    pub(super) fn remove_claimed(&mut self) {
        let Some((place, which)) = self.savepoints.claimed.take() else { return };
        self.host.surroundings().pool.run(Box::new(move || {
            let folder = place.location();
            let folder = shown(folder.display());
            match watershed_state::remove_savepoint(&place, &which) {
                Ok(false) => {}
                Ok(true) => tracing::info!(%folder, "the savepoint that the job began at is removed"),
                Err(error) => {
                    let error = shown(error);
                    tracing::warn!(%folder, %error, "a savepoint that is not needed could not be removed");
                }
            }
        }));
    }
}
