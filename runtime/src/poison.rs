//! Poison records: who is under suspicion, what is on the skip list, and which dead letters are to be replayed.

mod letters;

use std::collections::BTreeMap;
use std::path::PathBuf;

use watershed_actors::{Failure, FailureKind, Oversight, SkipEntry, Suspect, TaskId};
use watershed_state::bug::{self, Bug};
use watershed_state::{CheckpointStore, Fs, StoreError};

use crate::plan::Plan;
pub(crate) use letters::Letters;

/// What is known of records that make operators fail.
pub(crate) struct Poison {
    pub(crate) list: Vec<SkipEntry>,
    /// Records that have failed often enough, and are put onto the list before their region restarts.
    convicted: Vec<Convict>,
    /// How often a record has failed, by the number of its operator and its fingerprint.
    tries: BTreeMap<(usize, u64), u32>,
    /// The last failure of an instance, if it is not known which record caused it.
    unknown: BTreeMap<TaskId, Moment>,
    /// Records that the instances of an operator take one by one in their next run, by the instance that has failed.
    careful: BTreeMap<TaskId, u64>,
    /// Dead letters that something is to be done with.
    pub(crate) letters: Letters,
}

/// When an instance failed: so many records after this checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) checkpoint: u64,
    pub(crate) records: u64,
}

struct Convict {
    task: TaskId,
    suspect: Suspect,
    failure: Failure,
    attempts: u32,
}

/// What a failure means for the restart budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing that the policy leaves out: it counts.
    NotPoison,
    /// It counts; who it was comes out when it happens again.
    FirstTry,
    /// A known suspect has failed again, after so many attempts. Their number is limited, so that it need not count.
    Retry(u32),
    /// It has failed often enough, and is left out from now on.
    Convicted,
    /// It should have been left out, and came through. It counts, so that this ends whatever the reason.
    Missed,
}

/// Records that are taken one by one after a failure, beyond those that came before it.
const CAREFUL_MARGIN: u64 = 2_000;

impl Poison {
    /// Reads the skip list, and the requests to replay.
    pub(crate) fn open(store: &CheckpointStore, requests: Option<(Fs, PathBuf)>) -> Result<Self, StoreError> {
        Ok(Self {
            list: store.skips()?,
            convicted: Vec::new(),
            tries: BTreeMap::new(),
            unknown: BTreeMap::new(),
            careful: BTreeMap::new(),
            letters: Letters::open(requests),
        })
    }

    /// A task has failed: at this moment of its run, and at this one as its next run counts.
    pub(crate) fn note(
        &mut self,
        (plan, lineage): (&Plan, &str),
        task: TaskId,
        failure: &Failure,
        (of_run, moment): (Moment, Moment),
    ) -> Finding {
        let node = plan.task(task).node.0;
        let Some(blame) = failure.blame.as_ref().filter(|blame| blame.directive.leaves_out()) else {
            return Finding::NotPoison;
        };
        let careful = self.careful.entry(task).or_default();
        *careful = (*careful).max(2 * moment.records + CAREFUL_MARGIN);
        let unknown = self.unknown.remove(&task);
        let Some(suspect) = &blame.suspect else {
            self.unknown.insert(task, of_run);
            return Finding::FirstTry;
        };
        let known = |entry: &SkipEntry| {
            *entry.operator == *plan.nodes[node].name
                && entry.lineage == lineage
                && entry.fingerprint == suspect.fingerprint
        };
        let before = self.tries.entry((node, suspect.fingerprint)).or_default();
        if *before == 0 && unknown.is_some_and(|unknown| unknown.is_about(of_run)) {
            // The failure before, of which it was not known who it was, was at the same place.
            *before = 1;
        }
        let first = *before == 0;
        *before += 1;
        let attempts = *before;
        if attempts < plan.nodes[node].supervision.policy.attempts && !self.list.iter().any(known) {
            return if first { Finding::FirstTry } else { Finding::Retry(attempts) };
        }
        self.tries.remove(&(node, suspect.fingerprint));
        self.convicted.push(Convict { task, suspect: suspect.clone(), failure: failure.clone(), attempts });
        let checkpoint = moment.checkpoint;
        let occurrence = suspect.occurrence_since(checkpoint);
        let listed = |entry: &SkipEntry| {
            known(entry) && entry.checkpoint == checkpoint && Some(entry.occurrence) == occurrence
        };
        if self.list.iter().any(listed) { Finding::Missed } else { Finding::Convicted }
    }

