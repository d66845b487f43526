//! The supervision tree, drawn from what the control plane knows.

use std::sync::atomic::Ordering;

use watershed_actors::TaskId;

use crate::master::{Master, TaskState};
use crate::tree::{InstanceNode, OperatorNode, RegionNode, Tree};

impl Master {
    /// The tree as it is.
    pub(super) fn tree(&self) -> Tree {
        let regions = self.regions.iter().enumerate().map(|(index, region)| {
            let mut operators: Vec<OperatorNode> = Vec::new();
            for task in &region.tasks {
                let node = self.plan.node_of(*task);
                if operators.last().is_none_or(|operator| *operator.operator != *node.name) {
                    operators.push(OperatorNode {
                        operator: node.name.to_string(),
                        kind: node.kind.name().to_string(),
                        instances: Vec::new(),
                    });
                }
                if let Some(operator) = operators.last_mut() {
                    operator.instances.push(self.instance(*task, region.run));
                }
            }
            RegionNode {
                region: index,
                state: region.phase.name().to_string(),
                run: region.run,
                restarts: region.restarts,
                last_failure: region.last_failure.clone(),
                operators,
            }
        });
        Tree {
            job: self.plan.topology.clone(),
            lineage: self.identity.lineage.clone(),
            checkpoint: self.newest,
            regions: regions.collect(),
        }
    }

    fn instance(&self, task: TaskId, run: u32) -> InstanceNode {
        let (planned, life) = (self.plan.task(task), &self.tasks[task.0 as usize]);
        InstanceNode {
            instance: planned.instance,
            arbiter: planned.arbiter,
            state: life.state.name().to_string(),
            run,
            records: life.counters.records.load(Ordering::Relaxed),
            failures: life.failures,
            last_failure: life.last_failure.as_ref().map(ToString::to_string),
        }
    }

    /// Writes the tree to the log, one line a node.
    pub(super) fn log_tree(&self, when: &str) {
        tracing::info!(target: "watershed::tree", "supervision tree {when}");
        for line in self.tree().lines() {
            tracing::info!(target: "watershed::tree", "{line}");
        }
    }
}

impl TaskState {
    fn name(self) -> &'static str {
        match self {
            Self::Absent => "stopped",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Ended => "ended",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}
