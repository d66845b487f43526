//! What the log says of a job as a whole: where it begins, how it ends, and what a restart has changed.

use watershed_state::{iso_time, shown};

use crate::error::Error;
use crate::master::Master;
use crate::outcome::{End, Outcome};

impl Master {
    /// Says what the job begins with.
    pub(super) fn announce_start(&self) {
        let (job, lineage, run) = (&*self.plan.topology, &*self.identity.lineage, self.process_run);
        let Some(made) = &self.newest_made else {
            tracing::info!(
                job,
                lineage,
                run,
                "there is no checkpoint to resume from: the job begins at the start of its input"
            );
            return;
        };
        let completed_at = iso_time(made.completed_ms);
        let age_ms = self.wall_ms().saturating_sub(made.completed_ms).max(0);
        let savepoint = self.identity.began_with.as_ref().zip(self.identity.began_from.as_ref());
        let savepoint = savepoint.filter(|(with, _)| {
            (with.checkpoint, with.created_ms) == (made.id, made.completed_ms)
                && *with.lineage != *self.identity.lineage
        });
        if let Some((_, uri)) = savepoint {
            tracing::info!(
                job,
                lineage,
                run,
                savepoint = %shown(uri),
                checkpoint = made.id,
                completed_at,
                age_ms,
                bytes = made.bytes,
                "the job begins from a savepoint"
            );
        } else {
            tracing::info!(
                job,
                lineage,
                run,
                checkpoint = made.id,
                completed_at,
                age_ms,
                bytes = made.bytes,
                "the job resumes from its newest checkpoint"
            );
        }
    }

    /// Says how the job has ended.
    pub(super) fn announce_end(&self, result: &Result<Outcome, Error>) {
        let job = &*self.plan.topology;
        let kept = self.kept();
        let Ok(outcome) = result else {
            // What was wrong has been said.
            tracing::error!(job, checkpoint = self.newest, "the job has failed. {kept}");
            return;
        };
        let Outcome { end, checkpoint, checkpoints, restarts, .. } = outcome;
        tracing::info!(job, checkpoint, checkpoints, restarts, "{}", what_it_means(*end, &kept));
    }

    /// Writes to the log what a restart has changed: its region, and the instances of it that have failed since the
    /// tree was written last.
    pub(super) fn log_changes(&mut self, region: usize) {
        let mut tree = self.tree();
        tree.regions.retain(|node| node.region == region);
        for operator in tree.regions.iter_mut().flat_map(|region| &mut region.operators) {
            let name = operator.operator.clone();
            operator.instances.retain(|node| {
                let tasks = self.plan.tasks.iter().zip(&self.tasks);
                let mut of_instance = tasks.filter(|(planned, _)| {
                    planned.instance == node.instance && *self.plan.nodes[planned.node.0].name == *name
                });
                of_instance.next().is_none_or(|(_, life)| life.failures > life.logged_failures)
            });
        }
        for region in &mut tree.regions {
            region.operators.retain(|operator| !operator.instances.is_empty());
        }
        // Without the line of the job.
        for line in tree.lines().iter().skip(1) {
            tracing::info!(target: "watershed::tree", "{line}");
        }
        self.failures_are_logged();
    }

    /// All failures so far are in the log.
    pub(super) fn failures_are_logged(&mut self) {
        for life in &mut self.tasks {
            life.logged_failures = life.failures;
        }
    }
}

/// How a job has ended, and what follows from it; `kept` says what the next start goes on from.
fn what_it_means(end: End, kept: &str) -> String {
    let means = match end {
        End::Finished => "the job has finished: all input is read, and all output is there",
        End::AlreadyFinished => {
            "the job had finished before, and there is nothing new to read: files that were read to their end are not looked at \
             again, so that lines added to them are not read; new files are"
        }
        End::Stopped => return format!("the job has stopped. {kept}"),
        End::Cancelled => return format!("the job was cancelled, without a last checkpoint. {kept}"),
        End::Died => "the process of the job dies, as the simulation wants it",
    };
    means.to_string()
}
