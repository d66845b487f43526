//! The splits of an instance: which ones it has, and how far it has read each of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use watershed_state::bug::{self, Bug};
use watershed_state::{CodecError, Sampler, Section, SectionKind, decode, encode_for_keeps};

use crate::error::chain_of;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::restored::Restored;
use crate::source::{Polled, Reader, Source, SourceContext, Split};

/// How far a split has been read, as it is saved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Progress<P> {
    /// Not begun.
    Unread,
    /// Everything before this was handed over.
    At(P),
    /// Read to the end, as versions before this one have saved it.
    Finished,
    /// Read to the end, which is here.
    FinishedAt(P),
    /// The same, and its reader has said that there is never more, whatever becomes of the source.
    FinishedForGoodAt(P),
}

impl<P> Progress<P> {
    fn is_finished(&self) -> bool {
        matches!(self, Self::Finished | Self::FinishedAt(_) | Self::FinishedForGoodAt(_))
    }

    /// Whether it is not read again in a source that is bounded or not.
    fn stays_finished(&self, bounded: bool) -> bool {
        matches!(self, Self::FinishedForGoodAt(_)) || bounded && self.is_finished()
    }
}

pub(super) type PositionOf<S> = <<S as Source>::Reader as Reader>::Position;
pub(super) type ProgressOf<S> = Progress<PositionOf<S>>;

/// The splits that a snapshot tells of, with whether each has been read to its end.
///
/// # Errors
/// What cannot be decoded.
pub fn saved_splits(restored: &Restored) -> Result<Vec<(String, bool)>, CodecError> {
    let mut splits = Vec::new();
    for (_, section) in restored.sections(SectionKind::Splits) {
        let saved: Vec<(String, Progress<IgnoredAny>)> = decode(&mut section.bytes.as_slice())?;
        splits.extend(saved.into_iter().map(|(id, progress)| (id, progress.is_finished())));
    }
    Ok(splits)
}

/// The splits that an instance reads: those not finished, dealt out in the order of their ids.
pub fn assign_splits<T>(unfinished: impl Iterator<Item = T>, instance: usize, parallelism: usize) -> Vec<T> {
    unfinished
        .enumerate()
        .filter(|(turn, _)| turn % parallelism == instance)
        .map(|(_, split)| split)
        .collect()
}

/// The splits of one instance.
pub(super) struct Splits<S: Source> {
    /// Those that wait for their turn, with how far they have been read.
    waiting: VecDeque<(S::Split, Option<PositionOf<S>>)>,
    pub(super) reading: Vec<Reading<S>>,
    /// Those whose reader has come to an end that is none, as the source is not bounded.
    resting: Vec<Resting<S>>,
    /// Those that are finished; the first instance also keeps those of earlier runs.
    finished: Vec<(String, ProgressOf<S>)>,
    /// Which reader has its turn.
    turn: usize,
    /// Which of the positions are read back.
    sampler: Sampler,
}

/// A split with its reader.
pub(super) struct Reading<S: Source> {
    pub(super) split: S::Split,
    pub(super) reader: S::Reader,
    /// Whether the reader has given anything.
    pub(super) gave: bool,
    /// When the reader was opened.
    opened_nanos: u64,
    /// How long the split rested before that.
    rested_nanos: u64,
}

/// A split that is opened again after a while.
struct Resting<S: Source> {
    split: S::Split,
    position: PositionOf<S>,
    until_nanos: u64,
    rested_nanos: u64,
}

/// How long a split of an unbounded source rests when its reader has ended, after which it is opened again. One whose
/// reader then has nothing, or has something and ends sooner than it has rested, rests twice as long, and so on.
const FIRST_REST_NANOS: u64 = 100_000_000;
const LONGEST_REST_NANOS: u64 = 30_000_000_000;
/// The longest rest of one whose reader has had something: there may be more at once.
const LONGEST_REST_OF_GIVER_NANOS: u64 = 1_000_000_000;

