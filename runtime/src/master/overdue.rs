//! Checkpoints that take long, or do not begin: what they wait for, and a warning that says so.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use watershed_actors::{TaskId, Work};

use crate::master::Master;
use crate::master::region::Phase;
use crate::tree::ActorKind;

/// How long a checkpoint may take, and may be late, before there is a warning, at least.
const PATIENCE: u64 = 10_000_000_000;

/// A step that takes so long is worth a word.
const LONG_STEP: u64 = 1_000_000_000;

/// Instances that are named.
const NAMED: usize = 5;

/// Warns ever less often about one and the same checkpoint.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// The checkpoint, or 0 for one that does not begin.
    about: u64,
    /// Since when it is late, which tells apart checkpoints that do not begin.
    since: u64,
    warnings: u32,
}

/// What is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Late {
    /// The checkpoint, or 0 for one that does not begin.
    about: u64,
    since: u64,
    patience: u64,
}

impl Overdue {
    /// When to warn about it, in clock nanoseconds: each time after twice as long.
    fn at(&self, late: Late) -> u64 {
        let warnings = if self.is_about(late) { self.warnings } else { 0 };
        late.since.saturating_add(late.patience.saturating_mul(1 << warnings.min(30)))
    }

    fn is_about(&self, late: Late) -> bool {
        (self.about, self.since) == (late.about, late.since)
    }

    /// Whether to warn now.
    fn is_due(&mut self, late: Late, now: u64) -> bool {
        if now < self.at(late) {
            return false;
        }
        if !self.is_about(late) {
            *self = Self { about: late.about, since: late.since, warnings: 0 };
        }
        while self.at(late) <= now && self.warnings < 30 {
            self.warnings += 1;
        }
        true
    }
}

impl Master {
    /// When to warn at the latest.
    pub(super) fn overdue_alarm(&self) -> u64 {
        // In a simulation the clock must not go on just for that.
        let late = self.late().filter(|_| self.config.simulation.is_none());
        late.map_or(u64::MAX, |late| self.overdue.at(late))
    }

    /// Warns about a checkpoint that takes long or does not begin, with what it waits for.
    pub(super) fn advance_overdue(&mut self, now: u64) {
        let Some(late) = self.late() else { return };
        if !self.overdue.is_due(late, now) {
            return;
        }
        let waits_for = self.checkpoint_waits_for().join("; ");
        let (newest, for_ms) = (self.newest, now.saturating_sub(late.since) / 1_000_000);
        if late.about == 0 {
            tracing::warn!(newest, for_ms, waits_for, "a checkpoint is overdue: it cannot begin");
        } else {
            tracing::warn!(
                checkpoint = late.about,
                newest,
                for_ms,
                waits_for,
                "a checkpoint is overdue: it is not complete yet"
            );
        }
    }

    fn late(&self) -> Option<Late> {
        if let Some(pending) = self.ledger.pending() {
            let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            let interval = self.config.checkpoint_interval.map_or(0, nanos);
            let patience = interval.max(PATIENCE).min(nanos(self.config.checkpoint_timeout) / 2);
            return Some(Late { about: pending.id, since: pending.since_nanos, patience: patience.max(1) });
        }
        let waits = self.closing.is_none() && self.checkpoint_due != u64::MAX;
        waits.then_some(Late { about: 0, since: self.checkpoint_due, patience: PATIENCE })
    }

    /// What the checkpoint in the making, or the next one, waits for, those first that others wait for.
    pub(super) fn checkpoint_waits_for(&self) -> Vec<String> {
        let Some(pending) = self.ledger.pending() else { return self.cannot_begin() };
        let missing: BTreeSet<TaskId> = self.ledger.missing().collect();
        if missing.is_empty() {
            return vec!["its manifest to be written".to_string()];
        }
        let mut reasons: Vec<(bool, String)> = missing
            .iter()
            .map(|task| {
                let (follows, why) = self.part_waits_for(*task, pending.id, &missing);
                (follows, format!("{}: {why}", self.plan.name_of(*task)))
            })
            .collect();
        // In the order of instances, otherwise.
        reasons.sort_by_key(|(follows, _)| *follows);
        let more = reasons.len().saturating_sub(NAMED);
        let mut lines: Vec<String> = reasons.into_iter().take(NAMED).map(|(_, line)| line).collect();
        if more > 0 {
            lines.push(format!("and {more} more instances"));
        }
        lines
    }

