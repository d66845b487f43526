//! The control plane: checkpoints and supervision of one job, as a plain struct that is told events.

mod announce;
mod attempts;
mod checkpoints;
mod garbage;
mod healing;
mod history;
mod ledger;
mod letters;
mod loading;
mod overdue;
mod picture;
mod poison;
mod queries;
mod records;
mod recovery;
mod region;
mod rescale;
mod rollback;
mod savepoints;
mod stopping;
mod watchdog;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use watershed_actors::{
    Control, Counters, Credits, Failure, Oversight, Report, Restored, Tap, TaskEvent, TaskId, TaskWaker,
    nanos_of,
};
use watershed_state::bug::{self, Bug};
use watershed_state::{CheckpointStore, Identity, Manifest};

use crate::claims::Claims;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::escalation::Escalation;
use crate::event::Command;
use crate::event::Event;
use crate::host::{Host, TaskHandle};
use crate::outcome::{End, Outcome};
use crate::plan::Plan;
use crate::poison::Poison;
use crate::scratch::Scratch;
use crate::startup::Start;
use crate::tree::ActorKind;
use crate::tree::{CheckpointNode, InstanceState};
use attempts::Attempts;
use garbage::Garbage;
use history::RecentFailures;
use ledger::Ledger;
use overdue::Overdue;
use records::Marks;
use region::{Phase, Region};
use rescale::Rescaling;
use savepoints::Savepoints;
use stopping::Stopping;
use watchdog::Watchdog;

/// How long tasks may take to stop after a failure or at the end.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// How long they may take when the job is cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// One job under control.
pub(crate) struct Master {
    plan: Arc<Plan>,
    config: Config,
    host: Host,
    store: CheckpointStore,
    identity: Identity,
    /// First run of this process, or of this plan.
    process_run: u64,
    next_run: u64,
    next_checkpoint: u64,
    /// The newest complete checkpoint.
    newest: Option<u64>,
    /// What is known of it.
    newest_made: Option<CheckpointNode>,
    /// What the process or the plan began with, per actor; let go once every region has a checkpoint since.
    origin: BTreeMap<usize, Arc<Restored>>,
    /// Where databases live.
    scratch: Scratch,
    /// The output that is this process's alone, until the job is over.
    _claims: Claims,
    origin_checkpoint: Option<u64>,
    already_finished: bool,
    regions: Vec<Region>,
    /// Restarts of regions under earlier plans.
    restarts_before: u32,
    escalation: Escalation,
    watchdog: Watchdog,
    tasks: Vec<TaskLife>,
    ledger: Ledger,
    attempts: Attempts,
    overdue: Overdue,
    poison: Poison,
    /// The manifest that is being written, and when to write it again if the disk does not say whether it is there.
    unsettled: Option<(Arc<Manifest>, u64)>,
    /// The newest checkpoint in which an instance was in the middle of what it does at the end of its input.
    unfinished: Option<u64>,
    /// When the next checkpoint is due, in clock nanoseconds.
    checkpoint_due: u64,
    garbage: Garbage,
    stop_requested: bool,
    stopping: Stopping,
    /// Why the last checkpoint that could not be made was not, as long as there is none after it.
    last_trouble: Option<String>,
    /// Checkpoints that took too long, since the last that was complete.
    late_checkpoints: u32,
    savepoints: Savepoints,
    rescaling: Option<Rescaling>,
    /// The last checkpoint is complete; the job ends when everything up to it is committed.
    closing: Option<(u64, End)>,
    ending: Option<Ending>,
    result: Option<Result<Outcome, Error>>,
    /// How often the checkpoint folder was made again.
    folders_made: u64,
}

