//! What is to go wrong in a simulated process, and who is told what happens in it.

use std::fmt::Debug;
use std::ops::Range;

use watershed_actors::{Control, SkipEntry, TaskId, UserResult};

use crate::event::{Event, Then};

/// Asked by the scheduler, the control plane's mailbox and the pool of a simulated process what is to go wrong now, and
/// told what happens. The simulator implements it; the engine below knows no more of the simulator than this.
pub(crate) trait Faults: SinkFaults {
    /// The tasks are called so from now on.
    fn name_tasks(&self, names: Vec<String>);

    /// A step begins. Returns what happens instead, if anything.
    fn step(&self, turn: u64, nanos: u64) -> Option<Instead>;

    /// So many file operations were done in a step. Returns how long they took, in nanoseconds.
    fn file_operations(&self, operations: u64) -> u64;

    /// A message is given to a channel. Returns for how many nanoseconds it is held back, if it is.
    fn delivery(&self, task: TaskId, channel: u32) -> Option<u64>;

    /// Whether a turn is one of the slow ones at this time.
    fn is_slow(&self, turn: u64) -> bool;

    /// A job is given to the pool. Returns for how many nanoseconds it is held back, if it is.
    fn job(&self) -> Option<u64>;

    /// Something is reported to the control plane.
    fn fate_of(&self, event: &Event) -> Fate;

    /// The control plane takes an event.
    fn hears(&self, event: &Event);

    /// A task is told something.
    fn tells(&self, control: Control);

    /// Something is asked of the job, or it refuses.
    fn is_asked(&self, what: String);

    /// An operator was rescaled.
    fn rescaled(&self, what: String);

    /// A task is launched in a run.
    fn launches(&self, task: TaskId, run: u64);

    /// A task is launched that leaves these records out.
    fn leaves_out(&self, entries: &[SkipEntry]);

    /// Whether a promise was seen broken.
    fn is_violated(&self) -> bool;
}

/// The same for sinks.
pub(crate) trait SinkFaults: Debug + Send + Sync {
    /// A sink is called; it may have to fail in place of what it is called for.
    fn sink_call(&self, call: SinkCall) -> UserResult;

    /// A sink is there.
    fn sink(&self, name: &str, guarantee: Guarantee);

    /// A writer is opened.
    fn sink_opens(&self, opened: Opened);

    /// What these runs left behind is removed, of an instance or of all.
    fn sink_discarded(&self, sink: &str, runs: &Range<u64>, instance: Option<usize>);

    /// Output was prepared, whose committable is encoded as `id`.
    fn sink_prepared(&self, by: &Opened, id: Vec<u8>, checkpoint: u64, records: Vec<String>);

    /// A sink is about to make something visible.
    fn sink_commits(&self, sink: &str, id: &[u8]);

    /// It is visible.
    fn sink_committed(&self, sink: &str, id: &[u8]);

    /// A sink that writes at least once shows these.
    fn sink_shows(&self, sink: &str, records: Vec<String>);
}

/// What becomes of a message to the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    /// After so many nanoseconds.
    Late(u64),
    Lost,
}

/// What happens at a step of the scheduler in place of what would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Instead {
    Panic,
    /// The task whose turn it is never comes back from its step.
    Hang,
    Die,
    Stop,
    /// Somebody wants a savepoint, there, and that the job ends with it.
    Savepoint(String, Then),
    /// Somebody wants an operator to have so many instances; which one, and how many, is for the dice if it is not
    /// said.
    Rescale(Option<(String, usize)>),
    /// The task whose turn it is does nothing for so many nanoseconds.
    Stall(u64),
}

/// What a sink is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SinkCall {
    /// To open what it writes to.
    Open,
    /// To remove what earlier runs left behind.
    Discard,
    /// To write a record.
    Write,
    /// To bring what was written to its place, at least once.
    Flush,
    /// To close what was written, at a barrier.
    Prepare,
    /// To make it durable, beside the data path.
    FinishPreparing,
    /// To make it visible.
    Commit,
    /// To make it visible; it has done so when it fails.
    AfterCommit,
}

/// What a sink promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guarantee {
    ExactlyOnce,
    AtLeastOnce,
}

/// A writer of an instance in a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Opened {
    pub(crate) sink: String,
    pub(crate) instance: usize,
    pub(crate) run: u64,
}
