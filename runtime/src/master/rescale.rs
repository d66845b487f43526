//! Rescaling: the job goes on from a fresh checkpoint with another number of instances of an operator.
//!
//! A checkpoint is made that all regions take part in. What it holds is read while the job is at work, and until then
//! the rescaling can be called off without anybody noticing. Then everything is stopped, and what the control plane
//! knows by task and region is replaced, as if another process began with that checkpoint: the same code divides state,
//! splits and committables, and runs that are over are told from new ones by the same number.

use std::collections::BTreeMap;
use std::sync::Arc;

use watershed_actors::{Restored, TaskId, chain_of, guard};
use watershed_state::bug::{self, Bug};
use watershed_state::{InstancePart, RescaledOperator, SavedInstance, shown};

use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::event::Unread;
use crate::event::WantedRescale;
use crate::master::loading::Read;
use crate::master::region::{Phase, Region};
use crate::master::rollback::budgets;
use crate::master::{Master, TaskLife};
use crate::plan::Plan;
use crate::rescale::Rescaled;
use crate::startup::RUN_BLOCK;

/// A rescaling that is under way.
pub(super) struct Rescaling {
    wanted: WantedRescale,
    /// How many instances there were.
    from: usize,
    plan: Arc<Plan>,
    /// What the next process has to know.
    rescaled: Vec<RescaledOperator>,
    stage: Stage,
}

/// How far it is.
enum Stage {
    /// A checkpoint of all regions is due.
    Due,
    /// This one is being made.
    Checkpoint(u64),
    /// It is complete, and what it holds is being read. Nothing may be committed beyond it.
    Reading { checkpoint: u64, checkpoint_ms: u64 },
    /// The old tasks are being stopped.
    Stopping { done: Done, saved: BTreeMap<usize, Vec<SavedInstance>> },
    /// The new tasks are on their way up.
    Starting(Done),
}

/// What the answer says in the end.
#[derive(Clone, Copy)]
struct Done {
    checkpoint: u64,
    checkpoint_ms: u64,
    stopped_at: u64,
}

impl Rescaling {
    /// How many tasks there will be.
    pub(super) fn task_count(&self) -> usize {
        self.plan.tasks.len()
    }

    fn describe(&self) -> String {
        let WantedRescale { operator, parallelism, .. } = &self.wanted;
        format!("`{operator}` is not rescaled to {parallelism} instances")
    }
}

impl Master {
    /// Somebody wants an operator to be rescaled.
    pub(super) fn wants_rescale(&mut self, wanted: WantedRescale) {
        let refused = |why: &str| Err(Error::config(why));
        if self.closing.is_some() || self.ending.is_some() || self.stop_requested || self.savepoints.draining
        {
            return (wanted.reply)(refused("the job is about to end: it is not rescaled any more"));
        }
        if let Some(other) = &self.rescaling {
            let operator = &other.wanted.operator;
            return (wanted.reply)(refused(&format!(
                "`{operator}` is being rescaled: ask again when it is done"
            )));
        }
        if self.savepoints.any() {
            return (wanted.reply)(refused("a savepoint is being made: ask again when it is done"));
        }
        let WantedRescale { operator, parallelism, .. } = &wanted;
        let planned = self.plan.rescaled(operator, *parallelism, &self.identity.rescaled, &self.config);
        let (plan, rescaled) = match planned {
            Ok(planned) => planned,
            Err(error) => return (wanted.reply)(Err(error)),
        };
        let node = self.plan.nodes.iter().find(|node| *node.name == *wanted.operator);
        let from = node.map_or(0, |node| node.parallelism);
        tracing::info!(operator, from, to = parallelism, "an operator is to be rescaled");
        self.rescaling = Some(Rescaling { wanted, from, plan: Arc::new(plan), rescaled, stage: Stage::Due });
    }

    /// Whether a checkpoint is to be made for it.
    pub(super) fn rescale_is_due(&self) -> bool {
        matches!(&self.rescaling, Some(Rescaling { stage: Stage::Due, .. }))
    }

    /// Whether no other checkpoint may be made, as the job goes on from the one that is there.
    pub(super) fn rescale_holds_checkpoints(&self) -> bool {
        let holds =
            |rescaling: &Rescaling| matches!(rescaling.stage, Stage::Reading { .. } | Stage::Stopping { .. });
        self.rescaling.as_ref().is_some_and(holds) && !bug::is(Bug::CheckpointsDuringRescale)
    }

