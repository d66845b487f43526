//! Supervision: launching regions, fencing those that fail, and rolling them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use watershed_actors::{
    Control, Env, Failure, FailureKind, Instance, Restored, StateSetup, TaskId, guard, is_no_space, nanos_of,
};
use watershed_state::bug::{self, Bug};
use watershed_state::{StoreError, shown};

use crate::build::{BuildSettings, Endpoints, InstanceBuild, Launch, Launched};
use crate::error::Error;
use crate::escalation::Decision;
use crate::host::EventReporter;
use crate::master::region::Phase;
use crate::master::{CANCEL_GRACE, Master};
use crate::outcome::End;
use crate::startup::RUN_BLOCK;
use crate::tree::InstanceState;

impl Master {
    /// Makes all tasks of a region, the last actor first, as each needs to reach those behind it.
    pub(super) fn launch(&mut self, region: usize, restored: &BTreeMap<usize, Arc<Restored>>) {
        let plan = Arc::clone(&self.plan);
        let mut endpoints = Endpoints::new();
        let mut failed = None;
        let mut tasks = self.regions[region].tasks.clone();
        tasks.sort_by_key(|task| std::cmp::Reverse(plan.task(*task).node));
        for id in &tasks {
            let planned = plan.task(*id);
            let node = &plan.nodes[planned.node.0];
            let env = self.env(*id, region);
            self.tasks[id.0 as usize].counters = Arc::clone(&env.counters);
            self.tasks[id.0 as usize].oversight = Some((Arc::clone(&env.oversight), Arc::clone(&env.waker)));
            let settings = BuildSettings {
                limits: self.config.limits,
                credits: self.config.credits,
                key_groups: self.config.key_groups,
                watermark_interval: self.config.watermark_interval,
                // Virtual time has nothing to do with the times of records.
                clock: self.config.simulation.is_none().then(|| Arc::clone(&env.clock)),
                rejects: env.oversight.rejects.clone(),
            };
            let mut build = InstanceBuild::new(settings, &env, &plan.edges, &endpoints);
            // Watermark generators and closures of instances are made here, by code of the user's.
            let attached = guard(|| {
                node.attach.iter().try_for_each(|attach| attach(&mut build))?;
                build.finish()
            });
            if let Err(failure) = attached.and_then(|attached| attached) {
                failed = Some((*id, failure));
                break;
            }
            let channels = std::mem::take(&mut build.channels).into_iter();
            let channels = channels.map(|(node, instance, credits)| (plan.task_at(node, instance), credits));
            self.tasks[id.0 as usize].channels = channels.collect();
            let nothing = || Arc::new(Restored { process_run: self.process_run, ..Restored::default() });
            let mut launched = Launched::default();
            let started = node.build.launch(Launch {
                build,
                env,
                restored: restored.get(&planned.node.0).map_or_else(nothing, Arc::clone),
                channels: planned.channels,
                rate: node.rate,
                host: &self.host,
                arbiter: planned.arbiter,
                launched: &mut launched,
            });
            if let Err(failure) = started {
                failed = Some((*id, failure));
                break;
            }
            if let Some(endpoint) = launched.endpoint {
                endpoints.insert((planned.node, planned.instance), endpoint);
            }
            let life = &mut self.tasks[id.0 as usize];
            life.handle = launched.handle;
            life.state = InstanceState::Starting;
        }
        let state = &mut self.regions[region];
        state.ended_sources.clear();
        state.phase = Phase::Starting { waiting: tasks.into_iter().collect() };
        if let Some((task, failure)) = failed {
            self.task_failed(region, task, &failure);
        }
    }

