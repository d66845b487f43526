//! The end that somebody has asked for: with a last checkpoint if that can be made within the grace period, else
//! without it.

use std::time::Duration;

use watershed_actors::{TaskId, nanos_of};

use crate::error::{Error, ErrorKind};
use crate::event::Command;
use crate::master::region::Phase;
use crate::master::{CANCEL_GRACE, Master};
use crate::outcome::End;
use crate::tree::ActorKind;

/// What somebody has asked for who wants the job to end.
#[derive(Debug)]
pub(super) struct Stopping {
    /// When it ends without a last checkpoint, in clock nanoseconds.
    pub(super) deadline: u64,
    /// It was asked by a signal: the next one ends it at once.
    by_signal: bool,
}

impl Stopping {
    /// Nobody has asked for anything.
    pub(super) fn not_yet() -> Self {
        Self { deadline: u64::MAX, by_signal: false }
    }
}

impl Master {
    /// Ends with a last checkpoint, if it can be made in time.
    pub(super) fn wants_stop(&mut self) {
        if self.ending.is_some() {
            return;
        }
        let within = grace_of(self.config.stop_grace);
        tracing::info!("the job is asked to stop: it makes a last checkpoint, {within}");
        self.begin_grace();
    }

    /// The first signal stops the job, the second one ends it at once.
    pub(super) fn signalled(&mut self, signal: &str) {
        if self.ending.is_some() {
            return self.signalled_on_the_way_down(signal);
        }
        if self.stopping.by_signal {
            let kept = self.kept();
            tracing::warn!(signal, "it came again: the job ends at once, without a last checkpoint. {kept}");
            return self.commanded(Command::Cancel);
        }
        self.stopping.by_signal = true;
        let within = grace_of(self.config.stop_grace);
        tracing::info!(
            signal,
            "the job is asked to stop: it makes a last checkpoint, {within}. A second signal ends it at once, without one"
        );
        self.begin_grace();
    }

    /// The job ends already, and waits for its tasks to stop: the second signal lets it wait less.
    fn signalled_on_the_way_down(&mut self, signal: &str) {
        if self.stopping.by_signal {
            tracing::warn!(
                signal,
                "it came again: the job waits {CANCEL_GRACE:?} more at most for its tasks to stop"
            );
            return self.end(Ok(End::Cancelled), CANCEL_GRACE);
        }
        self.stopping.by_signal = true;
        tracing::info!(
            signal,
            "the job ends already: it waits for its tasks to stop. A second signal lets it wait less"
        );
    }

    fn begin_grace(&mut self) {
        self.stop_requested = true;
        let deadline = self.now().saturating_add(nanos_of(self.config.stop_grace));
        // Who asks again does not make it longer.
        self.stopping.deadline = self.stopping.deadline.min(deadline);
    }

    /// When the job ends without what it waits for.
    pub(super) fn stop_alarm(&self) -> u64 {
        self.stopping.deadline
    }

    /// Ends the job if its last checkpoint takes too long, whatever the reason.
    pub(super) fn check_grace(&mut self, now: u64) {
        if now < self.stopping.deadline || self.ending.is_some() {
            return;
        }
        let grace = self.config.stop_grace;
        let (held_up, kept) = (self.held_up_by(), self.kept());
        let error = match self.closing {
            Some((checkpoint, _)) => format!(
                "the job was asked to stop, and its last checkpoint {checkpoint} is complete, but within {grace:?} \
                 (`Config::stop_grace`) {held_up}: it ends all the same. {kept}; what belongs to the checkpoint and is not to be \
                 seen yet is shown by the next start"
            ),
            None => format!(
                "the job was asked to stop, and could not make its last checkpoint within {grace:?} (`Config::stop_grace`), as \
                 {held_up}: it ends without it. {kept}"
            ),
        };
        let error = Error::new(ErrorKind::Unsaved, error);
        tracing::error!(%error, "the job ends");
        self.end(Err(error), CANCEL_GRACE);
    }

    /// How long tasks may take to stop, if the job may usually wait so long for them.
    pub(super) fn within_grace(&self, usually: Duration) -> Duration {
        if self.stopping.deadline == u64::MAX {
            return usually;
        }
        let left = Duration::from_nanos(self.stopping.deadline.saturating_sub(self.now()));
        usually.min(left.max(CANCEL_GRACE))
    }

