//! The last few failures of an instance or a region.

use std::collections::VecDeque;

use watershed_actors::{Failure, TaskId};

use crate::master::Master;
use crate::tree::FailureNode;
use crate::tree::SupervisionLevel as Level;

/// Failures that are remembered, of each instance and of each region.
const REMEMBERED: usize = 8;

/// The last few failures, oldest first.
#[derive(Debug, Default)]
pub(crate) struct RecentFailures(VecDeque<FailureNode>);

impl RecentFailures {
    fn push(&mut self, failure: FailureNode) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(failure);
    }

    /// The newest.
    pub(super) fn last(&self) -> Option<&FailureNode> {
        self.0.back()
    }

    /// A failure, of this region or of another, has led to a restart that this level decided on.
    pub(super) fn restarted(&mut self, failure: &FailureNode, level: Level) {
        let restarted_by = Some(level);
        match self.0.back_mut() {
            Some(last) if last.at_ms == failure.at_ms && last.instance == failure.instance => {
                last.restarted_by = restarted_by;
            }
            _ => self.push(FailureNode { restarted_by, ..failure.clone() }),
        }
    }

    /// As they stand in the tree.
    pub(crate) fn nodes(&self) -> Vec<FailureNode> {
        self.0.iter().cloned().collect()
    }
}

impl Master {
    /// Remembers how a task failed.
    pub(super) fn remember(&mut self, region: usize, task: TaskId, failure: &Failure) {
        let node = FailureNode {
            at_ms: self.host.surroundings().clock.wall_ms(),
            instance: self.plan.name_of(task),
            run: self.regions[region].run,
            kind: failure.kind,
            cause: failure.cause.clone(),
            key: failure.key.clone(),
            restarted_by: None,
        };
        self.tasks[task.0 as usize].recent_failures.push(node.clone());
        self.regions[region].recent_failures.push(node);
    }
}

#[cfg(test)]
mod tests {
    use watershed_actors::FailureKind;

    use super::*;

    #[test]
    fn only_the_last_few_failures_are_remembered_oldest_first() {
        let mut recent = RecentFailures::default();
        for at_ms in 0..20 {
            recent.push(FailureNode {
                at_ms,
                instance: "count[0]".to_string(),
                run: 1,
                kind: FailureKind::Panic,
                cause: "oh".to_string(),
                key: None,
                restarted_by: None,
            });
        }
        let times: Vec<i64> = recent.nodes().iter().map(|failure| failure.at_ms).collect();
        assert_eq!(times, (12..20).collect::<Vec<_>>());
    }
}
