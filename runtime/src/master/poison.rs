//! Poison records: who is under suspicion, what is on the skip list, and which dead letters are to be replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use watershed_actors::{Failure, FailureKind, Oversight, SkipEntry, Suspect, TaskId};
use watershed_state::bug::{self, Bug};
use watershed_state::{CheckpointStore, Fs, StoreError};

use crate::host::Host;
use crate::master::Master;
use crate::master::letters::Letters;
use crate::plan::Plan;

/// What is known of records that make operators fail.
pub(crate) struct Poison {
    list: Vec<SkipEntry>,
    /// Records that have failed often enough, and are put onto the list before their region restarts.
    convicted: Vec<Convict>,
    /// How often a record has failed, by the number of its operator and its fingerprint.
    tries: BTreeMap<(usize, u64), u32>,
    /// Operators with failures of which it is not known whose fault they were.
    unknown: BTreeSet<usize>,
    /// Records that the instances of an operator take one by one in their next run.
    careful: BTreeMap<usize, u64>,
    /// Dead letters that something is to be done with.
    pub(crate) letters: Letters,
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
    /// A known suspect has failed again. The number of its attempts is limited, so that it need not count.
    Retry,
    /// It has failed often enough, and is left out from now on.
    Convicted,
    /// It should have been left out, and came through. It counts, so that this ends whatever the reason.
    Missed,
}

/// Records that are taken one by one after a failure, beyond those that came before it.
const CAREFUL_MARGIN: u64 = 1_000;

impl Poison {
    /// Reads the skip list, and the requests to replay.
    pub(crate) fn open(store: &CheckpointStore, requests: Option<(Fs, PathBuf)>) -> Result<Self, StoreError> {
        Ok(Self {
            list: store.skips()?,
            convicted: Vec::new(),
            tries: BTreeMap::new(),
            unknown: BTreeSet::new(),
            careful: BTreeMap::new(),
            letters: Letters::open(requests),
        })
    }

    /// A task has failed after so many records of its run. The next one begins with this checkpoint.
    pub(super) fn note(
        &mut self,
        plan: &Plan,
        (task, checkpoint): (TaskId, u64),
        failure: &Failure,
        records: u64,
    ) -> Finding {
        let node = plan.task(task).node.0;
        let Some(blame) = failure.blame.as_ref().filter(|blame| blame.directive.leaves_out()) else {
            return Finding::NotPoison;
        };
        let careful = self.careful.entry(node).or_default();
        *careful = (*careful).max(2 * records + CAREFUL_MARGIN);
        let Some(suspect) = &blame.suspect else {
            self.unknown.insert(node);
            return Finding::FirstTry;
        };
        let known = |entry: &SkipEntry| {
            *entry.operator == *plan.nodes[node].name && entry.fingerprint == suspect.fingerprint
        };
        let before = self.tries.entry((node, suspect.fingerprint)).or_default();
        if *before == 0 {
            // The failure before, of which it was not known who it was, was most likely the same.
            *before = u32::from(self.unknown.remove(&node));
        }
        let first = *before == 0;
        *before += 1;
        let attempts = *before;
        if attempts < plan.nodes[node].supervision.policy.attempts && !self.list.iter().any(known) {
            return if first { Finding::FirstTry } else { Finding::Retry };
        }
        self.tries.remove(&(node, suspect.fingerprint));
        self.convicted.push(Convict { task, suspect: suspect.clone(), failure: failure.clone(), attempts });
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
    /// If the list cannot be written: nothing is lost then but the next attempt.
    fn write_down(
        &mut self,
        plan: &Plan,
        (store, lineage): (&CheckpointStore, &str),
        region: usize,
        checkpoint: u64,
    ) -> Result<(), StoreError> {
        let (due, rest): (Vec<Convict>, _) = std::mem::take(&mut self.convicted)
            .into_iter()
            .partition(|convict| plan.task(convict.task).region == region);
        self.convicted = rest;
        if due.is_empty() {
            return Ok(());
        }
        let before = self.list.clone();
        for Convict { task, suspect, failure, attempts } in due {
            let Some(occurrence) = suspect.occurrence_since(checkpoint) else { continue };
            let planned = plan.task(task);
            let node = &plan.nodes[planned.node.0];
            let backtrace = failure.blame.and_then(|blame| blame.backtrace);
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
                within_records: self.careful.get(&planned.node.0).copied().unwrap_or(CAREFUL_MARGIN),
                evidence: suspect.evidence,
                attempts,
                cause: failure.cause,
                backtrace,
                panicked: failure.kind == FailureKind::Panic,
                replay_of: suspect.replay_of,
            });
        }
        if bug::is(Bug::SkipListNotDurable) {
            return Ok(());
        }
        store.save_skips(&self.list).inspect_err(|_| self.list = before)
    }

    /// Instructions for a run of a task that begins at this checkpoint.
    fn oversight(&self, plan: &Plan, lineage: &str, task: TaskId, checkpoint: u64) -> Oversight {
        let planned = plan.task(task);
        let node = &plan.nodes[planned.node.0];
        let skips = self.list.iter().filter(|entry| {
            *entry.operator == *node.name && entry.lineage == lineage && entry.checkpoint <= checkpoint
        });
        let careful = self.careful.get(&planned.node.0).copied().unwrap_or(0);
        let oversight =
            Oversight::new(node.supervision.policy, checkpoint, careful, skips.cloned().collect());
        oversight.replay(self.letters.of(&node.name).cloned());
        oversight
    }

    /// A run has gone well for so many records of a task: nobody is under suspicion any more if those were enough.
    fn ran(&mut self, plan: &Plan, task: TaskId, records: u64) {
        let node = plan.task(task).node.0;
        if self.careful.get(&node).is_some_and(|careful| records >= *careful) {
            self.careful.remove(&node);
        }
    }
}

