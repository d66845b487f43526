//! The supervision tree, drawn from what the control plane knows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed_actors::{Counters, Progress, TaskId};

use crate::master::Master;
use crate::tree::ActorKind;
use crate::tree::{InstanceNode, OperatorNode, ProgressNode, RegionNode, SplitNode, Tree};

/// What is on its way to an instance, and what it may still send.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    mailbox: u32,
    mailbox_capacity: u32,
    credits: u32,
    credits_total: u32,
}

impl Master {
    /// The tree as it is.
    pub(super) fn tree(&self) -> Tree {
        let traffic = self.traffic();
        let regions = self.regions.iter().enumerate().map(|(index, region)| {
            let mut operators: Vec<OperatorNode> = Vec::new();
            for task in &region.tasks {
                let node = self.plan.node_of(*task);
                if operators.last().is_none_or(|operator| *operator.operator != *node.name) {
                    operators.push(OperatorNode {
                        operator: node.name.to_string(),
                        kind: node.kind,
                        instances: Vec::new(),
                    });
                }
                if let Some(operator) = operators.last_mut() {
                    let traffic = traffic.get(task).copied().unwrap_or_default();
                    operator.instances.push(self.instance(*task, region.run, traffic));
                }
            }
            RegionNode {
                region: index,
                state: region.phase.state(),
                run: region.run,
                restarts: region.restarts,
                last_failure: region.last_failure.clone(),
                recent_failures: region.recent_failures.nodes(),
                operators,
            }
        });
        Tree {
            job: self.plan.topology.clone(),
            lineage: self.identity.lineage.clone(),
            taken_ms: self.host.surroundings().clock.wall_ms(),
            taken_nanos: self.now(),
            checkpoint: self.newest,
            newest_checkpoint: self.newest_made.clone(),
            regions: regions.collect(),
        }
    }

    fn instance(&self, task: TaskId, run: u64, traffic: Traffic) -> InstanceNode {
        let (planned, life) = (self.plan.task(task), &self.tasks[task.0 as usize]);
        let counters = &life.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let is_source = self.plan.node_of(task).kind == ActorKind::Source;
        InstanceNode {
            instance: planned.instance,
            arbiter: planned.arbiter,
            state: life.state,
            run,
            records: count(&counters.records),
            bytes: count(&counters.records).saturating_mul(count(&counters.record_bytes)),
            records_sent: count(&counters.sent.records),
            bytes_sent: count(&counters.sent.bytes),
            records_skipped: count(&counters.skipped),
            records_parked: count(&counters.parked),
            mailbox: traffic.mailbox,
            mailbox_capacity: traffic.mailbox_capacity,
            credits: traffic.credits,
            credits_total: traffic.credits_total,
            time: counters.meter.read(self.now()).into(),
            progress: progress(counters),
            watermark: if is_source { counters.watermark_sent.get() } else { counters.watermark.get() },
            failures: life.failures,
            last_failure: life.last_failure.as_ref().map(ToString::to_string),
            recent_failures: life.recent_failures.nodes(),
        }
    }

    /// Looks at the credits of all channels. That costs those who use them nothing.
    fn traffic(&self) -> BTreeMap<TaskId, Traffic> {
        let mut traffic: BTreeMap<TaskId, Traffic> = BTreeMap::new();
        for (index, life) in self.tasks.iter().enumerate() {
            for (receiver, credits) in &life.channels {
                // A channel that is gone was that of a task that is gone.
                let Some(credits) = credits.upgrade() else { continue };
                let (total, free) = (credits.total(), credits.free().min(credits.total()));
                let sender = traffic.entry(TaskId(index as u32)).or_default();
                sender.credits += free;
                sender.credits_total += total;
                let receiver = traffic.entry(*receiver).or_default();
                receiver.mailbox += total - free;
                receiver.mailbox_capacity += total;
            }
        }
        traffic
    }

    /// Writes the tree to the log, one line a node.
    pub(super) fn log_tree(&mut self, when: &str) {
        tracing::info!(target: "watershed::tree", "supervision tree {when}");
        for line in self.tree().lines() {
            tracing::info!(target: "watershed::tree", "{line}");
        }
        self.failures_are_logged();
    }
}

/// How far a source that ends has come.
fn progress(counters: &Counters) -> Option<ProgressNode> {
    let (splits_finished, splits) = counters.progress.splits()?;
    let at_hand = counters.progress.at_hand();
    let at_hand = at_hand.map(|Progress { done, total, unit }| SplitNode { done, total, unit });
    Some(ProgressNode { splits_finished, splits, at_hand })
}