/// What is known of a task.
#[derive(Default)]
struct TaskLife {
    handle: Option<TaskHandle>,
    state: InstanceState,
    counters: Arc<Counters>,
    /// How far it has come.
    records: Marks,
    /// What the task was told of records, and how to wake it.
    oversight: Option<(Arc<Oversight>, Arc<TaskWaker>)>,
    /// Its outgoing channels: to whom, and their credits.
    channels: Vec<(TaskId, Weak<dyn Credits>)>,
    /// Up to which checkpoint its commits are done.
    committed: u64,
    failures: u32,
    /// How many of them stood in the log when the tree was written to it last.
    logged_failures: u32,
    last_failure: Option<Failure>,
    recent_failures: RecentFailures,
}

/// The job is on its way down.
struct Ending {
    waiting: BTreeSet<TaskId>,
    deadline: u64,
    result: Result<End, Error>,
}

impl Master {
    pub(crate) fn new(config: Config, host: Host, start: Start) -> Self {
        let plan = start.plan;
        let regions = plan.regions.iter().map(|tasks| Region::new(tasks.clone(), start.run));
        let interval = config.checkpoint_interval.map_or(u64::MAX, nanos_of);
        let now = host.surroundings().clock.nanos();
        Self {
            regions: regions.collect(),
            restarts_before: 0,
            escalation: rollback::budgets(&plan, &config, &start.identity.lineage),
            watchdog: Watchdog::default(),
            tasks: plan.tasks.iter().map(|_| TaskLife::default()).collect(),
            plan: Arc::new(plan),
            checkpoint_due: now.saturating_add(interval),
            config,
            host,
            store: start.store,
            next_checkpoint: start.identity.reserved_checkpoints,
            next_run: start.run + 1,
            process_run: start.run,
            identity: start.identity,
            newest: start.checkpoint,
            newest_made: start.checkpoint_made,
            scratch: start.scratch,
            _claims: start.claims,
            origin: start.restored,
            origin_checkpoint: start.checkpoint,
            already_finished: start.already_finished,
            ledger: Ledger::default(),
            attempts: Attempts::default(),
            overdue: Overdue::default(),
            poison: start.poison,
            unsettled: None,
            unfinished: None,
            garbage: Garbage::default(),
            stop_requested: false,
            stopping: Stopping::not_yet(),
            last_trouble: None,
            late_checkpoints: 0,
            savepoints: Savepoints::owning(start.claimed),
            rescaling: None,
            closing: None,
            ending: None,
            result: None,
            folders_made: 0,
        }
    }

    /// Launches everything.
    pub(crate) fn start(&mut self) {
        self.announce_start();
        self.launch_all();
        self.advance();
    }

    /// Launches all regions, with what the process or the plan begins with.
    fn launch_all(&mut self) {
        for region in 0..self.regions.len() {
            let restored = self.origin.clone();
            self.launch(region, &restored);
        }
    }

    /// Takes an event.
    pub(crate) fn handle(&mut self, event: Event) {
        match event {
            Event::Report(report) => self.reported(report),
            Event::Stored { checkpoint, stored } => self.stored(checkpoint, &stored),
            Event::Copied { checkpoint, bytes } => self.copied(checkpoint, bytes),
            Event::Loaded { region, run, result } => self.loaded(region, run, result),
            Event::ReadForRescale { checkpoint, saved } => self.begin_rescale(checkpoint, saved),
            Event::Command(command) => self.commanded(command),
        }
        self.advance();
    }

    /// Does what is due. To be called at [`Master::next_alarm`].
    pub(crate) fn advance(&mut self) {
        if self.result.is_some() {
            return;
        }
        let now = self.now();
        self.check_ending(now);
        if self.ending.is_some() || self.result.is_some() {
            return;
        }
        self.watch(now);
        for region in 0..self.regions.len() {
            self.advance_region(region, now);
        }
        self.advance_rescale(now);
        self.advance_checkpoints(now);
        self.advance_overdue(now);
        self.check_closing();
        self.check_grace(now);
        self.check_ending(now);
    }

