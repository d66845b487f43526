//! The data plane of Watershed: records, batches, channels, operators, and the tasks that run them.
//!
//! Invariants: this crate knows no topology and not who supervises a task; no operator reads a clock of the machine;
//! no queue is unbounded; user code is caught in one place.

mod actor;
mod batch;
mod chain;
mod clock;
#[cfg(test)]
mod data_model;
mod edge;
mod error;
mod failure;
pub mod harness;
mod inbox;
mod instance;
mod link;
mod message;
mod operator_state;
mod panics;
mod process;
mod query;
mod restored;
mod sink;
pub mod sinks;
mod slot;
mod snapshot;
mod source;
pub mod sources;
mod supervision;
mod tap;
mod task;

pub use actor::{ActorPort, ControlMessage, Shell};
pub use batch::{Batch, Flow};
pub use chain::{
    EventTime, FarAhead, Filter, FilterMap, FlatMap, ForEach, Fused, FusedWatermarks, Inspect, Lateness, Map,
    Operation, Push, SavedWatermarks, Tee, Timing, TryFilterMap, TryFlatMap, TryMap, WatermarkGenerator,
    WatermarkStrategy,
};
pub use clock::{Clock, MAX_WATERMARK, NO_TIMESTAMP, SystemClock, nanos_of};
pub use edge::{BatchLimits, Broadcast, ByKey, Edge, Forward, Port, Rebalance, Route, Sender};
pub use error::{UserError, UserResult, chain_of, is_no_space};
pub use failure::{Blame, Failure, FailureKind};
pub use inbox::{Aligner, Arrival, Inbox, Input, Valve, ValveChange};
pub use instance::Instance;
pub use link::{Credits, Link, Permit, TaskWaker};
pub use message::{Barrier, Envelope, Message, Signal, Status};
pub use operator_state::{OperatorState, OperatorStates};
pub use panics::{guard, in_simulation};
pub use process::{
    BroadcastContext, BroadcastInput, BroadcastProcess, Connected, ConnectedContext, Context, Process,
    SideOutput, SideOutputs, Timer, TimerKind,
};
pub use query::{Found, Query, QueryError, QueryKey, Reading};
pub use restored::Restored;
pub use sink::{
    NoClaim, OutputClaim, OutputClosed, Owner, Prepare, Sink, SinkContext, SinkWriter, TwoPhaseSink,
    TwoPhaseWriter,
};
pub use slot::Slot;
pub use snapshot::SnapshotItem;
pub use source::{Polled, Progress, ProgressUnit, Reader, Records, Source, SourceContext, Split};
pub use supervision::{
    DeadLetter, Directive, Evidence, LETTERS, Oversight, Place, Policy, Position, Rejecter, Rejects, Replay,
    SkipCap, SkipEntry, Stage, Suspect,
};
pub use tap::{Sample, Tap, Tapper};
pub use task::{
    Activity, Boot, BroadcastLogic, Control, Counters, Env, Expiring, Fence, Forever, InstanceStore,
    KeyedStore, Life, Logic, Meter, OperatorTask, Pool, ProcessLogic, ProgressGauge, Pulse, RelayLogic,
    Report, Reporter, Sent, SinkLogic, SourceSetup, SourceTask, StateSetup, Step, Store, Task, TaskCell,
    TaskEvent, TaskId, Tick, Times, TwoPhaseLogic, WatermarkGauge, Work, assign_splits, saved_replays,
    saved_splits,
};
