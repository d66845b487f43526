//! What the control plane does about poison records.

use std::sync::Arc;

use tracing::field::display;
use watershed_actors::{Failure, Oversight, TaskId};
use watershed_state::{StoreError, shown};

use crate::host::Host;
use crate::master::Master;
use crate::poison::{Finding, Moment};

impl Master {
    /// Instructions for a task that is about to be made.
    pub(super) fn oversight(&mut self, task: TaskId) -> Oversight {
        let region = self.plan.task(task).region;
        let checkpoint = self.begins_at(region);
        self.poison.letters.begins_again(task);
        let life = &mut self.tasks[task.0 as usize];
        if let Some((before, _)) = &life.oversight {
            let covered = life.records.of_run_before_checkpoint();
            self.poison.begins(task, before.checkpoint, covered, checkpoint);
        }
        life.records.run_begins(life.counters.records());
        if let Host::Simulated(host) = &self.host
            && let Some(script) = host.script()
        {
            script.leaves_out(&self.poison.list);
        }
        self.poison.oversight(&self.plan, &self.identity.lineage, task, checkpoint)
    }

    /// What a failure means: see [`Finding`].
    pub(super) fn judge(&mut self, task: TaskId, failure: &Failure) -> Finding {
        let life = &self.tasks[task.0 as usize];
        let counted = life.counters.records();
        let began_with = life.oversight.as_ref().map_or(0, |(oversight, _)| oversight.checkpoint);
        let of_run = Moment { checkpoint: began_with, records: life.records.since_run(counted) };
        let checkpoint = self.begins_at(self.plan.task(task).region);
        let moment = Moment { checkpoint, records: life.records.since_checkpoint(counted) };
        let finding = self.poison.note((&self.plan, &self.identity.lineage), task, failure, (of_run, moment));
        if let Some(suspect) = failure.blame.as_ref().and_then(|blame| blame.suspect.as_ref()) {
            let (record, task) = (shown(&suspect.evidence.payload), self.plan.name_of(task));
            let key = failure.key.as_ref().map(|key| display(shown(key)));
            tracing::warn!(task, %record, key, ?finding, "a record is under suspicion");
        }
        finding
    }

    /// Sees to it that who is convicted is on the list before the region comes back.
    ///
    /// # Errors
    /// If the list cannot be written.
    pub(super) fn write_down_convicts(&mut self, region: usize) -> Result<(), StoreError> {
        let checkpoint = self.begins_at(region);
        let plan = Arc::clone(&self.plan);
        self.poison.write_down(&plan, (&self.store, &self.identity.lineage), region, checkpoint)
    }

    /// A region's part of a checkpoint is there.
    pub(super) fn part_is_there(&mut self, region: usize) {
        for task in &self.regions[region].tasks {
            let records = &mut self.tasks[task.0 as usize].records;
            records.checkpoint_is_there();
            self.poison.ran(&self.plan, *task, records.of_run_before_checkpoint());
        }
    }

    /// The checkpoint that the next run of a region begins with; 0 for the beginning.
    fn begins_at(&self, region: usize) -> u64 {
        let parts = self.regions[region].parts.as_ref();
        let part = parts.and_then(|parts| parts.values().next()).map(|part| part.checkpoint);
        part.or(self.origin_checkpoint).unwrap_or(0)
    }
}
