//! Tasks: what an actor does, as plain structs that know neither threads nor mailboxes.
//!
//! A shell (an actix actor, or the simulator) files what arrives and calls [`Task::step`] as long as it says that there
//! is more to do.

mod aside;
mod care;
mod cell;
mod metrics;
mod operator;
mod pace;
mod process;
mod progress;
mod pulse;
mod relay;
mod replays;
mod sink;
mod source;
mod upload;

use aside::{Aside, no_closure, replay_into};
pub use care::saved_replays;
pub(crate) use care::{Attempt, Care, Exhibit, Verdict};
pub use cell::{Boot, TaskCell};
pub use metrics::{Activity, Meter, Sent, Times, WatermarkGauge};
pub use operator::{Logic, OperatorTask, Tick};
pub use process::{BroadcastLogic, Expiring, Forever, InstanceStore, KeyedStore, Life, ProcessLogic, Store};
pub use progress::ProgressGauge;
use pulse::AtWork;
pub use pulse::{Pulse, Work};
pub use relay::RelayLogic;
use replays::Replays;
pub use sink::{SinkLogic, TwoPhaseLogic};
pub use source::{SourceSetup, SourceTask, assign_splits, saved_splits};
use upload::Upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed_state::bug::{self, Bug};
use watershed_state::{Data, Fs, Objects, SavedPart, StateBackend};

use crate::clock::Clock;
use crate::failure::{Blame, Failure};
use crate::instance::Instance;
use crate::link::TaskWaker;
use crate::message::Envelope;
use crate::operator_state::OperatorStates;
use crate::supervision::Oversight;
use crate::tap::Tap;

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

    /// Whether it can do nothing before an output has room.
    fn is_blocked(&self) -> bool;

    /// The key whose record or timer is in process, as JSON, for the report of a failure.
    fn current_key(&self) -> Option<String>;

    /// Whom to blame for a failure, and what the policy says of it.
    fn blame(&self, failure: &Failure) -> Option<Blame>;
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
    /// To sources: end, as if there were nothing more to read. How far they have read is kept.
    Drain,
    /// The checkpoint was given up.
    Abort(u64),
    /// The checkpoint is complete: what was prepared for it or before may be committed.
    Complete(u64),
    /// The next snapshot is to hold everything: what it would add to is lost.
    SaveAll,
    /// End without any of it: drop everything.
    Stop,
}

