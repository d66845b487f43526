//! Sinks: where records go.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use watershed_state::{Data, Fs, Redistribution};

use crate::error::UserResult;
use crate::instance::Instance;
use crate::operator_state::{OperatorState, OperatorStates};

/// A sink that may show a record again after a crash: **at least once**.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no sink for `.sink(name, …)`, where records may be shown again after a crash",
    label = "no `Sink`",
    note = "a sink that shows each record exactly once, as `Files` and `Collector::sink()` do, goes into \
            `.sink_exactly_once(name, …)`; a closure into `SinkFn`, or into `.for_each(…)`"
)]
pub trait Sink: Send + Sync + 'static {
    /// A record.
    type In: Data;
    /// Writes for one instance.
    type Writer: SinkWriter<In = Self::In>;

    /// Opens the writer of an instance, at the start and after each restart.
    ///
    /// # Errors
    /// What could not be opened.
    fn open(&self, context: &SinkContext) -> UserResult<Self::Writer>;
}

/// Writes the records of one instance.
pub trait SinkWriter: Send {
    /// A record.
    type In;

    /// Writes a record.
    ///
    /// # Errors
    /// What went wrong. Input and output that failed (an [`io::Error`](std::io::Error) or what has one as its source,
    /// but for the kinds `InvalidData`, `InvalidInput` and `Unsupported`) is nobody's fault: the region restarts and
    /// the record comes again. Any other error is about the record, which the operator's policy may leave out: nothing
    /// of it may have been written then, nor remembered.
    fn write(&mut self, record: Self::In) -> UserResult;

    /// Brings everything written so far to its place. Called at every checkpoint, when the input runs empty and at the
    /// end; the checkpoint is not complete before it returns.
    ///
    /// # Errors
    /// What went wrong; the instance is restarted.
    fn flush(&mut self) -> UserResult;
}

/// A sink in two phases, which shows each record **exactly once**: what a writer wrote stays invisible until the
/// checkpoint that covers it is complete.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no sink for `.sink_exactly_once(name, …)`, which shows each record once and in two phases",
    label = "no `TwoPhaseSink`",
    note = "a sink that may show a record again after a crash, as `Stdout` and `SinkFn` do, goes into `.sink(name, …)`"
)]
pub trait TwoPhaseSink: Send + Sync + 'static {
    /// A record.
    type In: Data;
    /// Writes for one instance.
    type Writer: TwoPhaseWriter<In = Self::In, Committable = Self::Committable>;
    /// Names something written but invisible; kept in the checkpoint until it is committed.
    type Committable: Data;

    /// Finds what would keep the sink from working, before anything starts.
    ///
    /// # Errors
    /// What is wrong and what to do.
    fn check(&self, fs: &Fs) -> UserResult;

    /// Takes the output for this process, before anything of it is written or read: two processes that go on with one
    /// history, as with a checkpoint folder and a copy of it, would give different output the same names. A sink whose
    /// output they cannot replace for each other returns [`NoClaim`].
    ///
    /// # Errors
    /// Who has it and who wants it, and what to do.
    fn claim(&self, owner: &Owner, fs: &Fs) -> UserResult<Box<dyn OutputClaim>>;

    /// Opens the writer of an instance, at the start and after each restart.
    ///
    /// # Errors
    /// What could not be opened.
    fn open(&self, context: &SinkContext) -> UserResult<Self::Writer>;

    /// Makes visible what a committable names, durably. It may be called again for one that is committed already, and
    /// must succeed then.
    ///
    /// # Errors
    /// What went wrong; it is called again after a restart.
    fn commit(&self, committable: &Self::Committable, context: &SinkContext) -> UserResult;

    /// Removes what `runs` of this lineage wrote and no committable in `keep` names: of one instance, or of all. Called
    /// before writers are opened.
    ///
    /// # Errors
    /// What went wrong.
    fn discard_dangling(
        &self,
        keep: &[Self::Committable],
        runs: Range<u64>,
        instance: Option<usize>,
        context: &SinkContext,
    ) -> UserResult;

    /// Up to which checkpoint of the lineage something has been made visible, if anything.
    ///
    /// # Errors
    /// What could not be read.
    fn committed_through(&self, lineage: &str, fs: &Fs) -> UserResult<Option<u64>>;

    /// The histories of the job of which something has been made visible that an operator of this name wrote. A start
    /// that would not go on from one of them is refused, as it would show records twice.
    ///
    /// # Errors
    /// What could not be read.
    fn lineages(&self, operator: &str, fs: &Fs) -> UserResult<BTreeSet<String>>;

    /// The folder of the local disk that it writes to, if it is one: nothing else that the job removes may be there.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// What can be seen of it, one text for each record, for the simulator to compare; `None` if it cannot tell, and
    /// then the simulator compares what was committed.
    ///
    /// # Errors
    /// What could not be read.
    fn visible(&self, _fs: &Fs) -> UserResult<Option<Vec<String>>> {
        Ok(None)
    }

    /// Forgets what it shows in the memory of this process: another simulated run begins. There is nothing to do for a
    /// sink that shows its output on the disk.
    fn forget(&self) {}
}