    fn env(&mut self, id: TaskId, region: usize) -> Env {
        let oversight = Arc::new(self.oversight(id));
        let planned = self.plan.task(id);
        let node = &self.plan.nodes[planned.node.0];
        let surroundings = self.host.surroundings();
        let simulated = self.config.simulation.is_some();
        Env {
            task: id,
            instance: Instance {
                operator: Arc::clone(&node.name),
                index: planned.instance,
                parallelism: node.parallelism,
            },
            path: format!("{}/region-{region}/{}", self.plan.topology, self.plan.name_of(id)).into(),
            run: self.regions[region].run,
            fence: Arc::clone(&self.regions[region].fence),
            lineage: self.identity.lineage.clone(),
            clock: Arc::clone(&surroundings.clock),
            pool: Arc::clone(&surroundings.pool),
            fs: Arc::clone(&surroundings.fs),
            checkpoints: Arc::clone(self.store.objects()),
            state: StateSetup {
                backend: node.state.clone(),
                scratch: self.scratch.folder_of(&self.plan.name_of(id), self.regions[region].run),
                always_save_changes: simulated,
            },
            reporter: Arc::new(EventReporter(Arc::clone(&surroundings.events))),
            waker: Arc::default(),
            oversight,
            // A restarted task goes on counting.
            counters: Arc::new(self.tasks[id.0 as usize].counters.carry_on(self.now())),
            tap: Arc::clone(&node.tap),
            // In the simulation every batch is a step of its own, so that the seed decides between them.
            step_nanos: if simulated { 0 } else { 1_000_000 },
            batch_records: self.config.limits.records,
            // About 0.3 ms for integers.
            slice_slots: self.config.simulation.as_ref().map_or(8192, |simulation| simulation.slice_slots),
        }
    }

    pub(super) fn task_ready(&mut self, region: usize, task: TaskId) {
        let Phase::Starting { waiting } = &mut self.regions[region].phase else { return };
        waiting.remove(&task);
        self.tasks[task.0 as usize].state = InstanceState::Ready;
        if !waiting.is_empty() {
            return;
        }
        let now = self.now();
        let state = &mut self.regions[region];
        state.phase = Phase::Running;
        let recovered = state.failed_at.take().map(|at| now.saturating_sub(at));
        for task in &self.regions[region].tasks {
            let life = &mut self.tasks[task.0 as usize];
            life.state = InstanceState::Running;
            if let Some(handle) = &life.handle {
                (handle.0)(Control::Start);
            }
        }
        self.drain_sources(region);
        match recovered {
            // Once for all regions.
            None if self.rescaling.is_some() => {}
            None if self.regions.iter().all(|region| region.phase == Phase::Running) => {
                self.log_tree("at the start");
            }
            None => {}
            Some(nanos) => {
                let restarts_left = self.escalation.restarts_left(region, now);
                let (run, restarts) = (self.regions[region].run, self.regions[region].restarts);
                let checkpoint = self.newest;
                let recovery_ms = nanos / 1_000_000;
                tracing::info!(
                    region,
                    run,
                    checkpoint,
                    recovery_ms,
                    restarts,
                    restarts_left,
                    "the region is back; so many restarts are left of its budget now"
                );
                self.log_changes(region);
            }
        }
    }

    pub(super) fn task_failed(&mut self, region: usize, task: TaskId, failure: &Failure) {
        let life = &mut self.tasks[task.0 as usize];
        life.handle = None;
        if life.state != InstanceState::Abandoned {
            life.state = InstanceState::Failed;
        }
        self.gone(region, task);
        self.failed(region, task, failure);
    }

    /// Something failed, be it that its actor is gone or not.
    pub(super) fn failed(&mut self, region: usize, task: TaskId, failure: &Failure) {
        let name = self.plan.name_of(task);
        let life = &mut self.tasks[task.0 as usize];
        life.failures += 1;
        life.last_failure = Some(failure.clone());
        self.remember(region, task, failure);
        if self.ending.is_some() || matches!(self.regions[region].phase, Phase::Stopping { .. }) {
            return;
        }
        if failure.kind == FailureKind::OutputClosed {
            tracing::info!(task = %name, "the job ends: {}", failure.cause);
            return self.end(Ok(End::Cancelled), CANCEL_GRACE);
        }
        tracing::warn!(task = %name, run = self.regions[region].run, %failure, "a task failed");
        self.regions[region].last_failure = Some(format!("{name} {failure}"));
        self.roll_back(region, task, failure);
    }