    /// Puts those who are convicted onto the list, durably, before a region restarts from this checkpoint (0 for the
    /// beginning).
    ///
    /// # Errors
    /// If the list cannot be written. It is as it was then, and they wait for the next try.
    pub(crate) fn write_down(
        &mut self,
        plan: &Plan,
        (store, lineage): (&CheckpointStore, &str),
        region: usize,
        checkpoint: u64,
    ) -> Result<(), StoreError> {
        let is_due = |convict: &Convict| plan.task(convict.task).region == region;
        if !self.convicted.iter().any(is_due) {
            return Ok(());
        }
        let before = self.list.clone();
        for Convict { task, suspect, failure, attempts } in
            self.convicted.iter().filter(|convict| is_due(convict))
        {
            let Some(occurrence) = suspect.occurrence_since(checkpoint) else { continue };
            let (planned, suspect) = (plan.task(*task), suspect.clone());
            let node = &plan.nodes[planned.node.0];
            let backtrace = failure.blame.as_ref().and_then(|blame| blame.backtrace.clone());
            let id = self.list.last().map_or(1, |entry| entry.id + 1);
            // One that was on the list and came through takes the place of that entry.
            self.list.retain(|entry| {
                (&*entry.operator, entry.fingerprint, entry.checkpoint, entry.occurrence)
                    != (&*node.name, suspect.fingerprint, checkpoint, occurrence)
                    || entry.lineage != lineage
            });
            self.list.push(SkipEntry {
                id,
                lineage: lineage.to_string(),
                operator: node.name.to_string(),
                instance: planned.instance,
                parallelism: node.parallelism,
                fingerprint: suspect.fingerprint,
                checkpoint,
                occurrence,
                within_records: self.careful.get(task).copied().unwrap_or(CAREFUL_MARGIN),
                evidence: suspect.evidence,
                attempts: *attempts,
                cause: failure.cause.clone(),
                backtrace,
                panicked: failure.kind == FailureKind::Panic,
                replay_of: suspect.replay_of,
            });
        }
        if !bug::is(Bug::SkipListNotDurable) {
            store.save_skips(&self.list).inspect_err(|_| self.list = before)?;
        }
        self.convicted.retain(|convict| plan.task(convict.task).region != region);
        Ok(())
    }

    /// The records that are skipped.
    pub(crate) fn skips(&self) -> &[SkipEntry] {
        &self.list
    }

    /// Instructions for a run of a task that begins at this checkpoint.
    pub(crate) fn oversight(&self, plan: &Plan, lineage: &str, task: TaskId, checkpoint: u64) -> Oversight {
        let planned = plan.task(task);
        let node = &plan.nodes[planned.node.0];
        let skips = self.list.iter().filter(|entry| {
            *entry.operator == *node.name && entry.lineage == lineage && entry.checkpoint <= checkpoint
        });
        let of_operator = self.careful.iter().filter(|(task, _)| plan.task(**task).node == planned.node);
        let careful = of_operator.map(|(_, careful)| *careful).max().unwrap_or(0);
        let oversight =
            Oversight::new(node.supervision.policy, checkpoint, careful, skips.cloned().collect());
        oversight.replay(self.letters.of(&node.name).cloned());
        oversight
    }

    /// A task begins anew with a later checkpoint, which covers so many records of the run that began with another one.
    pub(crate) fn begins(&mut self, task: TaskId, began_with: u64, covered: u64, checkpoint: u64) {
        if let Some(unknown) = self.unknown.get_mut(&task)
            && unknown.checkpoint == began_with
        {
            *unknown = Moment { checkpoint, records: unknown.records.saturating_sub(covered) };
        }
    }

    /// A checkpoint is there, before which a task has taken so many records of its run. If those are all among which
    /// the culprit can be, what failed was no record; nobody is under suspicion any more.
    pub(crate) fn ran(&mut self, plan: &Plan, task: TaskId, records: u64) {
        if self.careful.get(&task).is_none_or(|careful| records < *careful) {
            return;
        }
        self.careful.remove(&task);
        self.unknown.remove(&task);
        let node = plan.task(task).node;
        if !self.careful.keys().any(|other| plan.task(*other).node == node) {
            self.tries.retain(|(other, _), _| *other != node.0);
        }
    }

    /// The tasks are others now. What is known of an operator goes on; where exactly an instance had failed does not,
    /// as another one may have the record now.
    pub(crate) fn rescaled(&mut self, before: &Plan, now: &Plan) {
        self.convicted.clear();
        self.unknown.clear();
        for (task, records) in std::mem::take(&mut self.careful) {
            let planned = before.task(task);
            let instance = planned.instance % now.nodes[planned.node.0].parallelism;
            let careful = self.careful.entry(now.task_at(planned.node, instance)).or_default();
            *careful = (*careful).max(records);
        }
        self.letters.rescaled();
    }
}

impl Moment {
    /// Whether it may be the same record that failed: batches are counted as a whole.
    fn is_about(self, other: Self) -> bool {
        self.checkpoint == other.checkpoint && self.records.abs_diff(other.records) <= CAREFUL_MARGIN
    }
}

#[cfg(test)]
mod tests {
    use watershed_actors::sinks::SinkFn;
    use watershed_actors::sources::Generator;

    use super::*;
    use crate::wiring::NodeId;
    use crate::{Config, Topology};

    fn plan(parallelism: usize) -> Plan {
        let topology = Topology::new("numbers");
        let numbers = topology.source("numbers", Generator::bounded(9, |n| n));
        numbers.rebalance().sink("shown", SinkFn::new(|_| |_: u64| Ok(())));
        topology.plan(&Config::local().parallelism(parallelism)).unwrap()
    }

    #[test]
    fn after_a_rescaling_the_instances_that_are_left_take_care_for_those_that_are_gone() {
        let (before, now) = (plan(3), plan(2));
        let shown = |plan: &Plan, instance| plan.task_at(NodeId(1), instance);
        let moment = Moment { checkpoint: 1, records: 5 };
        let mut poison = Poison {
            list: Vec::new(),
            convicted: Vec::new(),
            tries: [((1, 7), 2)].into(),
            unknown: [(shown(&before, 1), moment)].into(),
            careful: [(shown(&before, 0), 10), (shown(&before, 2), 30)].into(),
            letters: Letters::open(None),
        };
        poison.rescaled(&before, &now);
        assert_eq!(poison.careful, [(shown(&now, 0), 30)].into());
        assert!(poison.unknown.is_empty());
        assert_eq!(poison.tries, [((1, 7), 2)].into());
    }
}
