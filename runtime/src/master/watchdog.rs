//! The watchdog: instances that do not come back from what they are doing, and threads that are stuck in one.
//!
//! An actor that holds its thread holds up everything on it, and cannot be stopped from outside. So the thread is left
//! behind with all that is on it, and another takes its place; every region with an actor on it is rolled back. Nothing
//! waits for the thread. If it ever comes back it finds that its run is over.

use std::collections::BTreeSet;
use std::time::Duration;

use watershed_actors::{Failure, TaskId, Work};

use crate::master::region::{Phase, RestartReason};
use crate::master::{Master, TaskState};

/// When to look again, and what was left behind.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    look_at: u64,
    /// Instances that were stuck, one for each thread left behind.
    pub(super) left_behind: Vec<String>,
}

/// How often it looks at most, and at least.
const LOOK_NANOS: (u64, u64) = (1_000_000, 1_000_000_000);

/// How much longer opening and restoring may take than a step.
const BOOT_FACTOR: u64 = 10;

impl Master {
    /// Finds instances that hang, and treats them as failed.
    pub(super) fn watch(&mut self, now: u64) {
        let Some(timeout) = self.hang_nanos() else { return };
        if !self.is_simulated() {
            if now < self.watchdog.look_at {
                return;
            }
            self.watchdog.look_at = now + (timeout / 8).clamp(LOOK_NANOS.0, LOOK_NANOS.1);
        }
        for index in 0..self.tasks.len() {
            let task = TaskId(index as u32);
            if let Some((work, since)) = self.overdue(task, timeout, now) {
                self.task_hung(task, work, now.saturating_sub(since));
            }
        }
    }

    /// When to look at the latest.
    pub(super) fn watch_alarm(&self) -> u64 {
        let Some(timeout) = self.hang_nanos() else { return u64::MAX };
        if !self.is_simulated() {
            return self.watchdog.look_at;
        }
        // There nobody is at work while others are looked at, but for those who hang.
        let tasks = (0..self.tasks.len()).map(|index| TaskId(index as u32));
        let works = tasks.flat_map(|task| self.works(task, timeout));
        works.map(|(_, since, limit)| since.saturating_add(limit)).min().unwrap_or(u64::MAX)
    }

    fn hang_nanos(&self) -> Option<u64> {
        let timeout = self.config.hang_timeout?;
        Some(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX))
    }

    fn is_simulated(&self) -> bool {
        self.config.simulation.is_some()
    }

    /// What an instance is at, since when, and how long it may take.
    fn works(&self, task: TaskId, timeout: u64) -> impl Iterator<Item = (Work, u64, u64)> + '_ {
        let life = &self.tasks[task.0 as usize];
        let works = if life.handle.is_some() { &Work::ALL[..] } else { &[] };
        works.iter().filter_map(move |work| {
            let limit = if *work == Work::Boot { timeout.saturating_mul(BOOT_FACTOR) } else { timeout };
            life.counters.pulse.since(*work).map(|since| (*work, since, limit))
        })
    }

    fn overdue(&self, task: TaskId, timeout: u64, now: u64) -> Option<(Work, u64)> {
        let mut works = self.works(task, timeout);
        works
            .find(|(_, since, limit)| now.saturating_sub(*since) >= *limit)
            .map(|(work, since, _)| (work, since))
    }

    /// An instance is not expected back.
    fn task_hung(&mut self, task: TaskId, work: Work, nanos: u64) {
        let took = Duration::from_millis(nanos / 1_000_000);
        let failure = Failure::hung(format!("{} has taken {took:?} so far", work.name()));
        let planned = self.plan.task(task);
        if work.holds_thread() {
            self.abandon(planned.arbiter, task, &failure);
        } else {
            // The actor itself is well, and is stopped like those beside it.
            self.tasks[task.0 as usize].counters.pulse.end(work);
            self.failed(planned.region, task, &failure);
        }
    }

    /// Some did not stop in time after a failure of their region: what holds up their threads is left behind.
    pub(super) fn abandon_late(&mut self, waiting: Vec<TaskId>, now: u64) {
        for task in waiting {
            let slot = self.plan.task(task).arbiter;
            if self.tasks[task.0 as usize].handle.is_none() {
                // It went with another on the same thread.
                continue;
            }
            let (culprit, nanos) = self.holder_of(slot, now).unwrap_or((task, 0));
            let took = Duration::from_millis(nanos / 1_000_000);
            let failure = Failure::hung(format!("it holds up its thread, for {took:?} so far"));
            self.abandon(slot, culprit, &failure);
        }
    }

    /// Who has been at work on a thread for longest, and for how long.
    fn holder_of(&self, slot: usize, now: u64) -> Option<(TaskId, u64)> {
        let works = self.tasks_on(slot).flat_map(|task| {
            let works = self.works(task, 0).filter(|(work, ..)| work.holds_thread());
            works.map(move |(_, since, _)| (task, now.saturating_sub(since)))
        });
        works.max_by_key(|(_, nanos)| *nanos)
    }

    /// All that live on a thread.
    fn tasks_on(&self, slot: usize) -> impl Iterator<Item = TaskId> + '_ {
        let tasks = self.plan.tasks.iter().enumerate();
        tasks
            .filter(move |(index, planned)| planned.arbiter == slot && self.tasks[*index].handle.is_some())
            .map(|(index, _)| TaskId(index as u32))
    }

    /// Leaves a thread behind with all that lives on it, and rolls back all regions that it takes part in.
    fn abandon(&mut self, slot: usize, culprit: TaskId, failure: &Failure) {
        let name = self.plan.name_of(culprit);
        tracing::error!(arbiter = slot, task = %name, %failure, "a thread is stuck: it is left behind, and another takes its place");
        self.watchdog.left_behind.push(name.clone());
        let lost: Vec<TaskId> = self.tasks_on(slot).collect();
        for task in &lost {
            let life = &mut self.tasks[task.0 as usize];
            life.handle = None;
            life.state = TaskState::Abandoned;
            self.gone(self.plan.task(*task).region, *task);
        }
        if let Err(error) = self.host.replace(slot) {
            return self.give_up(error);
        }
        let region = self.plan.task(culprit).region;
        self.task_failed(region, culprit, failure);
        if self.ending.is_some() {
            return;
        }
        let now = self.now();
        let others: BTreeSet<usize> = lost.iter().map(|task| self.plan.task(*task).region).collect();
        for other in others.into_iter().filter(|other| *other != region) {
            if !matches!(self.regions[other].phase, Phase::Starting { .. } | Phase::Running) {
                continue;
            }
            // It has not failed itself, so it costs nothing of its budget.
            let cause = format!("lost its thread: `{name}` {failure}");
            self.regions[other].last_failure = Some(cause.clone());
            let level = crate::escalation::Level::Region;
            let time_ms = self.host.surroundings().clock.wall_ms();
            self.take_down(other, now, RestartReason { time_ms, task: culprit, cause, level });
            self.advance_region(other, now);
        }
    }
}
