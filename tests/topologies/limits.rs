//! Limits that are broadcast to the instances that check payments against them; a source and sinks that remember more
//! than where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::{
    Fs, OperatorState, OutputClaim, Owner, Polled, Prepare, Reader, Records, Sink, SinkContext, SinkWriter,
    Source, SourceContext, Split, TwoPhaseSink, TwoPhaseWriter,
};

/// Reads numbers, each split its own, and remembers how many it has given out of each: once as a list, which is split,
/// and once as a union, of which each instance keeps what is its own.
pub(crate) struct Remembers {
    pub(crate) splits: u64,
    pub(crate) records: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Share(u64);

impl Split for Share {
    fn id(&self) -> String {
        format!("share-{}", self.0)
    }
}

/// A split, and how many of its records were given out.
type Given = (u64, u64);

pub(crate) struct Remembering {
    share: u64,
    /// How many the position says.
    position: u64,
    records: u64,
    splits: u64,
    /// Records that were given out: an element for each.
    list: OperatorState<u64>,
    union: OperatorState<Given>,
}

impl Source for Remembers {
    type Item = u64;
    type Split = Share;
    type Reader = Remembering;

    fn splits(&self) -> UserResult<Vec<Share>> {
        Ok((0..self.splits).map(Share).collect())
    }

    fn open(&self, share: &Share, position: Option<u64>, context: &SourceContext) -> UserResult<Remembering> {
        let (list, union) = (context.list_state("given")?, context.union_state::<Given>("counts")?);
        let position = position.unwrap_or(0);
        // Everybody has got all of them: the highest of each split is the last.
        union.with(|counts| {
            counts.sort_unstable_by(|one, two| two.cmp(one));
            counts.dedup_by_key(|(share, _)| *share);
        });
        // Whoever has read of the split before says as much as the position.
        let known = union.get().into_iter().find(|(of, _)| *of == share.0).map(|(_, given)| given);
        if known.unwrap_or(0) != position {
            return Err(format!("{known:?} records of {} are remembered, not {position}", share.0).into());
        }
        let Remembers { records, splits } = *self;
        Ok(Remembering { share: share.0, position, records, splits, list, union })
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

impl Reader for Remembering {
    type Item = u64;
    type Position = u64;

    fn poll(&mut self, records: &mut Records<'_, u64>, limit: usize) -> UserResult<Polled> {
        let end = self.records.min(self.position + limit as u64);
        for nth in self.position..end {
            let record = nth * self.splits + self.share;
            records.push(record);
            self.list.push(record);
        }
        self.position = end;
        self.union.with(|counts| {
            counts.retain(|(share, _)| *share != self.share);
            counts.push((self.share, end));
        });
        Ok(if end == self.records { Polled::End } else { Polled::Ready })
    }

    fn position(&self) -> u64 {
        self.position
    }
}

/// Checks payments of each account against a limit that all accounts of a kind share.
pub(crate) struct Check;

/// A limit for the accounts of a kind. One that is not even is refused, and one above a thousand panics.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) kind: u64,
    pub(crate) at_least: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// The highest that was broadcast for each kind: so it does not matter in which order they come.
    pub(crate) highest: BTreeMap<u64, u64>,
    pub(crate) taken: u64,
}

/// What is said of a payment in the end does not depend on what had been broadcast when it came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Checked {
    /// The nth of its account.
    Payment { account: u64, nth: u64 },
    /// At the end of the time.
    Closed { account: u64, limit: Option<u64>, taken: u64 },
}

pub(crate) const ACCOUNTS: u64 = 6;
pub(crate) const KINDS: u64 = 3;
/// When accounts are closed: after all limits.
const END: i64 = 1_000_000;

impl BroadcastProcess for Check {
    type Key = u64;
    type In = u64;
    type Broadcast = Limit;
    type Out = Checked;
    type State = u64;
    type Shared = Limits;

    fn on_record(
        &self,
        _payment: u64,
        nth: &mut u64,
        limits: &Limits,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        if limits.highest.values().any(|limit| limit % 2 == 1 || *limit > 1_000) {
            return Err("a limit is in force that was left out".into());
        }
        *nth += 1;
        context.timer_at(END);
        context.emit(Checked::Payment { account: *context.key(), nth: *nth });
        Ok(())
    }

    fn on_broadcast(
        &self,
        limit: Limit,
        limits: &mut Limits,
        _context: &mut BroadcastContext<'_, Checked>,
    ) -> UserResult {
        limits.taken += 1;
        let highest = limits.highest.entry(limit.kind).or_default();
        *highest = limit.at_least.max(*highest);
        if limit.at_least > 1_000 {
            std::panic::resume_unwind(Box::new("it cannot be handled"));
        }
        if limit.at_least % 2 == 1 { Err("it is refused".into()) } else { Ok(()) }
    }

    fn on_timer(
        &self,
        _timer: Timer,
        _nth: &mut u64,
        limits: &Limits,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        let account = *context.key();
        let limit = limits.highest.get(&(account % KINDS)).copied();
        context.emit(Checked::Closed { account, limit, taken: limits.taken });
        Ok(())
    }
}

/// Shows records exactly once, and remembers the payments that it was given.
pub(crate) struct Numbered<S> {
    pub(crate) sink: S,
}

pub(crate) struct NumberedWriter<W> {
    writer: W,
    written: OperatorState<u64>,
}

impl<S: TwoPhaseSink<In = String>> TwoPhaseSink for Numbered<S> {
    type In = Checked;
    type Writer = NumberedWriter<S::Writer>;
    type Committable = S::Committable;