    /// When to call [`Master::advance`] at the latest, in clock nanoseconds.
    pub(crate) fn next_alarm(&self) -> u64 {
        if let Some(ending) = &self.ending {
            return ending.deadline;
        }
        let regions = self.regions.iter().map(|region| region.alarm(self.ledger.is_storing()));
        let others = [self.checkpoint_alarm(), self.overdue_alarm(), self.watch_alarm(), self.stop_alarm()];
        regions.chain(others).min().unwrap_or(u64::MAX)
    }

    /// How many tasks there are, or will be.
    pub(crate) fn task_count(&self) -> usize {
        self.tasks.len().max(self.rescaling.as_ref().map_or(0, Rescaling::task_count))
    }

    /// The operators, and how many instances each has.
    pub(crate) fn operators(&self) -> impl Iterator<Item = (&str, usize)> {
        self.plan.nodes.iter().map(|node| (&*node.name, node.parallelism))
    }

    /// How the job ended, once it has.
    pub(crate) fn take_result(&mut self) -> Option<Result<Outcome, Error>> {
        self.result.take()
    }

    /// How often the checkpoint folder was made again.
    pub(crate) fn folders_made(&self) -> u64 {
        self.folders_made
    }

    fn now(&self) -> u64 {
        self.host.surroundings().clock.nanos()
    }

    fn reported(&mut self, report: Report) {
        let Report { task, run, event } = report;
        if task.0 as usize >= self.tasks.len() {
            // There were more of them before a rescaling.
            return;
        }
        let region = self.plan.task(task).region;
        if run != self.regions[region].run || self.tasks[task.0 as usize].state == InstanceState::Abandoned {
            // From a run that is over.
            return;
        }
        match event {
            TaskEvent::Ready => self.task_ready(region, task),
            TaskEvent::Acknowledged { checkpoint, part, unfinished } => {
                if unfinished {
                    self.unfinished = Some(checkpoint);
                }
                self.acknowledged(task, checkpoint, part);
            }
            TaskEvent::Declined { checkpoint, reason, lasts } => {
                self.declined(task, checkpoint, &reason, lasts);
            }
            TaskEvent::Replayed { checkpoint, letters } => {
                self.poison.letters.replayed(task, checkpoint, letters);
            }
            TaskEvent::CannotReplay { letter, why } => self.cannot_replay(&letter, &why),
            TaskEvent::Ended => {
                self.tasks[task.0 as usize].state = InstanceState::Ended;
                self.regions[region].ended_sources.insert(task);
            }
            TaskEvent::Committed(checkpoint) => {
                let life = &mut self.tasks[task.0 as usize];
                life.committed = life.committed.max(checkpoint);
            }
            TaskEvent::Failed(failure) => self.task_failed(region, task, &failure),
            TaskEvent::Stopped => self.task_stopped(region, task),
        }
    }

    fn commanded(&mut self, command: Command) {
        match command {
            Command::ReplayDeadLetters(reply) => {
                let unknown = self.replay_dead_letters();
                reply(unknown);
            }
            Command::Tree(reply) => reply(self.tree()),
            Command::Checkpoints(reply) => reply(self.checkpoint_history()),
            Command::Tap(operator, reply) => reply(self.tap(&operator)),
            Command::Query { operator, key, reply } => self.query(&operator, &key, reply),
            Command::LogTree => self.log_tree("on request"),
            Command::Cancel => {
                tracing::info!("the job is cancelled");
                self.end(Ok(End::Cancelled), CANCEL_GRACE);
            }
            Command::Stop => self.wants_stop(),
            Command::Drain => {
                tracing::info!("the job is asked to stop: it is drained, and makes a last checkpoint");
                self.drain();
            }
            Command::Signal(signal) => self.signalled(signal),
            Command::Savepoint(wanted) => self.wants_savepoint(wanted),
            Command::Rescale(wanted) => self.wants_rescale(wanted),
        }
    }