/// What a task tells the control plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Who.
    pub task: TaskId,
    /// In which run of its region; older ones are ignored.
    pub run: u64,
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
        /// What it has written.
        part: SavedPart,
        /// Whether its input has ended and it still has work to do, so that this cannot be the last checkpoint of the
        /// job.
        unfinished: bool,
    },
    /// Its part of a checkpoint could not be made.
    Declined {
        /// The checkpoint.
        checkpoint: u64,
        /// Why.
        reason: String,
        /// Whether it is so as long as what was to be saved stays as it is: it could not be read back.
        lasts: bool,
    },
    /// A dead letter does not fit what it is to be given back to. It has not been replayed, and will not be.
    CannotReplay {
        /// Its id.
        letter: String,
        /// Why.
        why: String,
    },
    /// Dead letters that it has replayed since the snapshot before.
    Replayed {
        /// The checkpoint whose snapshot knows of them.
        checkpoint: u64,
        /// Their ids.
        letters: Vec<String>,
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
pub struct Fence(AtomicU64);

impl Fence {
    /// A fence that lets this run in.
    pub fn new(run: u64) -> Self {
        Self(AtomicU64::new(run))
    }

    /// Shuts out all runs before this one.
    pub fn raise(&self, run: u64) {
        self.0.fetch_max(run, Ordering::AcqRel);
    }

    /// The run that is let in.
    pub fn run(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What an instance counts, readable from outside. It alone writes, now and then: per step or per batch, never per
/// record.
#[derive(Debug, Default)]
pub struct Counters {
    /// Records taken in; for a source, records read.
    pub records: AtomicU64,
    /// Size of one of them in memory, without what it points to: the text of a `String` is not in it.
    pub record_bytes: AtomicU64,
    /// What was sent to other actors.
    pub sent: Sent,
    /// Records that were set aside for good, instead of being processed.
    pub skipped: AtomicU64,
    /// Records that wait, as their key is parked.
    pub parked: AtomicU64,
    /// The combined watermark of the inputs.
    pub watermark: WatermarkGauge,
    /// The highest watermark that was sent on.
    pub watermark_sent: WatermarkGauge,
    /// The newest checkpoint whose barrier it has passed on in this run.
    pub barrier: AtomicU64,
    /// How far it has come, if it is a source that ends.
    pub progress: ProgressGauge,
    /// Where the time goes.
    pub meter: Meter,
    /// What the instance is at, and since when.
    pub pulse: Pulse,
}

impl Counters {
    /// Records taken in.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(crate) fn set_skipped(&self, records: u64) {
        self.skipped.store(records, Ordering::Relaxed);
    }

    pub(crate) fn set_parked(&self, records: usize) {
        self.parked.store(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, records: usize) {
        metrics::add(&self.records, records as u64);
    }

    /// Notes what type of records is counted.
    pub(crate) fn counts<T>(&self) {
        self.record_bytes.store(size_of::<T>() as u64, Ordering::Relaxed);
    }

    /// What the next attempt of the same instance goes on counting with. They are other ones, as a thread that is stuck
    /// in an old attempt may still write to the old ones.
    pub fn carry_on(&self, now_nanos: u64) -> Self {
        Self {
            records: metrics::copy(&self.records),
            record_bytes: metrics::copy(&self.record_bytes),
            sent: self.sent.carry_on(),
            skipped: metrics::copy(&self.skipped),
            parked: metrics::copy(&self.parked),
            meter: self.meter.carry_on(now_nanos),
            ..Self::default()
        }
    }
}

/// Where the keyed state of an instance lives.
#[derive(Debug, Clone, Default)]
pub struct StateSetup {
    /// In memory, or in a database.
    pub backend: StateBackend,
    /// The folder on the local disk that is this instance's for it.
    pub scratch: PathBuf,
    /// Snapshots hold changes however little state there is.
    pub always_save_changes: bool,
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
    pub run: u64,
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
    /// Where checkpoints go.
    pub checkpoints: Objects,
    /// Where the state of keys lives.
    pub state: StateSetup,
    /// The control plane.
    pub reporter: Arc<dyn Reporter>,
    /// Wakes the task.
    pub waker: Arc<TaskWaker>,
    /// What is done about records that make it fail.
    pub oversight: Arc<Oversight>,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// Shows its records to whoever looks.
    pub tap: Arc<Tap>,
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

    /// Notes that this work begins, and that it is done when what is returned is dropped.
    pub(crate) fn at_work(&self, work: Work) -> AtWork<'_> {
        self.counters.pulse.begin(work, self.clock.nanos());
        AtWork(&self.counters.pulse, work)
    }

    /// Tells the control plane.
    pub fn report(&self, event: TaskEvent) {
        self.reporter.report(Report { task: self.task, run: self.run, event });
    }

    /// What the task does from now on.
    pub(crate) fn turn_to(&self, activity: Activity) {
        self.counters.meter.change(activity, &*self.clock);
    }

    /// What a sink is told when a writer is opened.
    pub(crate) fn writer_context(&self, states: &OperatorStates) -> crate::sink::SinkContext {
        crate::sink::SinkContext { states: states.clone(), ..self.sink_context() }
    }

    /// What a sink is told when there is no writer.
    pub fn sink_context(&self) -> crate::sink::SinkContext {
        crate::sink::SinkContext {
            instance: self.instance.clone(),
            lineage: self.lineage.clone(),
            run: self.run,
            fs: Arc::clone(&self.fs),
            states: OperatorStates::closed(),
        }
    }
}