    /// Why none begins.
    fn cannot_begin(&self) -> Vec<String> {
        if self.rescale_holds_checkpoints() {
            return vec!["an operator to be rescaled".to_string()];
        }
        let down = self.regions.iter().enumerate().filter(|(_, region)| region.phase != Phase::Running);
        down.map(|(index, region)| format!("region {index}, which is {}", region.phase.state())).collect()
    }

    /// What the part of an instance waits for, and whether that is only another instance.
    fn part_waits_for(&self, task: TaskId, checkpoint: u64, missing: &BTreeSet<TaskId>) -> (bool, String) {
        let now = self.now();
        let life = &self.tasks[task.0 as usize];
        let counters = &life.counters;
        let seconds = |work| {
            let since = counters.pulse.since(work)?;
            Some(now.saturating_sub(since))
                .filter(|nanos| *nanos >= LONG_STEP)
                .map(|nanos| nanos / 1_000_000_000)
        };
        if self.has_passed(task, checkpoint) {
            return (
                false,
                match seconds(Work::Prepare) {
                    Some(seconds) => format!("it prepares its output, for {seconds} s so far"),
                    None => "the barrier has passed it, and it writes its part".to_string(),
                },
            );
        }
        if life.handle.is_none() {
            return (false, format!("it is {}", life.state.name()));
        }
        let senders = self.senders(task).filter(|sender| missing.contains(sender));
        let senders: Vec<String> = senders
            .filter(|sender| !self.has_passed(*sender, checkpoint))
            .map(|sender| self.plan.name_of(sender))
            .collect();
        if !senders.is_empty() {
            return (true, format!("the barrier has not come from {}", named(&senders)));
        }
        let what = if self.plan.node_of(task).kind == ActorKind::Source {
            "it has not acknowledged the trigger"
        } else {
            "the barrier waits behind records in its mailbox"
        };
        let full = self.full_receivers(task);
        if let Some(seconds) = seconds(Work::Step) {
            return (false, format!("{what}, as it has been in one step for {seconds} s"));
        }
        if let Some((holder, nanos)) = self.holder_of(self.plan.task(task).arbiter, now)
            && nanos >= LONG_STEP
        {
            let holder = self.plan.name_of(holder);
            return (
                true,
                format!("{what}, as {holder} holds up its thread, for {} s so far", nanos / 1_000_000_000),
            );
        }
        if !full.is_empty() {
            // Those are held up by what is behind them, or are slow themselves.
            return (true, format!("{what}, as it is blocked by {}", named(&full)));
        }
        (false, format!("{what}, which it has not come to yet"))
    }

    fn has_passed(&self, task: TaskId, checkpoint: u64) -> bool {
        self.tasks[task.0 as usize].counters.barrier.load(Ordering::Relaxed) >= checkpoint
    }

    fn senders(&self, task: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        let lives = self.tasks.iter().enumerate();
        lives
            .filter(move |(_, life)| life.channels.iter().any(|(receiver, _)| *receiver == task))
            .map(|(index, _)| TaskId(index as u32))
    }

    /// To whom nothing can be sent before they have worked something off.
    fn full_receivers(&self, task: TaskId) -> Vec<String> {
        let channels = self.tasks[task.0 as usize].channels.iter();
        let full =
            channels.filter(|(_, credits)| credits.upgrade().is_some_and(|credits| credits.free() == 0));
        full.map(|(receiver, _)| self.plan.name_of(*receiver)).collect()
    }
}

/// Some names, and how many more there are.
fn named(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_when_patience_is_over_and_then_after_twice_as_long_each_time() {
        let mut overdue = Overdue::default();
        let late = Late { about: 7, since: 100, patience: 10 };
        let warned: Vec<u64> = (100..300).filter(|now| overdue.is_due(late, *now)).collect();
        assert_eq!(warned, [110, 120, 140, 180, 260]);
        let next = Late { about: 8, since: 300, patience: 10 };
        assert_eq!(overdue.at(next), 310);
        assert!(overdue.is_due(next, 500), "who looks late warns once");
        assert!(!overdue.is_due(next, 501));
    }

    #[test]
    fn a_later_outage_is_warned_of_as_soon_as_the_first_one() {
        let mut overdue = Overdue::default();
        for since in [100, 10_000] {
            let cannot_begin = Late { about: 0, since, patience: 10 };
            let warned: Vec<u64> =
                (since..since + 50).filter(|now| overdue.is_due(cannot_begin, *now)).collect();
            assert_eq!(warned, [since + 10, since + 20, since + 40]);
        }
    }
}
