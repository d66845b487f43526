//! Making checkpoints: when, with whom, and what follows.

use std::collections::BTreeSet;
use std::sync::Arc;

use watershed_actors::{Control, TaskId, nanos_of};
use watershed_state::bug::{self, Bug};
use watershed_state::{InstancePart, Manifest, OperatorPart, SavedPart, StoreError, hash_canary, shown};

use crate::attempts::AttemptOutcome;
use crate::error::Error;
use crate::event::{Event, Stored};
use crate::master::Master;
use crate::master::garbage::Kept;
use crate::master::ledger::{Acknowledged, Pending, Purpose, Written};
use crate::master::region::Phase;
use crate::outcome::End;
use crate::startup::CHECKPOINT_BLOCK;
use crate::tree::ActorKind;
use crate::tree::CheckpointNode;

/// How long to wait after a failed last checkpoint before the next try.
const RETRY_NANOS: u64 = 1_000_000_000;

/// How long to wait after a checkpoint that was to be the last, and was not, before the next try.
const LAST_AGAIN_NANOS: u64 = 10_000_000_000;

const NANOS_OF_MS: u64 = 1_000_000;

/// What a timeout of checkpoints grows to, and how often it doubles at most.
const GROWN_TIMEOUT_NANOS: u64 = 60_000_000_000;
const GROWTH_MAX: u32 = 40;

impl Master {
    /// When a checkpoint is due or one that is being made is to be given up.
    pub(super) fn checkpoint_alarm(&self) -> u64 {
        if let Some((_, again)) = self.unsettled {
            return again;
        }
        if self.rescale_holds_checkpoints() {
            return u64::MAX;
        }
        match self.ledger.collecting() {
            Some(pending) => pending.since_nanos.saturating_add(self.checkpoint_timeout()),
            None if self.ledger.is_idle() && self.closing.is_none() && self.can_take_part().is_some() => {
                self.checkpoint_due
            }
            None => u64::MAX,
        }
    }

    /// How long the checkpoint that is being made may take. One too short for any would keep a job from ever ending, so
    /// each that was given up for it gives the next one twice as long.
    fn checkpoint_timeout(&self) -> u64 {
        let timeout = nanos_of(self.config.checkpoint_timeout);
        let grown = timeout.saturating_mul(1 << self.late_checkpoints.min(GROWTH_MAX));
        grown.min(timeout.max(GROWN_TIMEOUT_NANOS))
    }

    /// Begins a checkpoint if there is a reason to, or gives one up that takes too long.
    pub(super) fn advance_checkpoints(&mut self, now: u64) {
        if let Some((manifest, again)) = &self.unsettled
            && now >= *again
        {
            let manifest = Arc::clone(manifest);
            self.store_manifest(manifest);
        }
        if let Some(pending) = self.ledger.collecting()
            && now.saturating_sub(pending.since_nanos) >= self.checkpoint_timeout()
        {
            let id = pending.id;
            let missing: Vec<String> = self.ledger.missing().map(|task| self.plan.name_of(task)).collect();
            self.abort_checkpoint(id, &format!("it took too long; still missing: {}", missing.join(", ")));
            self.late_checkpoints += 1;
        }
        if !self.ledger.is_idle() || self.closing.is_some() || self.rescale_holds_checkpoints() {
            return;
        }
        let Some(regions) = self.can_take_part() else { return };
        let all_running = regions.len() == self.regions.len();
        let any_ended = bug::is(Bug::EndsWithFirstSource) && self.sources().any(|task| self.has_ended(task));
        let all_ended = all_running && (any_ended || self.sources().all(|task| self.has_ended(task)));
        let retrying = self.ledger.failures() > 0 && now < self.checkpoint_due;
        let purpose = if self.stop_requested && all_running && !retrying {
            Purpose::Stop
        } else if all_running && self.rescale_is_due() {
            // Before the last one: who has asked for it by then has it done.
            Purpose::Rescale
        } else if all_ended && !retrying && (self.unfinished.is_none() || now >= self.checkpoint_due) {
            Purpose::Final
        } else if all_running && self.savepoints.is_due() {
            Purpose::Savepoint
        } else if now >= self.checkpoint_due {
            Purpose::Periodic
        } else {
            return;
        };
        if let Err(error) = self.begin_checkpoint(purpose, &regions, now) {
            self.checkpoint_cannot_begin(&error);
            self.ledger.failed_to_begin();
            self.attempt_could_not_begin(purpose, error.to_string());
            self.last_trouble = Some(format!("a checkpoint could not begin: {error}"));
            if purpose == Purpose::Rescale {
                self.call_off_rescale(&format!("its checkpoint could not begin: {error}"));
            }
            self.schedule_next(now);
        }
    }