    fn check(&self, fs: &Fs) -> UserResult {
        self.sink.check(fs)
    }

    fn claim(&self, owner: &Owner, fs: &Fs) -> UserResult<Box<dyn OutputClaim>> {
        self.sink.claim(owner, fs)
    }

    fn open(&self, context: &SinkContext) -> UserResult<Self::Writer> {
        Ok(NumberedWriter { writer: self.sink.open(context)?, written: context.list_state("written")? })
    }

    fn commit(&self, committable: &S::Committable, context: &SinkContext) -> UserResult {
        self.sink.commit(committable, context)
    }

    fn discard_dangling(
        &self,
        keep: &[S::Committable],
        runs: Range<u64>,
        instance: Option<usize>,
        context: &SinkContext,
    ) -> UserResult {
        self.sink.discard_dangling(keep, runs, instance, context)
    }

    fn committed_through(&self, lineage: &str, fs: &Fs) -> UserResult<Option<u64>> {
        self.sink.committed_through(lineage, fs)
    }

    fn lineages(&self, operator: &str, fs: &Fs) -> UserResult<BTreeSet<String>> {
        self.sink.lineages(operator, fs)
    }

    fn visible(&self, fs: &Fs) -> UserResult<Option<Vec<String>>> {
        self.sink.visible(fs)
    }
}

impl<W: TwoPhaseWriter<In = String>> TwoPhaseWriter for NumberedWriter<W> {
    type In = Checked;
    type Committable = W::Committable;

    fn write(&mut self, record: Checked) -> UserResult {
        self.writer.write(serde_json::to_string(&record)?)?;
        if let Checked::Payment { account, nth } = record {
            let number = account * 1_000 + nth;
            if self.written.with(|written| written.contains(&number)) {
                return Err(format!("{number} has come before the checkpoint, and comes again").into());
            }
            self.written.push(number);
        }
        Ok(())
    }

    fn prepare(&mut self, checkpoint: u64) -> UserResult<Option<Prepare<W::Committable>>> {
        // What is changed here belongs to this checkpoint.
        self.written.with(|written| written.sort_unstable());
        self.writer.prepare(checkpoint)
    }
}

/// Refuses what it has remembered already: a payment that comes twice after a checkpoint that holds it.
pub(crate) struct Once;

pub(crate) struct OnceWriter(OperatorState<Checked>);

impl Sink for Once {
    type In = Checked;
    type Writer = OnceWriter;

    fn open(&self, context: &SinkContext) -> UserResult<OnceWriter> {
        Ok(OnceWriter(context.list_state("seen")?))
    }
}

impl SinkWriter for OnceWriter {
    type In = Checked;

    fn write(&mut self, record: Checked) -> UserResult {
        self.0.with(|seen| {
            if seen.contains(&record) {
                return Err(format!("{record:?} has come before the checkpoint, and comes again").into());
            }
            seen.push(record);
            Ok(())
        })
    }

    fn flush(&mut self) -> UserResult {
        Ok(())
    }
}

/// The limits, with one that is refused and one that panics.
pub(crate) fn limit(n: u64) -> Limit {
    let at_least = match n {
        5 => 7,
        9 => 2_000,
        n => 2 * (n * 7 % 11),
    };
    Limit { kind: n % KINDS, at_least }
}

pub(crate) const SPLITS: u64 = 3;
pub(crate) const RECORDS: u64 = 20;
pub(crate) const LIMITS: u64 = 16;

/// With limits that are refused, and none that panics: what a sink shows at least once it would show again with each
/// panic.
pub(super) fn refused() -> Topology {
    // Each instance leaves a limit out by itself, and would make a letter of it.
    limits(Supervision::skip(), |n| Limit { at_least: limit(n).at_least.min(1_000), ..limit(n) }, true)
}

/// With one that panics, and without such a sink.
pub(super) fn poisoned() -> Topology {
    limits(Supervision::skip(), limit, false)
}

/// With these limits, this done about those that fail, and a sink that shows everything at least once.
pub(crate) fn limits(supervision: Supervision, limit: fn(u64) -> Limit, has_once: bool) -> Topology {
    let topology = Topology::new("limits");
    let limits = topology
        .source("limits", Generator::bounded(LIMITS, limit))
        .parallelism(1)
        .event_time(|limit| limit.at_least as i64, Lateness::none());
    let checked = topology
        .source("payments", Remembers { splits: SPLITS, records: RECORDS })
        .event_time(|n| *n as i64, Lateness::none())
        .key_by(|n| n % ACCOUNTS)
        .connect_broadcast("check", &limits, Check)
        .supervise(supervision.at_most_fraction(1.0));
    if has_once {
        checked.sink("once", Once).parallelism(1);
    }
    checked.sink_exactly_once("files", Numbered { sink: Files::lines("/out/checked") });
    topology
}
