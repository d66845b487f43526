//! The care of one instance: which record is in process, which ones are left out, and what has become of those.

#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::field::display;
use watershed_state::{Data, SectionKind, decode, encode, hash_key, shown};

use crate::clock::NO_TIMESTAMP;
use crate::error::{UserError, chain_of};
use crate::failure::{Blame, Failure, FailureKind};
use crate::instance::Instance;
use crate::restored::Restored;
use crate::snapshot::SnapshotItem;
use crate::snapshot::small_section;
use crate::supervision::{
    DeadLetter, Directive, Evidence, Place, Position, Rejected, Replay, SkipEntry, Stage, Suspect, ToJson,
    json_of,
};
use crate::task::{Env, TaskEvent};
use window::{Counted, Window};

/// Watches over the records of an instance.
///
/// After a failure records are taken one by one for a while, so that the next failure says which record it was. The
/// same goes on as long as there are records to be left out. Else it costs a look at a number.
#[derive(Debug)]
pub(crate) struct Care {
    env: Env,
    /// Records still to be taken one by one since a failure.
    remaining: u64,
    /// What is to be left out and has not come yet.
    pending: Vec<Pending>,
    /// Entries that need not be looked for any more.
    settled: BTreeSet<u64>,
    /// Letters that have been replayed, or given up.
    replayed: BTreeSet<String>,
    /// Those that no snapshot knows of.
    fresh: Vec<String>,
    /// How often each record has come since a checkpoint, while records are taken one by one.
    counts: Vec<(u64, BTreeMap<u64, u32>)>,
    /// The part of the work that the record at hand is in, while records are taken one by one.
    in_process: Option<Stage>,
    /// The letter whose record is on its way back, with all that comes of it.
    replaying: Option<String>,
    /// The input channel of the batch at hand, if there are any.
    channel: Option<u32>,
    /// Records left out, in all runs.
    skipped: u64,
    /// What was left out in this run because it could not be decoded.
    undecoded: u64,
    /// Records taken in before this run.
    seen_before: u64,
    /// What the counter of records stood at when this run began.
    counted_before: u64,
    letters: u64,
    /// What counts against the limit of skipped records.
    window: Window,
}

/// An entry of the skip list that has not come yet.
#[derive(Debug)]
struct Pending {
    entry: SkipEntry,
    /// How many such records have come since the checkpoint of the entry.
    seen: u32,
    /// Records of any kind that have come in this run.
    records: u64,
}

/// What is known of a record beside its content.
#[derive(Debug, Clone)]
pub(crate) struct Exhibit {
    pub(crate) stage: Stage,
    pub(crate) place: Place,
    /// Event time in milliseconds, or [`NO_TIMESTAMP`].
    pub(crate) timestamp: i64,
    pub(crate) position: Option<Position>,
    /// The input channel it came on, where that is known.
    pub(crate) channel: Option<u32>,
    /// Its key as JSON, and the frozen hash of it, where it has one.
    pub(crate) key: Option<(Option<String>, u64)>,
    /// The letter it is the replay of.
    pub(crate) replay_of: Option<String>,
}

/// Whether a record may be processed.
#[derive(Debug)]
pub(crate) enum Verdict {
    Process,
    /// It is on the skip list.
    LeaveOut(Box<SkipEntry>),
}

/// How an attempt ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempt {
    pub(crate) cause: String,
    pub(crate) attempts: u32,
    pub(crate) panicked: bool,
    pub(crate) backtrace: Option<String>,
    pub(crate) replay_of: Option<String>,
}

/// What is saved of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    #[serde(default)]
    settled: BTreeSet<u64>,
    #[serde(default)]
    pending: Vec<(u64, u32)>,
    #[serde(default)]
    replayed: BTreeSet<String>,
    #[serde(default)]
    skipped: u64,
    #[serde(default)]
    seen: u64,
    /// Of snapshots without it counting begins anew.
    #[serde(default)]
    window: Window,
}

/// What falls to one instance of that which is dealt out to so many.
fn share(total: u64, index: usize, parallelism: usize) -> u64 {
    let (index, parallelism) = (index as u64, (parallelism as u64).max(1));
    total / parallelism + u64::from(index < total % parallelism)
}