    /// The regions that a checkpoint would be made with: those at work. `None` if it has to wait: for a region that is
    /// starting, or for one that is down and has nothing to contribute.
    fn can_take_part(&self) -> Option<Vec<usize>> {
        let mut regions = Vec::new();
        for (index, region) in self.regions.iter().enumerate() {
            match &region.phase {
                Phase::Running => regions.push(index),
                Phase::Starting { .. } => return None,
                Phase::Stopping { .. } | Phase::Backoff { .. } | Phase::Loading | Phase::Ended => {
                    let fresh = self.origin_checkpoint.is_none();
                    if region.parts.is_none() && !fresh {
                        return None;
                    }
                }
            }
        }
        (!regions.is_empty()).then_some(regions)
    }

    fn sources(&self) -> impl Iterator<Item = TaskId> + '_ {
        let tasks = (0..self.tasks.len()).map(|index| TaskId(index as u32));
        tasks.filter(|task| self.plan.node_of(*task).kind == ActorKind::Source)
    }

    fn has_ended(&self, source: TaskId) -> bool {
        self.regions[self.plan.task(source).region].ended_sources.contains(&source)
    }

    fn begin_checkpoint(&mut self, purpose: Purpose, regions: &[usize], now: u64) -> Result<(), StoreError> {
        let id = self.next_checkpoint + 1;
        if id > self.identity.reserved_checkpoints && !bug::is(Bug::CheckpointIdsNotReserved) {
            // Ids are reserved on disk in blocks: none is ever used twice, not even that of a checkpoint given up.
            let mut identity = self.identity.clone();
            identity.reserved_checkpoints = id + CHECKPOINT_BLOCK;
            identity.newest = self.newest_here();
            self.store.save_identity(&identity)?;
            self.identity = identity;
        }
        self.next_checkpoint = id;
        self.store.prepare(id)?;
        let tasks: BTreeSet<TaskId> =
            regions.iter().flat_map(|region| self.regions[*region].tasks.iter().copied()).collect();
        tracing::debug!(checkpoint = id, ?purpose, "a checkpoint begins");
        let trigger = if purpose == Purpose::Stop { Control::TriggerLast(id) } else { Control::Trigger(id) };
        for task in self.sources().filter(|task| tasks.contains(task)).collect::<Vec<_>>() {
            self.tell(task, trigger);
        }
        for task in &tasks {
            let life = &mut self.tasks[task.0 as usize];
            life.records.checkpoint_begins(life.counters.records());
        }
        self.savepoints.checkpoint_begins(id, purpose);
        if purpose == Purpose::Rescale {
            self.rescale_checkpoint_begins(id);
        }
        self.ledger.begin(id, purpose, now, tasks);
        self.attempts.begins(Some(id), purpose, self.host.surroundings().clock.wall_ms());
        Ok(())
    }

    pub(super) fn tell(&self, task: TaskId, control: Control) {
        if let Some(handle) = &self.tasks[task.0 as usize].handle {
            (handle.0)(control);
        }
    }

    /// A part is on disk; with the last one the manifest can be written.
    pub(super) fn acknowledged(&mut self, task: TaskId, checkpoint: u64, part: SavedPart) {
        let before = self.part_before(task).map(|before| before.checkpoint);
        if part.base.is_some() && part.base != before {
            // It would be a bug: only what is complete is ever added to, and then it is the newest.
            let name = self.plan.name_of(task);
            self.abort_checkpoint(
                checkpoint,
                &format!("{name} has saved changes to {:?}, not {before:?}", part.base),
            );
            return;
        }
        let now = self.now();
        let Acknowledged::Complete(pending) = self.ledger.acknowledge(task, checkpoint, part, now) else {
            return;
        };
        if bug::is(Bug::CommitsBeforeManifest) {
            pending.parts.keys().for_each(|task| self.tell(*task, Control::Complete(checkpoint)));
        }
        self.store_manifest(Arc::new(self.manifest(&pending)));
    }

    /// Writes a manifest beside the control plane. One that fails is taken back, so that it is known not to be there.
    fn store_manifest(&mut self, manifest: Arc<Manifest>) {
        self.unsettled = Some((Arc::clone(&manifest), u64::MAX));
        let (store, surroundings) = (self.store.clone(), self.host.surroundings().clone());
        let pool = Arc::clone(&surroundings.pool);
        pool.run(Box::new(move || {
            let checkpoint = manifest.checkpoint;
            let stored = match store.commit(&manifest) {
                Ok(()) => Stored::Complete,
                // What is in that place now is not the job's to remove.
                Err(error @ StoreError::TakenAway { .. }) => {
                    Stored::TakenAway(watershed_actors::chain_of(&error))
                }
                Err(error) => {
                    let is_broken = matches!(error, StoreError::Damaged { .. });
                    let failed = if is_broken { Stored::Broken } else { Stored::Failed };
                    let reason = watershed_actors::chain_of(&error);
                    let keeps = bug::is(Bug::FailedManifestNotRetracted);
                    match if keeps { Ok(()) } else { store.retract(checkpoint) } {
                        Ok(()) => failed(reason),
                        Err(error @ StoreError::TakenAway { .. }) => {
                            Stored::TakenAway(watershed_actors::chain_of(&error))
                        }
                        Err(_) if bug::is(Bug::UnknownManifestTakenForFailed) => failed(reason),
                        Err(_) => Stored::Unknown(reason),
                    }
                }
            };
            surroundings.events.event(Event::Stored { checkpoint, stored });
        }));
    }

    /// The manifest: what was just written, and for a region that is down what it wrote last.
    fn manifest(&self, pending: &Pending) -> Manifest {
        let operators = self.plan.nodes.iter().enumerate().map(|(index, node)| {
            let instances = self.plan.tasks_of(index).map(|task| self.part_of(task, pending)).collect();
            OperatorPart {
                name: node.name.to_string(),
                kind: node.kind.name().to_string(),
                key_groups: if node.keyed { self.config.key_groups.count() } else { 0 },
                parallelism: node.parallelism as u32,
                instances,
            }
        });
        Manifest {
            lineage: self.identity.lineage.clone(),
            checkpoint: pending.id,
            run: self.next_run - 1,
            created_ms: self.host.surroundings().clock.wall_ms(),
            duration_ms: pending.parts.values().map(|written| written.after_nanos / NANOS_OF_MS).max(),
            topology: self.plan.topology.clone(),
            // A source that was told to end has more to read.
            finished: pending.purpose == Purpose::Final
                && !self.savepoints.draining
                && self.unfinished != Some(pending.id),
            event_time_reset: false,
            hash_canary: hash_canary(),
            operators: operators.collect(),
        }
    }

    fn part_of(&self, task: TaskId, pending: &Pending) -> InstancePart {
        let planned = self.plan.task(task);
        let instance = planned.instance as u32;
        let before = self.part_before(task);
        if let Some(Written { part, after_nanos }) = pending.parts.get(&task) {
            let part = part.clone().into_part(instance, pending.id, before);
            let part = part.expect("what is acknowledged adds to the newest complete checkpoint");
            return InstancePart { duration_ms: Some(after_nanos / NANOS_OF_MS), ..part };
        }
        let before = before.filter(|_| !bug::is(Bug::RegionThatIsDownForgotten));
        before.cloned().unwrap_or_else(|| InstancePart::nothing(instance, pending.id))
    }

    /// What the newest complete checkpoint has of it.
    fn part_before(&self, task: TaskId) -> Option<&InstancePart> {
        self.regions[self.plan.task(task).region].parts.as_ref()?.get(&task)
    }

    /// The manifest is there, or is not.
    pub(super) fn stored(&mut self, checkpoint: u64, stored: &Stored) {
        let now = self.now();
        if let Stored::Unknown(reason) = stored {
            return self.store_again(checkpoint, reason, now);
        }
        let manifest = self.unsettled.take();
        let Some(pending) = self.ledger.stored(checkpoint, *stored == Stored::Complete) else { return };
        self.schedule_next(now);
        if *stored != Stored::Complete {
            return self.not_stored(checkpoint, stored);
        }
        let took_ms = now.saturating_sub(pending.since_nanos) / NANOS_OF_MS;
        tracing::debug!(checkpoint, ms = took_ms, "checkpoint complete");
        self.note_newest(checkpoint, took_ms, manifest.as_ref().map(|(manifest, _)| &**manifest));
        if let Some((manifest, _)) = &manifest {
            self.copy_savepoint(checkpoint, manifest);
        }
        if bug::is(Bug::RescaledFromOlderCheckpoint) {
            self.read_for_rescale(checkpoint);
        }
        self.regions_restart_from(&pending);
        self.follow(&pending);
        self.collect();
    }

    /// The disk does not say whether the manifest is there: nothing may build on either, so it is tried again until it
    /// is one.
    fn store_again(&mut self, checkpoint: u64, reason: &str, now: u64) {
        tracing::warn!(
            checkpoint,
            reason,
            "it is not known whether a checkpoint is stored; it is stored again"
        );
        self.last_trouble =
            Some(format!("it is not known whether checkpoint {checkpoint} is stored: {reason}"));
        if let Some((_, again)) = &mut self.unsettled {
            *again = now + RETRY_NANOS;
        }
    }

    /// Notes that a checkpoint is complete.
    fn note_newest(&mut self, checkpoint: u64, took_ms: u64, manifest: Option<&Manifest>) {
        self.newest = Some(checkpoint);
        (self.last_trouble, self.late_checkpoints) = (None, 0);
        self.poison.letters.complete(checkpoint);
        let completed_ms = self.host.surroundings().clock.wall_ms();
        let bytes = manifest.map_or(0, |manifest| manifest.files().map(|part| part.len).sum());
        let new_bytes = manifest.map_or(0, Manifest::new_bytes);
        self.newest_made = Some(CheckpointNode {
            id: checkpoint,
            completed_ms,
            duration_ms: Some(took_ms),
            bytes,
            new_bytes,
        });
        self.attempts.ends(AttemptOutcome::Complete { bytes, new_bytes }, completed_ms);
    }

    /// Each region with all of its parts in a complete checkpoint restarts from there from now on.
    fn regions_restart_from(&mut self, pending: &Pending) {
        for region in 0..self.regions.len() {
            let tasks = self.regions[region].tasks.clone();
            if !tasks.iter().all(|task| pending.parts.contains_key(task)) {
                continue;
            }
            let parts = tasks.iter().map(|task| (*task, self.part_of(*task, pending))).collect();
            if self.regions[region].parts.is_none() || !bug::is(Bug::RestartsFromOlderCheckpoint) {
                self.regions[region].parts = Some(parts);
            }
            self.part_is_there(region);
            for task in tasks {
                self.tell(task, Control::Complete(pending.id));
            }
        }
        if self.regions.iter().all(|region| region.parts.is_some()) {
            self.origin.clear();
            self.origin_checkpoint = None;
            self.remove_claimed();
        }
    }

    /// Does what a complete checkpoint was made for.
    fn follow(&mut self, pending: &Pending) {
        let checkpoint = pending.id;
        let all_running = self.regions.iter().all(|region| region.phase == Phase::Running);
        let unfinished = self.unfinished == Some(checkpoint);
        match pending.purpose {
            Purpose::Periodic | Purpose::Savepoint => {}
            Purpose::Rescale => self.read_for_rescale(checkpoint),
            // One that failed meanwhile has not committed: it comes back, and then there is another last checkpoint.
            Purpose::Final | Purpose::Stop if !all_running => {}
            // It was not the last: timers that fire at the end of the input set new ones.
            Purpose::Final if unfinished => {}
            Purpose::Final if self.savepoints.draining => self.closing = Some((checkpoint, End::Stopped)),
            Purpose::Final => self.closing = Some((checkpoint, End::Finished)),
            Purpose::Stop => self.closing = Some((checkpoint, End::Stopped)),
        }
    }

    /// The manifest is not there. What was prepared for it stays prepared, for the next one.
    fn not_stored(&mut self, checkpoint: u64, stored: &Stored) {
        let (Stored::Failed(reason) | Stored::Broken(reason) | Stored::TakenAway(reason)) = stored else {
            return;
        };
        tracing::warn!(
            checkpoint,
            reason,
            "{}",
            self.then("a checkpoint could not be stored; the job goes on")
        );
        self.last_trouble = Some(format!("checkpoint {checkpoint} could not be stored: {reason}"));
        self.savepoints.checkpoint_failed(checkpoint, reason);
        self.rescale_checkpoint_failed(checkpoint, reason);
        self.attempt_failed(reason);
        match stored {
            Stored::Broken(reason) => self.save_all(reason),
            Stored::TakenAway(_) => self.folder_is_gone(),
            _ => {}
        }
        self.collect();
    }

    /// Removes what no checkpoint that is kept refers to, and what is left of those that were given up.
    fn collect(&self) {
        let mut pinned: Vec<u64> = self.ledger.current().into_iter().chain(self.origin_checkpoint).collect();
        pinned.extend(self.savepoints.copying());
        pinned.extend(
            self.regions
                .iter()
                .flat_map(|region| region.parts.iter().flatten())
                .map(|(_, part)| part.checkpoint),
        );
        let kept = Kept { retain: self.config.retain, pinned, begun: self.next_checkpoint };
        let store = self.store.clone();
        self.garbage.remove(&*self.host.surroundings().pool, kept, move |Kept { retain, pinned, begun }| {
            if let Err(error) = store.collect(retain, &pinned, begun) {
                tracing::warn!(error = %shown(error), "old checkpoints could not be collected");
            }
        });
    }

    /// A task cannot make its part. The checkpoint at the end of all input is not tried again if nothing changes any
    /// more that could help.
    pub(super) fn declined(&mut self, task: TaskId, checkpoint: u64, reason: &str, lasts: bool) {
        let pending = self.ledger.collecting().filter(|pending| pending.id == checkpoint);
        let is_last = pending.is_some_and(|pending| pending.purpose == Purpose::Final);
        let reason = format!("`{}` declined it: {reason}", self.plan.name_of(task));
        self.abort_checkpoint(checkpoint, &reason);
        if lasts && is_last {
            self.give_up(Error::state(format!(
                "the last checkpoint cannot be made, and trying again would not change that: {reason}; what was processed since the \
                 checkpoint before is processed again by the next start"
            )));
        }
    }

    /// Gives up the checkpoint that is being made.
    pub(super) fn abort_checkpoint(&mut self, checkpoint: u64, reason: &str) {
        if self.ledger.abort(checkpoint).is_none() {
            return;
        }
        tracing::warn!(checkpoint, reason, "{}", self.then("a checkpoint was given up; the job goes on"));
        self.attempt_failed(reason);
        self.last_trouble = Some(format!("checkpoint {checkpoint} was given up: {reason}"));
        self.savepoints.checkpoint_failed(checkpoint, reason);
        self.rescale_checkpoint_failed(checkpoint, reason);
        self.next_checkpoint -= u64::from(bug::is(Bug::CheckpointIdReused));
        for index in 0..self.tasks.len() {
            self.tell(TaskId(index as u32), Control::Abort(checkpoint));
        }
        self.schedule_next(self.now());
        self.collect();
    }

    fn schedule_next(&mut self, now: u64) {
        let interval = self.config.checkpoint_interval.map_or(u64::MAX, nanos_of);
        let wait = if self.ledger.failures() > 0 { interval.min(RETRY_NANOS) } else { interval };
        let wait = if self.unfinished.is_some() { wait.min(LAST_AGAIN_NANOS) } else { wait };
        self.checkpoint_due = now.saturating_add(wait);
    }
}
