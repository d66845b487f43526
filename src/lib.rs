#![doc = include_str!("../README.md")]

pub use watershed_actors::sinks::{Collector, Files, SinkFn, Stdout};
pub use watershed_actors::sources::{Generator, InvalidUtf8, Items, Lines, SocketLines};
pub use watershed_actors::{
    BroadcastContext, BroadcastInput, BroadcastProcess, Clock, Connected, ConnectedContext, Context,
    DeadLetter, Directive, Evidence, FailureKind, FarAhead, Instance, Lateness, MAX_WATERMARK, NoClaim,
    OperatorState, OperatorStates, OutputClaim, OutputClosed, Owner, Place, Polled, Position, Prepare,
    Process, Progress, ProgressUnit, Reader, Records, SideOutput, Sink, SinkContext, SinkWriter, SkipCap,
    Source, SourceContext, Split, Stage, Timer, TimerKind, TwoPhaseSink, TwoPhaseWriter, UserError,
    UserResult, WatermarkGenerator, WatermarkStrategy, harness,
};
pub use watershed_runtime::{
    ActorKind, AttemptOutcome, Boxed, BroadcastProcessOf, Chain, CheckpointAttempt, CheckpointHistory,
    CheckpointNode, Claim, Config, Difference, Drain, End, Error, ErrorKind, ExpiringStates, FailureNode,
    Fault, FaultKind, FaultPlace, InstanceNode, InstanceState, Job, KeyedStates, KeyedStream, OperatorNode,
    OperatorWriter, Outcome, ProcessOf, ProgressNode, Reduced, RegionNode, RegionState, Rescaled, Restart,
    Result, Resume, SavedOperator, SavedTimer, Savepoint, SavepointReader, SavepointWriter, Seed, Shares,
    Simulated, Simulation, SimulationFailure, Simulations, Simulator, SinkActor, SinkCall, SplitNode,
    SplitPosition, Stream, Supervision, SupervisionLevel, TimeNode, Topology, Tree, Unboxed, Violation,
    WithoutKey, millis, minutes, seconds, simulate, simulate_many,
};
pub use watershed_state::{
    Aggregate, AggregatingState, Collection, Data, DiskFault, FileReader, FileSystem, FileWriter, Fs, Key,
    KeyGroups, ListState, LocalFs, MapState, OpenAggregating, OpenList, OpenMap, OpenReducing, OpenValue,
    ReducingState, SimulatedDisk, State, StateBackend, Ttl, ValueState, hash_key,
};
#[cfg(feature = "rocksdb")]
pub use watershed_state::{RocksDb, rocksdb};

/// What a topology is usually written with, run and simulated.
pub mod prelude {
    #[cfg(feature = "rocksdb")]
    pub use crate::RocksDb;
    pub use crate::{
        Aggregate, AggregatingState, BroadcastContext, BroadcastProcess, Claim, Collector, Config,
        ConnectedContext, Context, Drain, End, FarAhead, Files, Generator, Items, Lateness, Lines, ListState,
        MapState, Process, ReducingState, Restart, Seed, SideOutput, Simulation, Simulator, SinkFn,
        SocketLines, StateBackend, Stdout, Stream, Supervision, Timer, TimerKind, Topology, Ttl, UserResult,
        ValueState, hash_key, millis, minutes, seconds, simulate, simulate_many,
    };
}

/// The code in `docs/` compiles and runs with the other examples of the documentation.
#[cfg(doctest)]
mod how_tos {
    #[doc = include_str!("../docs/quick-start.md")]
    struct QuickStart;
    #[doc = include_str!("../docs/errors-aside.md")]
    struct ErrorsAside;
    #[doc = include_str!("../docs/joins.md")]
    struct Joins;
    #[doc = include_str!("../docs/deduplicate.md")]
    struct Deduplicate;
    #[doc = include_str!("../docs/end-of-input.md")]
    struct EndOfInput;
    #[doc = include_str!("../docs/operations.md")]
    struct Operations;
    #[doc = include_str!("../docs/releases.md")]
    struct Releases;
    #[cfg(feature = "rocksdb")]
    #[doc = include_str!("../docs/state.md")]
    struct State;
}