    fn tap(&self, operator: &str) -> Result<Arc<Tap>, Vec<String>> {
        let node = self.plan.nodes.iter().find(|node| *node.name == *operator);
        let names = || self.plan.nodes.iter().map(|node| node.name.to_string()).collect();
        node.map(|node| Arc::clone(&node.tap)).ok_or_else(names)
    }

    /// Ends the job once everything up to its last checkpoint is committed.
    fn check_closing(&mut self) {
        let Some((_, end)) = self.closing else { return };
        if self.savepoints.copying().is_some() {
            return;
        }
        let committed = |id: TaskId| {
            self.plan.node_of(id).kind != ActorKind::ExactlyOnceSink
                || self.has_committed(id)
                || bug::is(Bug::EndsBeforeCommits)
                || self.regions[self.plan.task(id).region].phase != Phase::Running
        };
        if (0..self.tasks.len()).all(|index| committed(TaskId(index as u32))) {
            self.end(Ok(end), STOP_GRACE);
        }
    }

    /// Lets nothing count any more of what is going on.
    pub(crate) fn fence(&self) {
        for region in &self.regions {
            region.fence.raise(self.next_run);
        }
    }

    /// Brings everything down; `result` is how the job has ended then. If that is under way, it only takes no longer
    /// than this.
    fn end(&mut self, result: Result<End, Error>, grace: Duration) {
        let deadline = self.now().saturating_add(nanos_of(self.within_grace(grace)));
        if let Some(ending) = &mut self.ending {
            ending.deadline = ending.deadline.min(deadline);
            return;
        }
        self.drop_savepoints();
        self.drop_rescale();
        let mut waiting = BTreeSet::new();
        self.fence();
        for (index, life) in self.tasks.iter_mut().enumerate() {
            if let Some(handle) = &life.handle {
                (handle.0)(Control::Stop);
                life.state = InstanceState::Stopping;
                waiting.insert(TaskId(index as u32));
            }
        }
        self.ending = Some(Ending { waiting, deadline, result });
    }

    fn check_ending(&mut self, now: u64) {
        let Some(ending) = self.ending.take() else { return };
        if !ending.waiting.is_empty() && now < ending.deadline {
            self.ending = Some(ending);
            return;
        }
        for region in &mut self.regions {
            region.phase = Phase::Ended;
        }
        for name in &self.watchdog.left_behind {
            tracing::warn!(task = %name, "its thread was left behind; it ends with the process, if it does not before");
        }
        let stuck: Vec<String> = ending.waiting.iter().map(|task| self.plan.name_of(*task)).collect();
        self.result = Some(match ending.result {
            Ok(end) => {
                if !stuck.is_empty() {
                    tracing::warn!(tasks = stuck.join(", "), "did not stop in time and are left behind");
                }
                Ok(self.outcome(end))
            }
            Err(error) => Err(error),
        });
        if let Some(result) = &self.result {
            self.announce_end(result);
        }
    }

    /// Ends the job with an error.
    fn give_up(&mut self, error: Error) {
        tracing::error!(%error, "the job ends");
        self.end(Err(error), STOP_GRACE);
    }

    pub(crate) fn outcome(&self, end: End) -> Outcome {
        let end = if end == End::Finished && self.already_finished { End::AlreadyFinished } else { end };
        Outcome {
            end,
            checkpoint: self.newest,
            checkpoints: self.ledger.completed(),
            restarts: self.restarts_before + self.regions.iter().map(|region| region.restarts).sum::<u32>(),
            tree: self.tree(),
            steps: 0,
        }
    }

    /// The error for a failure that nothing more is done about.
    fn error_of(&self, task: TaskId, failure: &Failure, what: &str) -> Error {
        let kind = match failure.kind {
            watershed_actors::FailureKind::Internal => ErrorKind::Internal,
            watershed_actors::FailureKind::State | watershed_actors::FailureKind::Disk => ErrorKind::State,
            _ => ErrorKind::User,
        };
        Error::new(kind, format!("`{}` {failure}; {what}", self.plan.name_of(task)))
    }
}
