//! What an actor with a source does.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use watershed_state::bug::{self, Bug};
use watershed_state::{CodecError, Section, SectionKind, decode, encode};

use crate::batch::{Batch, Flow};
use crate::chain::{Push, Tee};
use crate::clock::MAX_WATERMARK;
use crate::error::{Failure, chain_of};
use crate::message::{Envelope, Signal};
use crate::source::{Polled, Reader, Records, Source, SourceContext, Split};
use crate::task::pace::Pace;
use crate::task::process::{restore_chain, small_section};
use crate::task::{Control, Env, Restored, SnapshotItem, Step, Task, TaskEvent, Upload};

/// What a source task needs beside its [`Env`].
pub struct SourceSetup<S: Source> {
    /// The source.
    pub source: Arc<S>,
    /// All its splits, in the order of their ids.
    pub splits: Arc<Vec<S::Split>>,
    /// Where the records go.
    pub outlet: Tee<S::Item>,
    /// Records per second of all instances together, if limited.
    pub rate: Option<f64>,
}

impl<S: Source> std::fmt::Debug for SourceSetup<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceSetup").field("splits", &self.splits.len()).finish_non_exhaustive()
    }
}

/// How far a split has been read, as it is saved.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Progress<P> {
    /// Not begun.
    Unread,
    /// Everything before this was handed over.
    At(P),
    /// Read to the end.
    Finished,
}

type PositionOf<S> = <<S as Source>::Reader as Reader>::Position;
type ProgressOf<S> = Progress<PositionOf<S>>;

/// The splits that a snapshot tells of, with whether each has been read to its end.
///
/// # Errors
/// What cannot be decoded.
pub fn saved_splits(restored: &Restored) -> Result<Vec<(String, bool)>, CodecError> {
    let mut splits = Vec::new();
    for (_, section) in restored.sections(SectionKind::Splits) {
        let saved: Vec<(String, Progress<IgnoredAny>)> = decode(&mut section.bytes.as_slice())?;
        splits.extend(saved.into_iter().map(|(id, progress)| (id, matches!(progress, Progress::Finished))));
    }
    Ok(splits)
}

/// Reads its splits and sends what they hold.
pub struct SourceTask<S: Source> {
    env: Env,
    setup: SourceSetup<S>,
    context: SourceContext,
    /// Splits that wait for their turn, with how far they have been read.
    waiting: VecDeque<(S::Split, Option<PositionOf<S>>)>,
    reading: Vec<Reading<S>>,
    /// Ids of finished splits; the first instance also keeps those of earlier runs.
    finished: Vec<String>,
    /// Which reader has its turn.
    turn: usize,
    batch: Batch<S::Item>,
    pace: Pace,
    throttle: Option<Throttle>,
    /// The checkpoint whose barrier is to be sent at the next cut.
    triggered: Option<u64>,
    /// The checkpoint after which nothing is read any more.
    last: Option<u64>,
    snapshot: Option<Upload>,
    /// When the batch at hand was begun, and its length.
    since: Option<(u64, usize)>,
    started: bool,
    blocked: bool,
    ended: bool,
}

struct Reading<S: Source> {
    split: S::Split,
    reader: S::Reader,
}

/// What came of looking for records.
#[derive(Debug, Clone, Copy)]
enum Found {
    /// There may be more at once.
    Records,
    /// None before this time, or before somebody wakes the task: the input has run empty, or its rate allows no more.
    Nothing(u64),
}

impl<S: Source> std::fmt::Debug for SourceTask<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceTask").field("instance", &self.env.instance).finish_non_exhaustive()
    }
}

/// Holds a source to a number of records per second.
#[derive(Debug)]
struct Throttle {
    nanos_per_record: f64,
    /// Since when records are counted.
    since: Option<u64>,
    records: u64,
}

impl Throttle {
    /// Records that may be sent now, or the time when one may.
    fn allowance(&mut self, now: u64) -> Result<usize, u64> {
        let since = *self.since.get_or_insert(now);
        let due = ((now - since) as f64 / self.nanos_per_record) as u64 + 1;
        if due > self.records {
            Ok((due - self.records) as usize)
        } else {
            Err(since + (self.records as f64 * self.nanos_per_record).ceil() as u64)
        }
    }
}

/// The splits that an instance reads: those not finished, dealt out in the order of their ids.
pub fn assign_splits<T>(unfinished: impl Iterator<Item = T>, instance: usize, parallelism: usize) -> Vec<T> {
    unfinished
        .enumerate()
        .filter(|(turn, _)| turn % parallelism == instance)
        .map(|(_, split)| split)
        .collect()
}