fn saved(restored: &Restored) -> Result<Vec<(usize, Saved)>, Failure> {
    let sections = restored.sections(SectionKind::Supervision);
    let decoded = sections.map(|(writer, section)| Ok((writer, decode(&mut section.bytes.as_slice())?)));
    decoded
        .collect::<Result<_, watershed_state::CodecError>>()
        .map_err(|error| Failure::state(chain_of(&error)))
}

/// The letters that a checkpoint knows to be replayed.
///
/// # Errors
/// What cannot be decoded.
pub fn saved_replays(restored: &Restored) -> Result<BTreeSet<String>, Failure> {
    Ok(saved(restored)?.into_iter().flat_map(|(_, saved)| saved.replayed).collect())
}

impl Exhibit {
    pub(crate) fn new(stage: Stage, place: Place, timestamp: i64) -> Self {
        Self { stage, place, timestamp, position: None, channel: None, key: None, replay_of: None }
    }

    /// Hash of the record and its place. A position in a source says more than the content.
    fn fingerprint(&self, bytes: &[u8]) -> u64 {
        if let Some(position) = &self.position {
            return hash_key(&(&position.split, &position.position, position.record));
        }
        let place = match &self.place {
            Place::Timer { kind, at } => (*kind as u8 + 1, *at),
            // It never came on an input: only its replay is looked at.
            Place::Closure { number, .. } => (u8::MAX, i64::from(*number)),
            _ => (0, 0),
        };
        hash_key(&(bytes, place, &self.replay_of))
    }

    /// Adds what is known to the evidence.
    fn complete(&self, evidence: &mut Evidence) {
        evidence.timestamp = (self.timestamp != NO_TIMESTAMP).then_some(self.timestamp);
        evidence.position.clone_from(&self.position);
        evidence.channel = self.channel;
        if let Some((key, hash)) = &self.key {
            evidence.key.clone_from(key);
            evidence.key_hash = Some(*hash);
        }
    }

    /// The evidence for a record.
    pub(crate) fn evidence<T: Data>(&self, record: &T) -> Evidence {
        let mut evidence = Evidence::of(self.stage, self.place.clone(), record);
        self.complete(&mut evidence);
        evidence
    }
}

impl Care {
    /// For an instance that goes on from a snapshot; `owns` says which entries are for it.
    ///
    /// # Errors
    /// What cannot be decoded.
    pub(crate) fn restore(
        env: &Env,
        restored: &Restored,
        owns: impl Fn(Option<u64>, usize) -> bool,
    ) -> Result<Self, Failure> {
        let oversight = Arc::clone(&env.oversight);
        let mut care = Self::new(env);
        let Instance { index, parallelism, .. } = env.instance;
        let same = restored.instances.len() == parallelism;
        let mut seen = BTreeMap::new();
        let (mut skipped_by_all, mut seen_by_all) = (0, 0);
        for (writer, saved) in saved(restored)? {
            care.settled.extend(saved.settled);
            care.replayed.extend(saved.replayed);
            // Each entry is counted by the one who has the record, whoever that is now.
            seen.extend(saved.pending);
            skipped_by_all += saved.skipped;
            seen_by_all += saved.seen;
            if same && writer == index {
                (care.skipped, care.seen_before) = (saved.skipped, saved.seen);
                care.window = saved.window;
            }
        }
        if !same {
            care.skipped = share(skipped_by_all, index, parallelism);
            care.seen_before = share(seen_by_all, index, parallelism);
        }
        for entry in &oversight.skips {
            if !care.settled.contains(&entry.id) && owns(entry.evidence.key_hash, entry.instance) {
                let seen = seen.get(&entry.id).copied().unwrap_or(0);
                care.pending.push(Pending { entry: entry.clone(), seen, records: 0 });
            }
        }
        care.env.counters.set_skipped(care.skipped);
        Ok(care)
    }

    /// Takes on the entries of other instances that are for all of them: what each has to leave out.
    ///
    /// # Errors
    /// What cannot be decoded.
    pub(crate) fn adopt(
        &mut self,
        restored: &Restored,
        is_for_all: impl Fn(&SkipEntry) -> bool,
    ) -> Result<(), Failure> {
        let seen: BTreeMap<u64, u32> =
            saved(restored)?.into_iter().flat_map(|(_, saved)| saved.pending).collect();
        let oversight = Arc::clone(&self.env.oversight);
        for entry in &oversight.skips {
            let is_known = self.settled.contains(&entry.id)
                || self.pending.iter().any(|pending| pending.entry.id == entry.id);
            if !is_known && is_for_all(entry) {
                let seen = seen.get(&entry.id).copied().unwrap_or(0);
                self.pending.push(Pending { entry: entry.clone(), seen, records: 0 });
            }
        }
        Ok(())
    }

