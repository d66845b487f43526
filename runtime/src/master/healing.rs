//! What is done when files of checkpoints, or all of them, are taken away while the job runs: what it has in memory is
//! saved anew.

use watershed_actors::{Control, TaskId};
use watershed_state::bug::{self, Bug};
use watershed_state::{StateBackend, StoreError, shown};

use crate::error::Error;
use crate::event::Unread;
use crate::master::Master;
use crate::master::region::Phase;

impl Master {
    /// Files of the newest checkpoint were read while the job runs, or could not be.
    pub(super) fn has_read(&self, unread: Option<&Unread>) {
        if let Some(Unread { reason, is_damaged: true }) = unread {
            self.save_all(reason);
        }
    }

    /// The newest complete checkpoint that is the job's own: what it began with may be a savepoint.
    pub(super) fn newest_here(&self) -> Option<u64> {
        if self.ledger.completed() > 0 { self.newest } else { self.identity.newest }
    }

    /// The next checkpoint holds everything, as what it would add to is lost.
    pub(super) fn save_all(&self, reason: &str) {
        if bug::is(Bug::LostFilesNotForgotten) {
            return;
        }
        tracing::warn!(reason = %shown(reason), "files of a checkpoint are lost; the next checkpoint holds everything");
        for index in 0..self.tasks.len() {
            self.tell(TaskId(index as u32), Control::SaveAll);
        }
    }

    /// A checkpoint cannot begin. If the folder was taken away, it is made again for the next try.
    pub(super) fn checkpoint_cannot_begin(&mut self, error: &StoreError) {
        if !matches!(error, StoreError::TakenAway { .. }) {
            let what = self.then("a checkpoint could not begin; the job goes on");
            tracing::warn!(error = %shown(error), "{what}");
            return;
        }
        self.folder_is_gone();
    }

    /// The checkpoint folder was removed or moved. If nobody has begun in its place, the job takes it again and saves
    /// all that it has. It ends, and writes nothing any more, if somebody has, or if what it has not in memory was in
    /// there: then who puts the folder back finds nothing new in its place.
    pub(super) fn folder_is_gone(&mut self) {
        let folder = self.store.objects().location("");
        let folder = folder.display();
        if self.has_lost_databases() {
            return self.give_up(Error::state(format!(
                "the checkpoint folder {folder} was removed or moved while the job was using it, and with it the databases \
                 that hold its state: put it back and start the job again, or start from a savepoint in another folder"
            )));
        }
        if let Some(region) = self.region_with_lost_files() {
            return self.give_up(Error::state(format!(
                "the checkpoint folder {folder} was removed or moved while the job was using it, and region {region} was about \
                 to restart from files in there: put the folder back and start the job again"
            )));
        }
        let mut identity = self.identity.clone();
        identity.newest = self.newest_here();
        match self.store.take_again(&identity, self.poison.skips()) {
            Ok(()) => {
                tracing::error!(
                    folder = %shown(&folder),
                    "the checkpoint folder was removed or moved while the job was using it; it was made again, and the next \
                     checkpoint holds everything. Until that is complete the job cannot be restored"
                );
                self.identity = identity;
                self.folders_made += 1;
                self.save_all("the checkpoint folder is new");
            }
            Err(error @ StoreError::TakenOver { .. }) => {
                // What is there is another job's.
                self.scratch.leave_behind();
                self.give_up(error.into());
            }
            Err(error) => {
                tracing::error!(
                    folder = %shown(&folder),
                    error = %shown(error),
                    "the checkpoint folder was removed or moved while the job was using it, and cannot be made again yet; the \
                     job goes on"
                );
            }
        }
    }

    /// A region that is down and has its state in files of the checkpoint folder, not in memory.
    fn region_with_lost_files(&self) -> Option<usize> {
        self.regions.iter().position(|region| {
            let is_down =
                matches!(region.phase, Phase::Stopping { .. } | Phase::Backoff { .. } | Phase::Loading);
            let mut parts = region.parts.iter().flat_map(|parts| parts.values());
            is_down && parts.any(|part| part.file.is_some())
        })
    }

    /// Whether some of the state is in databases whose folder is gone.
    fn has_lost_databases(&self) -> bool {
        let in_database = |backend: &StateBackend| !matches!(backend, StateBackend::Memory);
        self.plan.nodes.iter().any(|node| in_database(&node.state)) && !self.scratch.folder().exists()
    }
}
