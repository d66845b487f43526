//! Sources: where records come from, in splits that remember how far they have been read.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use serde::{Deserialize, Serialize};
use watershed_state::{Data, Redistribution};

use crate::batch::Batch;
use crate::clock::{Clock, NO_TIMESTAMP};
use crate::error::{UserError, UserResult};
use crate::instance::Instance;
use crate::operator_state::{OperatorState, OperatorStates};

/// Something to read from. It is shared by all instances; each reads the splits that are assigned to it.
///
/// A split that has been read to some position must give the same records when it is read again from there: that is
/// what makes a restart exact.
pub trait Source: Send + Sync + 'static {
    /// A record.
    type Item: Data;
    /// A part that one reader reads alone, like a range of bytes of a file.
    type Split: Split;
    /// Reads one split.
    type Reader: Reader<Item = Self::Item>;

    /// All splits there are, asked for once at each start.
    ///
    /// # Errors
    /// What is missing or unreadable; the job does not start.
    fn splits(&self) -> UserResult<Vec<Self::Split>>;

    /// Starts to read a split, from the beginning or from a position that a reader of it gave.
    ///
    /// # Errors
    /// What could not be opened; the instance fails and is restarted by its supervisor.
    fn open(
        &self,
        split: &Self::Split,
        position: Option<<Self::Reader as Reader>::Position>,
        context: &SourceContext,
    ) -> UserResult<Self::Reader>;

    /// Whether every split ends.
    ///
    /// This says what [`Polled::End`] means. In a bounded source the split is finished for good: it is not read again,
    /// not by a later start either, and when all are finished the source has ended. In a source that is not bounded it
    /// does not end the split: its other side has hung up, and the split is opened again from its position, after 0.1 s
    /// and then more and more rarely: up to every 30 s as long as it has nothing, up to every second if it always has
    /// something and hangs up at once. It is asked each time, so a source may learn that there will be no more. A
    /// single split of it that has ended for good says [`Polled::Finished`].
    fn is_bounded(&self) -> bool;
}

/// A part of a source.
pub trait Split: Data + Sync {
    /// Identifies it for ever: it ties a position in a snapshot to the split. Splits are read in the order of their
    /// ids.
    fn id(&self) -> String;
}

/// Reads one split.
pub trait Reader: Send {
    /// A record.
    type Item;
    /// How far it has read: everything it gave out, and nothing else, lies before it.
    type Position: Data;

    /// Appends up to `limit` records, without waiting for any. A reader that has said [`Polled::End`] or
    /// [`Polled::Finished`] is not asked again; it may give records together with that.
    ///
    /// # Errors
    /// What went wrong; the instance fails and is restarted by its supervisor.
    fn poll(&mut self, records: &mut Records<'_, Self::Item>, limit: usize) -> UserResult<Polled>;

    /// Where the next record will come from. It is asked after the end, too: a split of an unbounded source is opened
    /// again from there.
    fn position(&self) -> Self::Position;

    /// How far the split has been read, for those who watch the job; asked once per batch. `None` if that is not known.
    fn progress(&self) -> Option<Progress> {
        None
    }
}

/// How far a split has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// What has been read of it.
    pub done: u64,
    /// All of it.
    pub total: u64,
    /// What both are counted in.
    pub unit: ProgressUnit,
}

/// What the progress of a reader is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgressUnit {
    /// Records.
    #[default]
    Records,
    /// Bytes.
    Bytes,
}

impl fmt::Display for ProgressUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Records => "records",
            Self::Bytes => "bytes",
        })
    }
}

/// What a reader says of the next records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// Ask again.
    Ready,
    /// Nothing for now. Ask again at this time (clock nanoseconds), or when the [`SourceContext::waker`] is woken.
    Pending(Option<u64>),
    /// The split has been read to its end, or, in a source that is not bounded ([`Source::is_bounded`]), as far as
    /// there is anything for now, and has to be opened again.
    End,
    /// The split has been read to its end for good, whether the source is bounded or not: it is not opened again, not
    /// by a later start either, also where the source has become another kind of source by then. When all splits are
    /// finished the source has ended.
    Finished,
}

/// Where a reader puts its records.
#[derive(Debug)]
pub struct Records<'a, T> {
    batch: &'a mut Batch<T>,
    rejected: Vec<Undecoded>,
}

/// What was read and is no record.
#[derive(Debug)]
pub(crate) struct Undecoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) error: UserError,
    /// Records that were read before it in the same call.
    pub(crate) after: usize,
}

impl<'a, T> Records<'a, T> {
    /// Appends to this batch.
    pub fn new(batch: &'a mut Batch<T>) -> Self {
        Self { batch, rejected: Vec::new() }
    }

    /// Says that what was read is no record, and why. The reader goes on behind it; whether the job does is up to the
    /// policy of the operator for [`Stage::Decode`](crate::Stage::Decode).
    pub fn reject(&mut self, bytes: impl Into<Vec<u8>>, error: impl Into<UserError>) {
        let (bytes, error, after) = (bytes.into(), error.into(), self.batch.len());
        self.rejected.push(Undecoded { bytes, error, after });
    }

    pub(crate) fn into_rejected(self) -> Vec<Undecoded> {
        self.rejected
    }

    /// Adds a record.
    #[inline]
    pub fn push(&mut self, value: T) {
        self.batch.push(value, NO_TIMESTAMP);
    }

    /// Adds a record whose event time (milliseconds) the source knows.
    #[inline]
    pub fn push_at(&mut self, value: T, at: i64) {
        self.batch.push(value, at);
    }

    /// Adds records without event time; as fast as the iterator.
    #[inline]
    pub fn extend(&mut self, values: impl Iterator<Item = T>) {
        if self.batch.timestamps.is_empty() {
            self.batch.values.extend(values);
        } else {
            values.for_each(|value| self.push(value));
        }
    }
}

/// What a reader is given.
#[derive(Clone)]
pub struct SourceContext {
    /// Who reads.
    pub instance: Instance,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// To be woken when there is data after [`Polled::Pending`].
    pub waker: Waker,
    /// What the instance remembers beside the positions of its splits.
    pub states: OperatorStates,
}

impl SourceContext {
    /// A list that the instance remembers beside the positions of its splits: all its readers share the list of a name.
    ///
    /// A reader that is opened after a restart finds what was there at the barrier of the checkpoint, which passes
    /// between two polls, behind everything that was read. With another parallelism the elements are dealt out in turn
    /// to the instances that have something to read. As long as no reader of an instance asks for it, the list is kept
    /// as it is.
    ///
    /// # Errors
    /// If the name is in use for another list, or what was saved does not fit `T`; the job ends with it.
    pub fn list_state<T: Data>(&self, name: &str) -> UserResult<OperatorState<T>> {
        self.states.open(name, Redistribution::List)
    }

    /// As [`list_state`](Self::list_state), but at a restart each instance gets the elements of all instances, and
    /// should keep those that are its own. Whoever asks for it must expect to find an element more than once, and keep
    /// one of each: what an instance got belongs to it as well, as long as it keeps it, and where only some of the
    /// instances ask, those save all elements and the others save their share of them again. (If the operator's
    /// instances are not connected and one is rolled back alone, it gets what it had itself: the others go on with
    /// theirs.)
    ///
    /// # Errors
    /// As of [`list_state`](Self::list_state).
    pub fn union_state<T: Data>(&self, name: &str) -> UserResult<OperatorState<T>> {
        self.states.open(name, Redistribution::Union)
    }
}

impl fmt::Debug for SourceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceContext").field("instance", &self.instance).finish_non_exhaustive()
    }
}
