//! Tasks: what an actor does, as plain structs that know neither threads nor mailboxes.
//!
//! A shell (an actix actor, or the simulator) files what arrives and calls [`Task::step`] as long as it says that there
//! is more to do.

mod cell;
mod operator;
mod pace;
mod process;
mod relay;
mod sink;
mod source;
mod upload;

pub use cell::{Boot, TaskCell, guard};
pub use operator::{Logic, OperatorTask, Tick};
pub use process::{InstanceStore, KeyedStore, ProcessLogic, Store};
pub use relay::RelayLogic;
pub use sink::{SinkLogic, TwoPhaseLogic};
pub use source::{SourceSetup, SourceTask, assign_splits, saved_splits};
pub use upload::SnapshotItem;
use upload::Upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use watershed_state::bug::{self, Bug};
use watershed_state::{Data, Fs, PartFile, Section};

use crate::clock::Clock;
use crate::error::Failure;
use crate::instance::Instance;
use crate::link::TaskWaker;
use crate::message::Envelope;

/// The work of one operator instance.
pub trait Task: Send {
    /// A record that comes in.
    type In: Data;

    /// Puts what came on a channel into its queue.
    ///
    /// # Errors
    /// A broken protocol: our bug.
    fn file(&mut self, envelope: Envelope<Self::In>) -> Result<(), Failure>;

    /// Acts on control, at once.
    ///
    /// # Errors
    /// What failed in doing so.
    fn control(&mut self, control: Control) -> Result<(), Failure>;

    /// Works for about a millisecond.
    ///
    /// # Errors
    /// What failed; the task is dead then.
    fn step(&mut self) -> Result<Step, Failure>;

    /// The key whose record or timer is in process, as JSON, for the report of a failure.
    fn current_key(&self) -> Option<String>;
}

/// What a task says after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    Ready,
    /// Nothing to do before a message, a credit, a wake-up, or this time (clock nanoseconds; `u64::MAX` for never).
    Waiting(u64),
    /// The run is over: nothing more will be done.
    Stopped,
}

/// What the control plane tells a task. It never overtakes data that matters: only sources are triggered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// All instances of the region are ready: begin.
    Start,
    /// To sources: note the positions and send the barrier of this checkpoint.
    Trigger(u64),
    /// [`Control::Trigger`], and read nothing after it: the job is about to stop.
    TriggerLast(u64),
    /// The checkpoint was given up.
    Abort(u64),
    /// The checkpoint is complete: what was prepared for it or before may be committed.
    Complete(u64),
    /// End without any of it: drop everything.
    Stop,
}

/// What a task tells the control plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Who.
    pub task: TaskId,
    /// In which run of its region; older ones are ignored.
    pub run: u32,
    /// What.
    pub event: TaskEvent,
}

/// An event in the life of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskEvent {
    /// Restored, waiting for [`Control::Start`].
    Ready,
    /// Its part of a checkpoint is on disk.
    Acknowledged {
        /// The checkpoint.
        checkpoint: u64,
        /// The file.
        part: PartFile,
    },
    /// Its part of a checkpoint could not be made.
    Declined {
        /// The checkpoint.
        checkpoint: u64,
        /// Why.
        reason: String,
    },
    /// A source has given its last record.
    Ended,
    /// Everything prepared for checkpoints up to this one is visible.
    Committed(u64),
    /// User code or the task itself failed; it is dead.
    Failed(Failure),
    /// The task is gone.
    Stopped,
}

/// Number of a task within its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u32);

/// Takes reports, from any thread, without waiting.
pub trait Reporter: Send + Sync {
    /// Files the report with the control plane.
    fn report(&self, report: Report);
}

/// Runs jobs that block, beside the data path.
pub trait Pool: Send + Sync {
    /// Runs the job some time, on some thread.
    fn run(&self, job: Box<dyn FnOnce() + Send>);
}

/// The run number of a region: raising it shuts out everything of older runs.
#[derive(Debug, Default)]
pub struct Fence(AtomicU32);

impl Fence {
    /// A fence that lets this run in.
    pub fn new(run: u32) -> Self {
        Self(AtomicU32::new(run))
    }

    /// Shuts out all runs before this one.
    pub fn raise(&self, run: u32) {
        self.0.fetch_max(run, Ordering::AcqRel);
    }

    /// The run that is let in.
    pub fn run(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// What an instance counts, readable from outside.
#[derive(Debug, Default)]
pub struct Counters {
    /// Records taken in; for a source, records read.
    pub records: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, records: usize) {
        // One writer: no need for a locked instruction.
        let sum = self.records.load(Ordering::Relaxed) + records as u64;
        self.records.store(sum, Ordering::Relaxed);
    }
}

/// What every task is given.
#[derive(Clone)]
pub struct Env {
    /// Number within the job.
    pub task: TaskId,
    /// Who it is.
    pub instance: Instance,
    /// Its path in the supervision tree: job, region, operator and instance.
    pub path: Arc<str>,
    /// Run of its region.
    pub run: u32,
    /// Shuts it out when its run is over.
    pub fence: Arc<Fence>,
    /// Identity of the job's history.
    pub lineage: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For what blocks.
    pub pool: Arc<dyn Pool>,
    /// The files.
    pub fs: Fs,
    /// Where checkpoints go, and on which file system that is.
    pub checkpoints: (Fs, PathBuf),
    /// The control plane.
    pub reporter: Arc<dyn Reporter>,
    /// Wakes the task.
    pub waker: Arc<TaskWaker>,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// How long a step may take, in nanoseconds.
    pub step_nanos: u64,
    /// Records handled in one go at most.
    pub batch_records: usize,
    /// Slots of state and timers that one slice of a snapshot looks at.
    pub slice_slots: usize,
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env")
            .field("instance", &self.instance)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

impl Env {
    /// Whether the run of this task is over.
    pub fn is_fenced(&self) -> bool {
        self.fence.run() != self.run && !bug::is(Bug::NoFence)
    }

    /// Tells the control plane.
    pub fn report(&self, event: TaskEvent) {
        self.reporter.report(Report { task: self.task, run: self.run, event });
    }

    /// What a sink is told.
    pub fn sink_context(&self) -> crate::sink::SinkContext {
        crate::sink::SinkContext {
            instance: self.instance.clone(),
            lineage: self.lineage.clone(),
            run: self.run,
            fs: Arc::clone(&self.fs),
        }
    }
}

/// What a snapshot holds for an operator, for an instance to take its share from.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// Sections of each instance that wrote them, in order of the instances; the parallelism may have been another.
    pub instances: Vec<Vec<Section>>,
    /// Whether instances of this process wrote it: then each takes back what it wrote itself, as those of other regions
    /// go on with theirs.
    pub from_this_process: bool,
    /// The first run of this process.
    pub process_run: u32,
}

impl Restored {
    /// All sections of a kind, with the instance that wrote them.
    pub fn sections(&self, kind: watershed_state::SectionKind) -> impl Iterator<Item = (usize, &Section)> {
        let instances = self.instances.iter().enumerate();
        instances.flat_map(move |(instance, sections)| {
            sections
                .iter()
                .filter(move |section| section.kind == kind)
                .map(move |section| (instance, section))
        })
    }

    /// Whether there is nothing: a start from the beginning.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}