    /// That a checkpoint could not be made and the job goes on, unless it is to stop.
    pub(super) fn then(&self, said: &str) -> String {
        if self.stop_requested {
            said.replace("the job goes on", "the job is to stop, and tries again")
        } else {
            said.to_string()
        }
    }

    /// What a stop waits for.
    fn held_up_by(&self) -> String {
        if self.closing.is_some() {
            if self.savepoints.copying().is_some() {
                return "its savepoint is still being copied".to_string();
            }
            let waits = |id: &TaskId| {
                self.plan.node_of(*id).kind == ActorKind::ExactlyOnceSink && !self.has_committed(*id)
            };
            let sinks = (0..self.tasks.len()).map(|index| TaskId(index as u32)).filter(waits);
            return format!("{} has not shown all of its output", self.names(sinks));
        }
        if let Some(pending) = self.ledger.collecting() {
            let trouble = self.last_trouble.as_ref().map_or(String::new(), |why| format!(" (before: {why})"));
            return format!(
                "checkpoint {} still waits for {}{trouble}",
                pending.id,
                self.names(self.ledger.missing())
            );
        }
        let down = self.regions.iter().enumerate().find(|(_, region)| region.phase != Phase::Running);
        if let Some((index, region)) = down {
            let why = region.last_failure.as_deref().unwrap_or("it has not begun yet");
            return format!("region {index} is not at work ({}): {why}", region.phase.state());
        }
        match &self.last_trouble {
            Some(why) => why.clone(),
            None if self.ledger.is_storing() => "its manifest is still being written".to_string(),
            None => "it has not begun".to_string(),
        }
    }

    fn names(&self, tasks: impl Iterator<Item = TaskId>) -> String {
        let names: Vec<String> = tasks.map(|task| self.plan.name_of(task)).collect();
        names.join(", ")
    }

    /// What the next start goes on from, in a sentence.
    pub(super) fn kept(&self) -> String {
        if self.config.checkpoints.is_none() && self.config.checkpoints_at.is_none() {
            return "Nothing is kept, as there is no place for checkpoints: the next start begins anew"
                .to_string();
        }
        let Some(newest) = self.newest else {
            return "There is no checkpoint: the next start begins anew".to_string();
        };
        let now_ms = self.host.surroundings().clock.wall_ms();
        let age = self.newest_made.as_ref().map_or(String::new(), |made| {
            let age = Duration::from_millis(now_ms.saturating_sub(made.completed_ms).max(0).unsigned_abs());
            format!(", which is {age:?} old")
        });
        format!("The next start goes on from checkpoint {newest}{age}")
    }

    /// Whether a sink has shown all that belongs to the last checkpoint.
    pub(super) fn has_committed(&self, task: TaskId) -> bool {
        self.closing.is_none_or(|(checkpoint, _)| self.tasks[task.0 as usize].committed >= checkpoint)
    }
}

fn grace_of(grace: Duration) -> String {
    match nanos_of(grace) {
        u64::MAX => "however long that takes".to_string(),
        _ => format!("for {grace:?} at most (`Config::stop_grace`)"),
    }
}

#[cfg(test)]
mod tests {
    use watershed_actors::sources::Generator;

    use super::*;
    use crate::event::Event;
    use crate::host::simulated;
    use crate::master::STOP_GRACE;
    use crate::{Config, Simulation, Topology};

    #[test]
    fn a_second_signal_shortens_an_end_that_is_under_way_and_the_first_does_not() {
        let topology = Topology::new("numbers");
        topology.source("numbers", Generator::bounded(9, |n| n)).for_each(|_: u64| {});
        let simulation = Simulation::seeded(1);
        let config = Config::local().with_simulation(simulation.clone()).checkpoints("/checkpoints");
        let plan = topology.plan(&config).unwrap();
        let (mut master, _world) = simulated::start(plan, config, &simulation).unwrap();
        master.launch_all();
        master.give_up(Error::internal("nothing works"));
        let now = master.now();
        assert_eq!(master.next_alarm(), now + nanos_of(STOP_GRACE));
        for grace in [STOP_GRACE, CANCEL_GRACE] {
            master.handle(Event::Command(Command::Signal("SIGTERM")));
            assert_eq!(master.next_alarm(), now + nanos_of(grace));
        }
        assert!(master.take_result().is_none(), "it still waits for its tasks");
    }
}