impl<S: Source> SourceTask<S> {
    /// A task that goes on where the snapshot left it.
    ///
    /// # Errors
    /// What cannot be decoded; a split that was being read and is gone.
    pub fn restore(env: Env, setup: SourceSetup<S>, restored: &Restored) -> Result<Self, Failure> {
        let mut saved: BTreeMap<String, ProgressOf<S>> = BTreeMap::new();
        let instance = env.instance.clone();
        // With the same parallelism each instance takes back what it had, as watermarks and states stay with it too. With
        // another one all that is unfinished is dealt out anew, like splits that are new.
        let takes_back = restored.instances.len() == instance.parallelism;
        let mut of_others: BTreeSet<String> = BTreeSet::new();
        for (writer, section) in restored.sections(SectionKind::Splits) {
            let entries: Vec<(String, ProgressOf<S>)> =
                decode(&mut section.bytes.as_slice()).map_err(|error| Failure::state(chain_of(&error)))?;
            if takes_back && writer != instance.index {
                of_others.extend(entries.into_iter().map(|(id, _)| id));
            } else {
                saved.extend(entries);
            }
        }
        let (mut unfinished, mut dealt, mut finished) = (Vec::new(), Vec::new(), Vec::new());
        for (index, split) in setup.splits.iter().enumerate() {
            let mine = if takes_back { &mut unfinished } else { &mut dealt };
            match saved.remove(&split.id()) {
                Some(Progress::Finished) if !bug::is(Bug::FinishedSplitReadAgain) => {
                    finished.push(split.id());
                }
                Some(Progress::At(position)) => mine.push((split.clone(), Some(position))),
                Some(Progress::Unread | Progress::Finished) => mine.push((split.clone(), None)),
                // A region that restarts alone sees only its own part: the rest is read by others of this process.
                None if restored.from_this_process || of_others.contains(&split.id()) => {}
                // By its place among all of them: one that an instance had and never saved comes back to it.
                None if takes_back && index % instance.parallelism == instance.index => {
                    unfinished.push((split.clone(), None));
                }
                None if takes_back => {}
                None => dealt.push((split.clone(), None)),
            }
        }
        if let Some((gone, _)) = saved.iter().find(|(_, progress)| !matches!(progress, Progress::Finished)) {
            return Err(Failure::state(format!("split `{gone}` had not been read to its end and is gone")));
        }
        // A split that was read and is not listed now may be listed again, and must not be read twice.
        finished.extend(saved.into_keys());
        unfinished.extend(assign_splits(dealt.into_iter(), instance.index, instance.parallelism));
        if !takes_back && instance.index != 0 {
            finished.clear();
        }
        let context = SourceContext {
            instance: instance.clone(),
            clock: Arc::clone(&env.clock),
            waker: Waker::from(Arc::clone(&env.waker)),
        };
        let throttle = setup.rate.map(|rate| Throttle {
            // Instances without a split have no share in it.
            nanos_per_record: 1e9 * instance.parallelism.min(setup.splits.len()).max(1) as f64 / rate,
            since: None,
            records: 0,
        });
        let mut task = Self {
            pace: Pace::new(env.batch_records),
            waiting: unfinished.into(),
            env,
            setup,
            context,
            reading: Vec::new(),
            finished,
            turn: 0,
            batch: Batch::default(),
            throttle,
            triggered: None,
            last: None,
            snapshot: None,
            since: None,
            started: false,
            blocked: false,
            ended: false,
        };
        restore_chain(restored, &instance, |numbers| task.setup.outlet.load(&mut numbers.iter().copied()))?;
        Ok(task)
    }

    /// Opens splits: bounded ones one after the other, unbounded ones all, as none of them ends.
    fn open_readers(&mut self) -> Result<(), Failure> {
        let at_once = if self.setup.source.is_bounded() { 1 } else { usize::MAX };
        while self.reading.len() < at_once {
            let Some((split, position)) = self.waiting.pop_front() else { break };
            let reader = self.setup.source.open(&split, position, &self.context);
            let reader = reader.map_err(|error| Failure::user(&error))?;
            self.reading.push(Reading { split, reader });
        }
        Ok(())
    }

    /// Reads one batch.
    fn read(&mut self, now: u64) -> Result<Found, Failure> {
        self.open_readers()?;
        let mut limit = self.pace.records();
        if let Some(throttle) = &mut self.throttle {
            match throttle.allowance(now) {
                Ok(records) => limit = limit.min(records),
                Err(at) => return Ok(Found::Nothing(at)),
            }
        }
        let mut earliest = u64::MAX;
        for _ in 0..self.reading.len() {
            let index = self.turn % self.reading.len();
            self.turn = self.turn.wrapping_add(1);
            let reading = &mut self.reading[index];
            let polled = reading.reader.poll(&mut Records::new(&mut self.batch), limit);
            match polled.map_err(|error| Failure::user(&error))? {
                // Ready but empty: it has only skipped something.
                Polled::Ready => earliest = now,
                Polled::Pending(until) => earliest = earliest.min(until.unwrap_or(u64::MAX)),
                Polled::End => {
                    let done = self.reading.swap_remove(index);
                    self.finished.push(done.split.id());
                    self.hand_over(now);
                    return Ok(Found::Records);
                }
            }
            if !self.batch.is_empty() {
                self.hand_over(now);
                return Ok(Found::Records);
            }
        }
        if self.reading.is_empty() && self.waiting.is_empty() {
            self.end();
        }
        Ok(Found::Nothing(earliest))
    }