/// Writes the records of one instance, invisibly.
pub trait TwoPhaseWriter: Send {
    /// A record.
    type In;
    /// See [`TwoPhaseSink::Committable`].
    type Committable;

    /// Writes a record.
    ///
    /// # Errors
    /// See [`SinkWriter::write`].
    fn write(&mut self, record: Self::In) -> UserResult;

    /// Closes what was written since the last call; it belongs to `checkpoint`. What takes long (syncing) goes into
    /// the returned step, which runs beside the data path; `None` if nothing was written.
    ///
    /// # Errors
    /// What went wrong; the instance is restarted from the checkpoint.
    fn prepare(&mut self, checkpoint: u64) -> UserResult<Option<Prepare<Self::Committable>>>;
}

/// The slow half of preparing: makes durable what was written and returns its name.
pub type Prepare<C> = Box<dyn FnOnce() -> UserResult<C> + Send>;

/// An error of a sink whose output nobody reads any more, as when the program behind a pipe has ended: the job ends at
/// once, as if it were cancelled, and without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct OutputClosed;

/// Who writes output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The name of the topology.
    pub topology: String,
    /// The name of the sink.
    pub operator: String,
    /// The history of the job, as in [`SinkContext::lineage`].
    pub lineage: String,
    /// The first run of this process: higher than any of those before it that went on with the same history.
    pub run: u64,
    /// Where the checkpoints are; `None` if they are gone with the job, and its history with them.
    pub checkpoints: Option<String>,
    /// The number of the process, 0 in a simulation.
    pub process: u32,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
}

/// Output that belongs to this process. It is released when this is dropped.
pub trait OutputClaim: Send + Sync {
    /// Makes known that the output is taken. Called once, when the number of the run cannot be given again; and not at
    /// all if the process does not come so far, which must leave no trace then.
    ///
    /// # Errors
    /// What could not be written, or who was quicker.
    fn mark(&mut self) -> UserResult;
}

/// For sinks that need none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoClaim;

impl OutputClaim for NoClaim {
    fn mark(&mut self) -> UserResult {
        Ok(())
    }
}

/// What a writer is given.
#[derive(Clone)]
pub struct SinkContext {
    /// Who writes.
    pub instance: Instance,
    /// Identity of this history of the job: a new one for each start from nothing.
    pub lineage: String,
    /// Run of the region; grows with each restart.
    pub run: u64,
    /// The files.
    pub fs: Fs,
    /// What the instance remembers.
    pub states: OperatorStates,
}

impl SinkContext {
    /// A list that the instance remembers. What is in it when [`SinkWriter::flush`] or [`TwoPhaseWriter::prepare`]
    /// returns at a barrier belongs to that checkpoint, and a writer that is opened after a restart finds it again.
    /// With another parallelism the elements are dealt out in turn. It is for `open`: nothing is remembered where
    /// something is committed or discarded.
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

impl fmt::Debug for SinkContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkContext")
            .field("instance", &self.instance)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}
