//! What is done about a failure: the decision, and the regions that it takes down.

use std::collections::BTreeSet;

use watershed_actors::{Control, Directive, Failure, FailureKind, Stage, TaskId, nanos_of};
use watershed_state::hash_key;

use crate::config::Config;
use crate::escalation::{Decision, Escalation, Incident};
use crate::master::region::Phase;
use crate::master::{Master, STOP_GRACE};
use crate::plan::{Plan, PlannedNode};
use crate::tree::ActorKind;
use crate::tree::InstanceState;
use crate::tree::SupervisionLevel as Level;

/// The budgets that configuration and wiring give to the levels of the tree.
pub(super) fn budgets(plan: &Plan, config: &Config, lineage: &str) -> Escalation {
    let operators = plan.regions.iter().map(|tasks| {
        let nodes: BTreeSet<usize> = tasks.iter().map(|task| plan.task(*task).node.0).collect();
        let own = |node: usize| plan.nodes[node].supervision.restart.map(|restart| (node, restart));
        nodes.into_iter().filter_map(own).collect()
    });
    Escalation::new(config.restart_job, config.restart, operators, hash_key(&lineage.to_string()))
}

/// What an operator's policy says of a failure.
fn directive_of(node: &PlannedNode, failure: &Failure) -> Directive {
    match (&failure.blame, failure.kind) {
        (Some(blame), _) => blame.directive,
        // Found from outside: its main work is what hangs.
        (None, FailureKind::Hung) => node.supervision.policy.directive(main_stage(node)),
        (None, _) => Directive::Restart,
    }
}

/// What an operator is there for.
pub(super) fn main_stage(node: &PlannedNode) -> Stage {
    match node.kind {
        ActorKind::Source => Stage::Decode,
        ActorKind::Sink | ActorKind::ExactlyOnceSink => Stage::Sink,
        ActorKind::Process => Stage::Process,
    }
}

impl Master {
    /// Decides about a failure, and rolls back what has to be.
    pub(super) fn roll_back(&mut self, region: usize, task: TaskId, failure: &Failure) {
        let now = self.now();
        let incident = Incident {
            region,
            operator: self.plan.task(task).node.0,
            kind: failure.kind,
            directive: directive_of(self.plan.node_of(task), failure),
            finding: self.judge(task, failure),
        };
        let (level, backoff) = match self.escalation.failed(incident, now) {
            Decision::Restart { level, backoff } => (level, backoff),
            Decision::GiveUp(why) => return self.give_up(self.error_of(task, failure, why.reason())),
        };
        if failure.kind == FailureKind::Io {
            tracing::warn!(
                task = %self.plan.name_of(task),
                backoff_ms = backoff.as_millis() as u64,
                "input or output failed: it is tried again until it works, from the newest checkpoint, at no cost of restarts \
                 unless `Restart::count_io` says so"
            );
        }
        tracing::warn!(
            task = %self.plan.name_of(task),
            level = level.name(),
            backoff_ms = backoff.as_millis() as u64,
            "it is rolled back to the newest checkpoint"
        );
        let restart_at = now.saturating_add(nanos_of(backoff));
        let regions = if level == Level::Job { 0..self.regions.len() } else { region..region + 1 };
        for region in regions.clone() {
            self.take_down(region, restart_at, (task, level));
        }
        for region in regions {
            self.advance_region(region, now);
        }
    }

    /// Fences a region and stops what is left of it; it begins anew at `restart_at` at the earliest.
    ///
    /// `why` is who has failed, in this region or in another, and who decided that this one has to come down.
    pub(super) fn take_down(&mut self, region: usize, restart_at: u64, why: (TaskId, Level)) {
        if let Some(checkpoint) = self.ledger.collecting().map(|pending| pending.id)
            && self.regions[region].tasks.iter().any(|task| self.ledger.involves(*task))
        {
            self.abort_checkpoint(checkpoint, "a region that takes part in it is rolled back");
        }
        self.closing = None;
        self.rescale_meets_failure();
        let now = self.now();
        let state = &mut self.regions[region];
        let (culprit, level) = why;
        if let Some(failure) = self.tasks[culprit.0 as usize].recent_failures.last() {
            state.recent_failures.restarted(failure, level);
        }
        match &mut state.phase {
            Phase::Starting { .. } | Phase::Running => {}
            // It is down already.
            Phase::Stopping { restart_at: at, .. } | Phase::Backoff { until: at } => {
                *at = restart_at.max(*at);
                return;
            }
            // What is being read is not waited for: it is read again.
            Phase::Loading => {
                state.phase = Phase::Backoff { until: restart_at };
                return;
            }
            Phase::Ended => return,
        }
        state.failed_at.get_or_insert(now);
        self.stop_region(region, restart_at);
    }

    /// Shuts a region out and stops what is left of it.
    pub(super) fn stop_region(&mut self, region: usize, restart_at: u64) {
        let now = self.now();
        let state = &mut self.regions[region];
        state.fence.raise(self.next_run);
        let mut waiting = BTreeSet::new();
        for id in &state.tasks {
            let life = &mut self.tasks[id.0 as usize];
            if let Some(handle) = &life.handle {
                (handle.0)(Control::Stop);
                life.state = InstanceState::Stopping;
                waiting.insert(*id);
            }
        }
        state.phase = Phase::Stopping { waiting, deadline: now + nanos_of(STOP_GRACE), restart_at };
    }
}