    /// Gives the batch to the chain.
    fn hand_over(&mut self, now: u64) {
        let records = self.batch.len();
        if records == 0 {
            return;
        }
        self.env.counters.add(records);
        if let Some(throttle) = &mut self.throttle {
            throttle.records += records as u64;
        }
        self.since = Some((now, records));
        self.blocked = self.setup.outlet.batch(&mut self.batch) == Flow::Blocked;
        self.settle();
    }

    /// Notes how long a batch took once it is through.
    fn settle(&mut self) {
        if !self.blocked
            && let Some((since, records)) = self.since.take()
        {
            self.pace.observe(records, self.env.clock.nanos().saturating_sub(since));
        }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.setup.outlet.tick(self.env.clock.nanos(), true);
            self.setup.outlet.signal(Signal::Watermark(MAX_WATERMARK));
            self.setup.outlet.signal(Signal::End);
            self.env.report(TaskEvent::Ended);
        }
    }

    /// Sends the barrier of the triggered checkpoint, if no record is in between.
    fn cut(&mut self) -> Result<(), Failure> {
        if self.setup.outlet.interrupted() && !bug::is(Bug::CutInsideRecord) {
            return Ok(());
        }
        let Some(checkpoint) = self.triggered.take() else { return Ok(()) };
        let mut splits: Vec<(String, ProgressOf<S>)> =
            self.finished.iter().map(|id| (id.clone(), Progress::Finished)).collect();
        for reading in &self.reading {
            splits.push((reading.split.id(), Progress::At(reading.reader.position())));
        }
        for (split, position) in &self.waiting {
            let progress = position.clone().map_or(Progress::Unread, Progress::At);
            splits.push((split.id(), progress));
        }
        let mut bytes = Vec::new();
        encode(&splits, &mut bytes).map_err(|error| Failure::internal(chain_of(&error)))?;
        let entries = splits.len() as u32;
        let section = Section { kind: SectionKind::Splits, group: 0, entries, bytes };
        let mut chain = Vec::new();
        self.setup.outlet.save(&mut chain);
        let chain = small_section(SectionKind::ChainState, &chain)?;
        self.setup.outlet.signal(Signal::Barrier(checkpoint));
        let upload = Upload::begin(&self.env, checkpoint);
        upload.push([SnapshotItem::Section(section), chain]);
        upload.complete();
        self.snapshot = Some(upload);
        Ok(())
    }
}

impl<S: Source> Task for SourceTask<S> {
    /// Nothing is sent to a source.
    type In = ();

    fn file(&mut self, _envelope: Envelope<()>) -> Result<(), Failure> {
        Err(Failure::internal("data was sent to a source"))
    }

    fn control(&mut self, control: Control) -> Result<(), Failure> {
        match control {
            Control::Start => self.started = true,
            Control::Trigger(_) if self.ended && bug::is(Bug::EndedSourceDoesNotAnswer) => {}
            Control::Trigger(checkpoint) => self.triggered = Some(checkpoint),
            Control::TriggerLast(checkpoint) => {
                self.triggered = Some(checkpoint);
                self.last = Some(checkpoint);
            }
            Control::Abort(checkpoint) => {
                self.last.take_if(|last| *last == checkpoint);
                self.triggered.take_if(|triggered| *triggered == checkpoint);
                if let Some(upload) = self.snapshot.take_if(|upload| upload.checkpoint() == checkpoint) {
                    upload.cancel();
                }
            }
            Control::Complete(_) | Control::Stop => {}
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Step, Failure> {
        if !self.started {
            return Ok(Step::Waiting(u64::MAX));
        }
        let begin = self.env.clock.nanos();
        let mut now = begin;
        loop {
            if self.blocked {
                self.blocked = self.setup.outlet.resume() == Flow::Blocked;
                self.settle();
            }
            self.cut()?;
            if self.blocked {
                return Ok(Step::Waiting(self.setup.outlet.tick(now, false)));
            }
            if self.ended || self.last.is_some() {
                return Ok(Step::Waiting(self.setup.outlet.tick(now, self.ended)));
            }
            let found = self.read(now)?;
            now = self.env.clock.nanos();
            if let Found::Nothing(at) = found
                && !self.ended
            {
                let tick = self.setup.outlet.tick(now, true);
                return Ok(if at <= now { Step::Ready } else { Step::Waiting(at.min(tick)) });
            }
            if now.saturating_sub(begin) >= self.env.step_nanos {
                if !self.setup.outlet.interrupted() {
                    self.setup.outlet.tick(now, false);
                }
                return Ok(Step::Ready);
            }
        }
    }

    fn current_key(&self) -> Option<String> {
        None
    }
}