    /// For an instance that begins with nothing.
    pub(crate) fn new(env: &Env) -> Self {
        Self {
            env: env.clone(),
            remaining: env.oversight.careful_records,
            pending: Vec::new(),
            settled: BTreeSet::new(),
            replayed: BTreeSet::new(),
            fresh: Vec::new(),
            counts: vec![(env.oversight.checkpoint, BTreeMap::new())],
            in_process: None,
            replaying: None,
            channel: None,
            skipped: 0,
            undecoded: 0,
            seen_before: 0,
            counted_before: env.counters.records(),
            letters: 0,
            window: Window::default(),
        }
    }

    /// Whether records are to be taken one by one.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.remaining > 0 || !self.pending.is_empty()
    }

    /// What comes next came on this input channel, or on none.
    #[inline]
    pub(crate) fn comes_on(&mut self, channel: Option<u32>) {
        self.channel = channel;
    }

    /// A record that has just come in.
    pub(crate) fn arrival(&self, stage: Stage, timestamp: i64) -> Exhibit {
        Exhibit { channel: self.channel, ..Exhibit::new(stage, Place::Input, timestamp) }
    }

    /// What is done about an error in a stage.
    #[inline]
    pub(crate) fn directive(&self, stage: Stage) -> Directive {
        self.env.oversight.policy.directive(stage)
    }

    /// Whether what a record writes has to be kept apart from what was there before, in case of an error.
    #[inline]
    pub(crate) fn keeps(&self, stage: Stage) -> bool {
        self.directive(stage).leaves_out()
    }

    /// Whether closures of this instance leave records out.
    #[inline]
    pub(crate) fn watches_closures(&self) -> bool {
        self.keeps(Stage::Process) && self.env.oversight.rejects.has_closures()
    }

    /// Looks at a record before it is processed. From here until [`Care::done`] a failure is put down to it.
    pub(crate) fn examine<T: Data>(&mut self, what: Exhibit, record: &T) -> Verdict {
        let mut bytes = Vec::new();
        // What cannot be encoded is told from others by its place alone.
        let _ = encode(record, &mut bytes);
        self.examine_bytes(what, bytes, json_of::<T>, None)
    }

    /// [`Care::examine`] for the record of a letter whose type only a fused closure knows.
    pub(crate) fn examine_letter(
        &mut self,
        what: Exhibit,
        bytes: &[u8],
        payload: &serde_json::Value,
    ) -> Verdict {
        self.examine_bytes(what, bytes.to_vec(), |_| serde_json::Value::Null, Some(payload.clone()))
    }

    fn examine_bytes(
        &mut self,
        what: Exhibit,
        bytes: Vec<u8>,
        json: ToJson,
        payload: Option<serde_json::Value>,
    ) -> Verdict {
        let fingerprint = what.fingerprint(&bytes);
        if let Some((_, counts)) = self.counts.last_mut() {
            *counts.entry(fingerprint).or_default() += 1;
        }
        if let Some(entry) = self.find(fingerprint) {
            return Verdict::LeaveOut(entry);
        }
        self.in_process = Some(what.stage);
        let since = self.since(fingerprint);
        self.env.oversight.hold(move || {
            let mut evidence = Evidence::encoded(what.stage, what.place.clone(), &bytes, json);
            if let Some(payload) = &payload {
                evidence.payload.clone_from(payload);
            }
            what.complete(&mut evidence);
            let replay_of = what.replay_of.clone();
            Suspect { evidence, fingerprint, since: since.clone(), replay_of }
        });
        Verdict::Process
    }

    /// How often such a record has come since each checkpoint.
    fn since(&self, fingerprint: u64) -> Vec<(u64, u32)> {
        let mut count = 0;
        let mut since: Vec<(u64, u32)> = Vec::new();
        for (checkpoint, counts) in self.counts.iter().rev() {
            count += counts.get(&fingerprint).copied().unwrap_or(0);
            since.push((*checkpoint, count));
        }
        since.reverse();
        since
    }

    /// The entry that such a record has met, if it is the one that is meant.
    fn find(&mut self, fingerprint: u64) -> Option<Box<SkipEntry>> {
        let mut met = None;
        for (index, pending) in self.pending.iter_mut().enumerate() {
            pending.records += 1;
            if pending.entry.fingerprint == fingerprint {
                pending.seen += 1;
                if pending.seen == pending.entry.occurrence && met.is_none() {
                    met = Some(index);
                }
            }
        }
        let met = met.map(|index| self.pending.remove(index).entry);
        let settled = &mut self.settled;
        settled.extend(met.as_ref().map(|entry| entry.id));
        self.pending.retain(|pending| {
            let waiting = pending.records < pending.entry.within_records;
            if !waiting {
                tracing::warn!(
                    entry = pending.entry.id,
                    "a record that was to be skipped has not come again"
                );
                settled.insert(pending.entry.id);
            }
            waiting
        });
        met.map(Box::new)
    }

    /// The record at hand is through, with all that came of it.
    #[inline]
    pub(crate) fn done(&mut self) {
        self.replaying = None;
        if self.in_process.take().is_some() {
            self.env.oversight.let_go();
            self.remaining = self.remaining.saturating_sub(1);
        }
    }

    /// Leaves a record out: counts it, and makes a letter of it if the policy says so.
    ///
    /// # Errors
    /// If that was one too many.
    pub(crate) fn leave_out(
        &mut self,
        evidence: Evidence,
        attempt: Attempt,
    ) -> Result<Option<DeadLetter>, Failure> {
        if self.in_process.take().is_some() {
            self.env.oversight.let_go();
        }
        let policy = &self.env.oversight.policy;
        let within_ms = u64::try_from(policy.cap.within.as_millis()).unwrap_or(u64::MAX);
        self.window.turn(self.env.clock.wall_ms(), within_ms, (self.skipped, self.seen()));
        self.skipped += 1;
        if evidence.place == Place::Undecoded {
            self.undecoded += 1;
        }
        self.env.counters.set_skipped(self.skipped);
        let policy = &self.env.oversight.policy;
        let stage = evidence.stage;
        let Counted { skipped, lately } = self.window.since((self.skipped, self.seen()));
        if policy.cap.is_exceeded(skipped, lately) {
            let within = policy.cap.within;
            let cause = format!(
                "{skipped} records were skipped within {within:?}, {} of {} in it and the time before, more than its policy allows \
                 (`Supervision::at_most` and `at_most_fraction` say how many, `count_skipped_within` in what time); the last \
                 one: {}",
                lately.0, lately.1, attempt.cause
            );
            return Err(Failure { key: evidence.key, ..Failure::stop(stage, cause) });
        }
        // The first ones, then ever fewer of them.
        if self.skipped <= 10 || self.skipped.is_power_of_two() {
            let (cause, skipped) = (&attempt.cause, self.skipped);
            let key = evidence.key.as_ref().map(|key| display(shown(key)));
            tracing::warn!(%stage, cause, key, attempts = attempt.attempts, skipped, "a record is skipped");
        }
        Ok((policy.directive(stage) == Directive::Quarantine).then(|| self.letter(evidence, attempt)))
    }

    fn letter(&mut self, evidence: Evidence, attempt: Attempt) -> DeadLetter {
        self.letters += 1;
        let Env { instance, lineage, run, .. } = &self.env;
        let id = hash_key(&(lineage, &*instance.operator, instance.index, *run, self.letters));
        let parked = self.env.oversight.policy.parks_keys && evidence.key_hash.is_some();
        DeadLetter {
            id: format!("{id:016x}"),
            operator: instance.operator.to_string(),
            instance: instance.index,
            evidence,
            attempts: attempt.attempts,
            panicked: attempt.panicked,
            cause: attempt.cause,
            backtrace: attempt.backtrace,
            parked,
            replay_of: attempt.replay_of,
            at_ms: self.env.clock.wall_ms(),
        }
    }

    /// Leaves out what fused closures have rejected.
    ///
    /// # Errors
    /// If that was one too many.
    pub(crate) fn take_rejects(&mut self, mut each: impl FnMut(DeadLetter)) -> Result<(), Failure> {
        for Rejected { mut evidence, cause } in self.env.oversight.rejects.take() {
            evidence.channel = self.channel;
            let replay_of = self.replaying.clone();
            let attempt = Attempt { cause, attempts: 1, replay_of, ..Attempt::default() };
            // It does not end the record that is being examined.
            let in_process = self.in_process.take();
            self.leave_out(evidence, attempt)?.into_iter().for_each(&mut each);
            self.in_process = in_process;
        }
        Ok(())
    }

    /// Letters that have been handed over, are for this instance, and have not been replayed.
    pub(crate) fn take_replays(&mut self, owns: impl Fn(&DeadLetter) -> bool) -> Vec<Replay> {
        let mut replays = self.env.oversight.take_replays();
        replays.retain(|replay| owns(&replay.letter) && !self.replayed.contains(&replay.letter.id));
        replays
    }

    /// Whether letters have been handed over.
    #[inline]
    pub(crate) fn has_replays(&self) -> bool {
        self.env.oversight.has_replays()
    }

    /// [`Care::take_replays`] for an instance that has no keys.
    pub(crate) fn take_unkeyed_replays(&mut self) -> Vec<Replay> {
        let (index, parallelism) = (self.env.instance.index, self.env.instance.parallelism);
        self.take_replays(|letter| letter.instance % parallelism == index)
    }

    /// Whether a letter has been replayed.
    pub(crate) fn has_replayed(&self, id: &str) -> bool {
        self.replayed.contains(id)
    }

    /// The record of a letter is given back. Until [`Care::done`] what comes of it is known to.
    pub(crate) fn replays(&mut self, letter: &str) {
        self.replaying = Some(letter.to_string());
    }

    /// A letter does not fit what it is to be given back to: it stays one, and whoever asked for it is told.
    pub(crate) fn cannot_replay(&self, letter: &str, error: &UserError) {
        let why = chain_of(&**error);
        tracing::error!(letter = %shown(letter), why, "a dead letter cannot be replayed");
        self.env.report(TaskEvent::CannotReplay { letter: letter.to_string(), why });
    }

    /// A letter has been replayed.
    pub(crate) fn replayed(&mut self, id: String) {
        tracing::info!(letter = %shown(&id), "a dead letter has been replayed");
        self.fresh.push(id.clone());
        self.replayed.insert(id);
    }

    /// A letter is given up.
    pub(crate) fn given_up(&mut self, id: String) {
        tracing::info!(letter = %shown(&id), "a dead letter is given up");
        self.replayed.insert(id);
    }

    /// Whom to blame for a failure in this stage.
    pub(crate) fn blame(&self, stage: Option<Stage>, failure: &Failure) -> Option<Blame> {
        if !matches!(failure.kind, FailureKind::Panic | FailureKind::Error | FailureKind::Io) {
            return None;
        }
        let stage = self.in_process.or(stage)?;
        let directive = self.directive(stage);
        if directive == Directive::Restart || failure.kind == FailureKind::Io && directive.leaves_out() {
            return None;
        }
        let suspect = self.in_process.filter(|_| directive.leaves_out());
        let suspect = suspect.and_then(|_| self.env.oversight.suspect());
        Some(Blame { stage, directive, suspect, backtrace: None })
    }

    /// Records taken in, in all runs.
    fn seen(&self) -> u64 {
        // What could not be decoded is counted nowhere else.
        self.seen_before + self.undecoded + self.env.counters.records().saturating_sub(self.counted_before)
    }

    /// A barrier passes: what comes is counted anew. Returns what is saved.
    ///
    /// # Errors
    /// What cannot be encoded.
    pub(crate) fn barrier(&mut self, checkpoint: u64) -> Option<SnapshotItem> {
        if self.is_active() {
            self.counts.push((checkpoint, BTreeMap::new()));
        } else {
            self.counts = vec![(checkpoint, BTreeMap::new())];
        }
        let nothing = self.settled.is_empty() && self.pending.is_empty() && self.replayed.is_empty();
        if nothing && !self.env.oversight.policy.leaves_out() {
            return None;
        }
        if !self.fresh.is_empty() {
            let letters = std::mem::take(&mut self.fresh);
            self.env.report(TaskEvent::Replayed { checkpoint, letters });
        }
        let saved = Saved {
            settled: self.settled.clone(),
            pending: self.pending.iter().map(|pending| (pending.entry.id, pending.seen)).collect(),
            replayed: self.replayed.clone(),
            skipped: self.skipped,
            seen: self.seen(),
            window: self.window,
        };
        Some(small_section(SectionKind::Supervision, &saved))
    }

    /// Nothing goes back behind this checkpoint any more.
    pub(crate) fn complete(&mut self, checkpoint: u64) {
        if let Some(index) = self.counts.iter().position(|(id, _)| *id == checkpoint) {
            self.counts.drain(..index);
        }
    }
}