impl Master {
    /// Instructions for a task that is about to be made.
    pub(super) fn oversight(&mut self, task: TaskId) -> Oversight {
        let region = self.plan.task(task).region;
        let checkpoint = self.begins_at(region);
        self.poison.letters.begins_again(task);
        let life = &mut self.tasks[task.0 as usize];
        let counted = life.counters.records();
        let records = counted - std::mem::replace(&mut life.records_before_run, counted);
        if self.regions[region].failed_at.is_none() {
            self.poison.ran(&self.plan, task, records);
        }
        if let Host::Simulated(host) = &self.host
            && let Some(script) = host.script()
        {
            script.leaves_out(&self.poison.list);
        }
        self.poison.oversight(&self.plan, &self.identity.lineage, task, checkpoint)
    }

    /// What a failure means: see [`Finding`].
    pub(super) fn judge(&mut self, task: TaskId, failure: &Failure) -> Finding {
        let life = &self.tasks[task.0 as usize];
        let records = life.counters.records().saturating_sub(life.records_before_run);
        let checkpoint = self.begins_at(self.plan.task(task).region);
        let finding = self.poison.note(&self.plan, (task, checkpoint), failure, records);
        if let Some(suspect) = failure.blame.as_ref().and_then(|blame| blame.suspect.as_ref()) {
            let (record, task) = (&suspect.evidence.payload, self.plan.name_of(task));
            tracing::warn!(task, %record, key = failure.key, ?finding, "a record is under suspicion");
        }
        finding
    }

    /// Sees to it that who is convicted is on the list before the region comes back.
    pub(super) fn write_down_convicts(&mut self, region: usize) {
        let checkpoint = self.begins_at(region);
        let plan = Arc::clone(&self.plan);
        let at = (&self.store, &*self.identity.lineage);
        if let Err(error) = self.poison.write_down(&plan, at, region, checkpoint) {
            tracing::warn!(%error, "the skip list could not be written: the record gets another attempt");
        }
    }

    /// The checkpoint that the next run of a region begins with; 0 for the beginning.
    fn begins_at(&self, region: usize) -> u64 {
        let parts = self.regions[region].parts.as_ref();
        let part = parts.and_then(|parts| parts.values().next()).map(|part| part.checkpoint);
        part.or(self.origin_checkpoint).unwrap_or(0)
    }
}