    pub(super) fn task_stopped(&mut self, region: usize, task: TaskId) {
        let life = &mut self.tasks[task.0 as usize];
        life.handle = None;
        life.state = InstanceState::Stopped;
        self.gone(region, task);
    }

    /// A task need not be waited for any more.
    pub(super) fn gone(&mut self, region: usize, task: TaskId) {
        if let Some(ending) = &mut self.ending {
            ending.waiting.remove(&task);
        }
        if let Phase::Stopping { waiting, .. } = &mut self.regions[region].phase {
            waiting.remove(&task);
        }
    }

    /// Moves a region that is down one step further on its way up.
    pub(super) fn advance_region(&mut self, region: usize, now: u64) {
        if let Phase::Stopping { waiting, deadline, restart_at } = &self.regions[region].phase {
            if waiting.is_empty() {
                self.regions[region].phase = Phase::Backoff { until: *restart_at };
            } else if now >= *deadline {
                let waiting = waiting.iter().copied().collect();
                self.abandon_late(waiting, now);
            }
        }
        if matches!(&self.regions[region].phase, Phase::Backoff { until } if now >= *until)
            && (!self.ledger.is_storing() || bug::is(Bug::RestartsWhileManifestIsWritten))
        {
            self.restart(region);
        }
    }

    fn restart(&mut self, region: usize) {
        let run = self.next_run;
        if let Err(error) = self.write_down_convicts(region).and_then(|()| self.reserve_run()) {
            return self.wait_for_disk(region, &error);
        }
        let state = &mut self.regions[region];
        state.run = run;
        state.fence.raise(run);
        state.restarts += 1;
        let from = if state.parts.is_some() { self.newest } else { self.origin_checkpoint };
        tracing::info!(region, run, checkpoint = from, "the region restarts");
        let Some(parts) = state.parts.clone() else {
            let restored = self.origin.clone();
            return self.launch(region, &restored);
        };
        state.phase = Phase::Loading;
        self.load_region(region, run, &parts);
    }

    /// What a restart needs to have written could not be: the skip list, without which the same record would fail
    /// again, or the numbers of runs. The region stays down until it can: for as long as the disk is full or the folder
    /// is gone, else within the budgets.
    fn wait_for_disk(&mut self, region: usize, error: &StoreError) {
        let is_gone = matches!(error, StoreError::TakenAway { .. });
        if is_gone {
            self.folder_is_gone();
            if self.ending.is_some() {
                return;
            }
        }
        let now = self.now();
        let kind = if is_gone || is_no_space(error) { FailureKind::NoSpace } else { FailureKind::Error };
        match self.escalation.cannot_restart(region, kind, now) {
            Decision::Restart { backoff, .. } => {
                let error = shown(error);
                tracing::warn!(region, %error, "what a restart needs cannot be written; the region waits for it");
                let until = now.saturating_add(nanos_of(backoff));
                self.regions[region].phase = Phase::Backoff { until };
            }
            Decision::GiveUp(why) => {
                let why = why.reason();
                self.give_up(Error::state(format!(
                    "region {region} cannot restart, as what that needs cannot be written, and {why}: {error}"
                )));
            }
        }
    }

    pub(super) fn loaded(
        &mut self,
        region: usize,
        run: u64,
        result: Result<BTreeMap<usize, Arc<Restored>>, String>,
    ) {
        let Some(state) = self.regions.get(region) else { return };
        if self.ending.is_some() || state.phase != Phase::Loading || state.run != run {
            return;
        }
        match result {
            Ok(restored) => self.launch(region, &restored),
            Err(error) => self.give_up(Error::state(format!(
                "region {region} cannot be restored: {error}; start the job anew to look for an older checkpoint"
            ))),
        }
    }

    /// Takes the next run number. Numbers are reserved on disk in blocks, so that a restart does not wait for it.
    fn reserve_run(&mut self) -> Result<(), StoreError> {
        let next = self.next_run + 1;
        if next > self.identity.run {
            let mut identity = self.identity.clone();
            identity.run = next + RUN_BLOCK;
            self.store.save_identity(&identity)?;
            self.identity = identity;
        }
        self.next_run = next;
        Ok(())
    }
}