impl<S: Source> Splits<S> {
    /// The share of an instance in all splits there are, as far as they have been read. Also tells to how many
    /// instances splits are dealt that none has had before.
    ///
    /// # Errors
    /// What cannot be decoded; a split that was being read and is gone.
    pub(super) fn restore(
        source: &S,
        all: &[S::Split],
        restored: &Restored,
        instance: &Instance,
    ) -> Result<(Self, usize), Failure> {
        let mut saved: BTreeMap<String, ProgressOf<S>> = BTreeMap::new();
        // With the same parallelism each instance takes back what it had, as watermarks and states stay with it too.
        // With another one all that is unfinished is dealt out anew, like splits that are new.
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
        let bounded = splits_finish(source);
        for (index, split) in all.iter().enumerate() {
            let mine = if takes_back { &mut unfinished } else { &mut dealt };
            match saved.remove(&split.id()) {
                Some(progress)
                    if progress.stays_finished(bounded) && !bug::is(Bug::FinishedSplitReadAgain) =>
                {
                    finished.push((split.id(), progress));
                }
                Some(Progress::FinishedAt(position)) if !bounded => {
                    mine.push((split.clone(), Some(position)));
                }
                Some(Progress::At(position)) => mine.push((split.clone(), Some(position))),
                Some(progress) => {
                    if !bounded && progress.is_finished() {
                        tracing::warn!(
                            split = split.id(),
                            "the checkpoint has a split as finished and not where; as its source is not bounded, the split is \
                             read again from its beginning"
                        );
                    }
                    mine.push((split.clone(), None));
                }
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
        if let Some((gone, _)) = saved.iter().find(|(_, progress)| !progress.is_finished()) {
            return Err(Failure::state(format!("split `{gone}` had not been read to its end and is gone")));
        }
        // A split that was read and is not listed now may be listed again, and must not be read twice.
        finished.extend(saved);
        let readers = instance.parallelism.min(dealt.len());
        unfinished.extend(assign_splits(dealt.into_iter(), instance.index, instance.parallelism));
        if !takes_back && instance.index != 0 {
            finished.clear();
        }
        let (reading, resting, sampler) = (Vec::new(), Vec::new(), Sampler::default());
        let waiting = unfinished.into();
        Ok((Self { waiting, reading, resting, finished, turn: 0, sampler }, readers))
    }

    /// Opens splits: bounded ones one after the other, unbounded ones all, as none of them ends.
    ///
    /// # Errors
    /// What the source returned.
    pub(super) fn open(
        &mut self,
        source: &S,
        context: &SourceContext,
        now_nanos: u64,
    ) -> Result<(), Failure> {
        let at_once = if source.is_bounded() { 1 } else { usize::MAX };
        while self.reading.len() < at_once {
            let Some((split, position)) = self.waiting.pop_front() else { break };
            self.begin(source, context, (split, position), (now_nanos, 0))?;
        }
        while let Some(due) = self.resting.iter().position(|resting| resting.until_nanos <= now_nanos) {
            let Resting { split, position, rested_nanos, .. } = self.resting.remove(due);
            self.begin(source, context, (split, Some(position)), (now_nanos, rested_nanos))?;
        }
        Ok(())
    }

    fn begin(
        &mut self,
        source: &S,
        context: &SourceContext,
        (split, position): (S::Split, Option<PositionOf<S>>),
        (opened_nanos, rested_nanos): (u64, u64),
    ) -> Result<(), Failure> {
        let reader = source.open(&split, position, context).map_err(|error| Failure::connector(&error))?;
        self.reading.push(Reading { split, reader, gave: false, opened_nanos, rested_nanos });
        Ok(())
    }

    /// Splits that are finished, and all of them.
    pub(super) fn counts(&self) -> (u64, u64) {
        let finished = self.finished.len();
        (finished as u64, (finished + self.reading.len() + self.waiting.len()) as u64)
    }

    /// How far the split at hand has been read, if its reader knows.
    pub(super) fn at_hand(&self) -> Option<crate::source::Progress> {
        self.reading.first().and_then(|reading| reading.reader.progress())
    }

    /// The reader whose turn it is.
    pub(super) fn next_turn(&mut self) -> usize {
        let index = self.turn % self.reading.len();
        self.turn = self.turn.wrapping_add(1);
        index
    }

    /// A reader says that its split has ended: with [`Polled::Finished`] for good, with [`Polled::End`] for now.
    pub(super) fn close(&mut self, index: usize, source: &S, said: Polled, now_nanos: u64) {
        let Reading { split, reader, gave, opened_nanos, rested_nanos } = self.reading.swap_remove(index);
        let position = reader.position();
        if said == Polled::Finished {
            self.finished.push((split.id(), Progress::FinishedForGoodAt(position)));
            return;
        }
        if splits_finish(source) {
            self.finished.push((split.id(), Progress::FinishedAt(position)));
            return;
        }
        let has_lasted = now_nanos.saturating_sub(opened_nanos) >= rested_nanos;
        let longest = match (gave, has_lasted) {
            (true, true) => FIRST_REST_NANOS,
            (true, false) => LONGEST_REST_OF_GIVER_NANOS,
            (false, _) => LONGEST_REST_NANOS,
        };
        let rested_nanos = rested_nanos.saturating_mul(2).clamp(FIRST_REST_NANOS, longest);
        tracing::warn!(
            split = split.id(),
            again_in_ms = rested_nanos / 1_000_000,
            "the input of a split has ended, which is not bounded: it is opened again"
        );
        let until_nanos = now_nanos.saturating_add(rested_nanos);
        self.resting.push(Resting { split, position, until_nanos, rested_nanos });
    }

    /// When a split that rests is opened again, in clock nanoseconds; `u64::MAX` if none does.
    pub(super) fn next_opening(&self) -> u64 {
        self.resting.iter().map(|resting| resting.until_nanos).min().unwrap_or(u64::MAX)
    }

    /// Whether all splits are finished.
    pub(super) fn have_ended(&self) -> bool {
        self.reading.is_empty() && self.waiting.is_empty() && self.resting.is_empty()
    }

    /// How far each split has been read, for a snapshot.
    ///
    /// # Errors
    /// What cannot be encoded, or read back.
    pub(super) fn save(&mut self) -> Result<Section, CodecError> {
        let mut splits: Vec<(String, ProgressOf<S>)> = self.finished.clone();
        for reading in &self.reading {
            splits.push((reading.split.id(), Progress::At(reading.reader.position())));
        }
        for resting in &self.resting {
            splits.push((resting.split.id(), Progress::At(resting.position.clone())));
        }
        for (split, position) in &self.waiting {
            let progress = position.clone().map_or(Progress::Unread, Progress::At);
            splits.push((split.id(), progress));
        }
        let mut bytes = Vec::new();
        encode_for_keeps(&splits, &mut bytes, &mut self.sampler)?;
        Ok(Section { kind: SectionKind::Splits, group: 0, entries: splits.len() as u32, bytes })
    }
}

/// Whether the end of a split is the end of it for ever.
fn splits_finish<S: Source>(source: &S) -> bool {
    source.is_bounded() || bug::is(Bug::UnboundedSplitFinished)
}