    /// This checkpoint is being made for it.
    pub(super) fn rescale_checkpoint_begins(&mut self, checkpoint: u64) {
        if let Some(Rescaling { stage, .. }) = &mut self.rescaling {
            *stage = Stage::Checkpoint(checkpoint);
        }
    }

    /// A checkpoint was given up; if it was made for this, nobody waits for another.
    pub(super) fn rescale_checkpoint_failed(&mut self, checkpoint: u64, reason: &str) {
        if matches!(&self.rescaling, Some(Rescaling { stage: Stage::Checkpoint(id), .. }) if *id == checkpoint)
        {
            self.call_off_rescale(&format!("its checkpoint was given up: {reason}"));
        }
    }

    /// The checkpoint is complete: what it holds is read while the job is at work.
    pub(super) fn read_for_rescale(&mut self, checkpoint: u64) {
        let Some(rescaling) = &mut self.rescaling else { return };
        if !matches!(rescaling.stage, Stage::Checkpoint(id) if id == checkpoint) {
            return;
        }
        let checkpoint_ms = self.newest_made.as_ref().and_then(|made| made.duration_ms).unwrap_or(0);
        rescaling.stage = Stage::Reading { checkpoint, checkpoint_ms };
        let plan = Arc::clone(&rescaling.plan);
        let parts = self.regions.iter().filter_map(|region| region.parts.as_ref()).flatten();
        let parts: BTreeMap<TaskId, InstancePart> = parts.map(|(task, part)| (*task, part.clone())).collect();
        self.load(&parts, move |read| {
            let saved = read.and_then(|saved| fitting(&plan, saved).map_err(Unread::other));
            Event::ReadForRescale { checkpoint, saved }
        });
    }

    /// What the checkpoint holds was read: from here on there is no way back.
    pub(super) fn begin_rescale(&mut self, checkpoint: u64, saved: Result<Read, Unread>) {
        self.has_read(saved.as_ref().err());
        let Some(Rescaling { stage: Stage::Reading { checkpoint: id, checkpoint_ms }, rescaled, .. }) =
            &self.rescaling
        else {
            return;
        };
        if *id != checkpoint || self.ending.is_some() {
            return;
        }
        let (checkpoint_ms, mut identity) = (*checkpoint_ms, self.identity.clone());
        // A process that is killed from now on comes up with the new parallelism.
        identity.rescaled.clone_from(rescaled);
        identity.run = identity.run.max(self.next_run + RUN_BLOCK);
        let saved = saved.and_then(|saved| match self.store.save_identity(&identity) {
            Ok(()) => Ok(saved),
            Err(error) => Err(Unread::other(chain_of(&error))),
        });
        let saved = match saved {
            Ok(saved) => saved,
            Err(unread) => return self.call_off_rescale(&unread.reason),
        };
        self.identity = identity;
        for region in 0..self.regions.len() {
            self.stop_region(region, u64::MAX);
        }
        let done = Done { checkpoint, checkpoint_ms, stopped_at: self.now() };
        if let Some(rescaling) = &mut self.rescaling {
            rescaling.stage = Stage::Stopping { done, saved };
        }
    }

    /// Goes one step further, once all old tasks are gone or all new ones are at work.
    pub(super) fn advance_rescale(&mut self, now: u64) {
        let Some(Rescaling { stage, .. }) = &self.rescaling else { return };
        let is_gone = |region: &Region| matches!(region.phase, Phase::Backoff { .. });
        let is_running = |region: &Region| region.phase == Phase::Running;
        if matches!(stage, Stage::Stopping { .. }) && self.regions.iter().all(is_gone) {
            self.swap();
        } else if matches!(stage, Stage::Starting(_)) && self.regions.iter().all(is_running) {
            self.rescale_is_done(now);
        }
    }

