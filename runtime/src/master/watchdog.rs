//! The watchdog: instances that do not come back from what they are doing, and threads that are stuck in one.
//!
//! An actor that holds its thread holds up everything on it, and cannot be stopped from outside. So the thread is left
//! behind with all that is on it, and another takes its place; every region with an actor on it is rolled back. Nothing
//! waits for the thread. If it ever comes back it finds that its run is over.

use std::collections::BTreeSet;
use std::time::Duration;

use watershed_actors::{Blame, Failure, TaskId, Work, nanos_of};

use crate::master::Master;
use crate::master::region::Phase;
use crate::master::rollback::main_stage;
use crate::tree::InstanceState;
use crate::tree::SupervisionLevel as Level;

/// When to look again, and what was left behind.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    look_at: u64,
    /// When it looked for the last time after it had been late: what others have been at until then does not count.
    resumed_at: u64,
    /// Instances that were stuck, one for each thread left behind.
    pub(super) left_behind: Vec<String>,
}

impl Watchdog {
    /// Whether to look now, with this timeout (nanoseconds).
    fn is_due(&mut self, now: u64, timeout: u64) -> bool {
        if now < self.look_at {
            return false;
        }
        let interval = (timeout / 8).clamp(LOOK_NANOS.0, LOOK_NANOS.1);
        // Who is so late has been suspended himself, and all those whom he watches with him: they begin anew.
        if self.look_at > 0 && now - self.look_at > LATE_INTERVALS * interval {
            self.resumed_at = now;
        }
        self.look_at = now + interval;
        true
    }

    /// How long somebody has been at it who began then.
    fn took(&self, since: u64, now: u64) -> u64 {
        now.saturating_sub(since.max(self.resumed_at))
    }
}

/// So many intervals late it looks after the process was suspended, and not because the machine is busy.
const LATE_INTERVALS: u64 = 4;

/// How often it looks at most, and at least.
const LOOK_NANOS: (u64, u64) = (1_000_000, 1_000_000_000);

/// How much longer opening and restoring may take than a step.
const BOOT_FACTOR: u64 = 10;

impl Master {
    /// Finds instances that hang, and treats them as failed.
    pub(super) fn watch(&mut self, now: u64) {
        let Some(timeout) = self.hang_nanos() else { return };
        if !self.is_simulated() && !self.watchdog.is_due(now, timeout) {
            return;
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
        self.config.hang_timeout.map(nanos_of)
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
            .find(|(_, since, limit)| self.watchdog.took(*since, now) >= *limit)
            .map(|(work, since, _)| (work, since))
    }

    /// An instance is not expected back.
    fn task_hung(&mut self, task: TaskId, work: Work, nanos: u64) {
        let took = Duration::from_millis(nanos / 1_000_000);
        let mut failure = Failure::hung(format!("{} has taken {took:?} so far", work.name()));
        if work == Work::Step {
            failure.blame = self.blame_of_hang(task).map(Box::new);
        }
        let planned = self.plan.task(task);
        if work.holds_thread() {
            self.abandon(planned.arbiter, task, &failure);
        } else {
            // The actor itself is well, and is stopped like those beside it.
            self.tasks[task.0 as usize].counters.pulse.end(work);
            self.failed(planned.region, task, &failure);
        }
    }

    /// Whose fault it is that a step does not come to its end, as far as the policy cares. While records are taken one
    /// by one it is the one at hand.
    fn blame_of_hang(&self, task: TaskId) -> Option<Blame> {
        let node = self.plan.node_of(task);
        let (oversight, _) = self.tasks[task.0 as usize].oversight.as_ref()?;
        let suspect = oversight.suspect();
        let stage = suspect.as_ref().map_or_else(|| main_stage(node), |suspect| suspect.evidence.stage);
        let directive = oversight.policy.directive(stage);
        Some(Blame { stage, directive, suspect, backtrace: None })
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
    pub(super) fn holder_of(&self, slot: usize, now: u64) -> Option<(TaskId, u64)> {
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
            life.state = InstanceState::Abandoned;
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
            self.regions[other].last_failure = Some(cause);
            self.take_down(other, now, (culprit, Level::Region));
            self.advance_region(other, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: u64 = 800_000_000;

    #[test]
    fn it_looks_eight_times_in_the_time_that_a_step_may_take() {
        let mut watchdog = Watchdog::default();
        let looks = (0..801).filter(|ms| watchdog.is_due(1 + ms * 1_000_000, TIMEOUT)).count();
        assert_eq!(looks, 9);
    }

    #[test]
    fn after_the_whole_process_was_suspended_everybody_gets_another_chance() {
        let mut watchdog = Watchdog::default();
        assert!(watchdog.is_due(1, TIMEOUT));
        let awake = 100 * TIMEOUT;
        assert_eq!(watchdog.took(1, awake), awake - 1);
        assert!(watchdog.is_due(awake, TIMEOUT));
        assert_eq!(watchdog.took(1, awake + TIMEOUT - 1), TIMEOUT - 1);
        assert_eq!(watchdog.took(awake + 5, awake + 10), 5);
    }
}