    /// Everything begins anew with the new plan.
    fn swap(&mut self) {
        let Some(mut rescaling) = self.rescaling.take() else { return };
        let Stage::Stopping { done, saved } = rescaling.stage else { return };
        rescaling.stage = Stage::Starting(done);
        let before = std::mem::replace(&mut self.plan, Arc::clone(&rescaling.plan));
        self.rescaling = Some(rescaling);
        // Reserved with the identity.
        let run = self.next_run;
        self.next_run += 1;
        self.process_run = run;
        let from_this_process = bug::is(Bug::RescaledAsIfRestarted);
        let restored = |instances| Arc::new(Restored { instances, from_this_process, process_run: run });
        self.origin = saved.into_iter().map(|(node, instances)| (node, restored(instances))).collect();
        self.origin_checkpoint = Some(done.checkpoint);
        self.restarts_before += self.regions.iter().map(|region| region.restarts).sum::<u32>();
        self.regions = self.plan.regions.iter().map(|tasks| Region::new(tasks.clone(), run)).collect();
        self.escalation = budgets(&self.plan, &self.config, &self.identity.lineage);
        self.poison.rescaled(&before, &self.plan);
        self.host.rescaled(self.plan.task_names());
        let mut lives: Vec<Option<TaskLife>> =
            std::mem::take(&mut self.tasks).into_iter().map(Some).collect();
        let mut life_of = |task: usize| {
            let planned = self.plan.tasks[task];
            let same = planned.instance < before.nodes[planned.node.0].parallelism;
            let old = same.then(|| before.task_at(planned.node, planned.instance));
            old.and_then(|old| lives[old.0 as usize].take()).map(TaskLife::next).unwrap_or_default()
        };
        self.tasks = (0..self.plan.tasks.len()).map(&mut life_of).collect();
        tracing::info!(run, checkpoint = done.checkpoint, "the job goes on with another parallelism");
        self.launch_all();
    }

    fn rescale_is_done(&mut self, now: u64) {
        let Some(Rescaling { wanted, from, stage: Stage::Starting(done), .. }) = self.rescaling.take() else {
            return;
        };
        let Done { checkpoint, checkpoint_ms, stopped_at } = done;
        let stopped_ms = now.saturating_sub(stopped_at) / 1_000_000;
        let WantedRescale { operator, parallelism: to, reply } = wanted;
        tracing::info!(operator, from, to, checkpoint, stopped_ms, "an operator is rescaled");
        self.log_tree("after a rescale");
        if self.config.checkpoint_interval.is_none() {
            // What it began with is held in memory until there is another.
            self.checkpoint_due = now;
        }
        reply(Ok(Rescaled { operator, from, to, checkpoint, checkpoint_ms, stopped_ms }));
    }

    /// Something has failed. Before the old tasks are stopped the rescaling is off; after that the new ones come back
    /// as after any failure.
    pub(super) fn rescale_meets_failure(&mut self) {
        let is_off =
            |rescaling: &Rescaling| matches!(rescaling.stage, Stage::Checkpoint(_) | Stage::Reading { .. });
        if self.rescaling.as_ref().is_some_and(is_off) {
            self.call_off_rescale("a region failed meanwhile and is rolled back");
        }
    }

    /// Leaves everything as it is.
    pub(super) fn call_off_rescale(&mut self, reason: &str) {
        let Some(rescaling) = self.rescaling.take() else { return };
        let what = rescaling.describe();
        tracing::warn!(
            operator = %shown(&rescaling.wanted.operator),
            reason,
            "the rescaling is called off; the job goes on"
        );
        (rescaling.wanted.reply)(Err(Error::new(
            ErrorKind::State,
            format!("{what}: {reason}; the job goes on"),
        )));
    }

    /// The job is over: whoever waits for it waits in vain.
    pub(super) fn drop_rescale(&mut self) {
        if let Some(rescaling) = self.rescaling.take() {
            let what = rescaling.describe();
            (rescaling.wanted.reply)(Err(Error::new(
                ErrorKind::State,
                format!("{what}: the job has ended before"),
            )));
        }
    }
}

/// What was read, if each actor of the plan can take it over with the instances that it has there.
fn fitting(plan: &Plan, mut saved: Read) -> Result<Read, String> {
    for (index, instances) in &mut saved {
        let node = &plan.nodes[*index];
        let restored = Restored { instances: std::mem::take(instances), ..Restored::default() };
        let checked = guard(|| node.build.check_restored(&restored, node.parallelism));
        checked
            .map_err(|failure| failure.to_string())
            .and_then(|checked| checked.map_err(|error| error.to_string()))
            .map_err(|why| format!("`{}`: {why}", node.name))?;
        *instances = restored.instances;
    }
    Ok(saved)
}

impl TaskLife {
    /// What is known of the instance of the same number in the plan that follows.
    fn next(self) -> Self {
        let Self { counters, records, failures, last_failure, recent_failures, .. } = self;
        Self { counters, records, failures, last_failure, recent_failures, ..Self::default() }
    }
}
