#![doc = include_str!("../README.md")]

pub use watershed_actors::sinks::{Collector, Files, SinkFn, Stdout};
pub use watershed_actors::sources::{Generator, InvalidUtf8, Items, Lines, SocketLines};
pub use watershed_actors::{
    BroadcastContext, BroadcastInput, BroadcastProcess, Clock, Connected, ConnectedContext, Context,
    DeadLetter, Directive, Evidence, Instance, Lateness, MAX_WATERMARK, OperatorState, OperatorStates, Place,
    Polled, Position, Prepare, Process, Reader, Records, SideOutput, Sink, SinkContext, SinkWriter, SkipCap,
    Source, SourceContext, Split, Stage, Timer, TimerKind, TwoPhaseSink, TwoPhaseWriter, UserError,
    UserResult, WatermarkGenerator, WatermarkStrategy, harness,
};
pub use watershed_runtime::{
    Boxed, Chain, CheckpointNode, Claim, Config, Difference, Drain, End, Error, ErrorKind, ExpiringStates,
    FailureNode, Fault, FaultKind, FaultPlace, InstanceNode, Job, KeyedStates, KeyedStream, OperatorNode,
    OperatorWriter, Outcome, Reduced, RegionNode, Rescaled, Restart, Result, Resume, SavedOperator,
    SavedTimer, Savepoint, SavepointReader, SavepointWriter, Seed, Shares, Simulated, Simulation,
    SimulationFailure, Simulations, Simulator, SinkActor, SinkCall, SplitPosition, Stream, Supervision,
    TimeNode, Topology, Tree, Violation, millis, minutes, seconds, simulate, simulate_many,
};
pub use watershed_state::{
    Aggregate, AggregatingState, Collection, Data, DiskFault, FileSystem, FileWriter, Fs, Key, KeyGroups,
    ListState, LocalFs, MapState, OpenAggregating, OpenList, OpenMap, OpenReducing, OpenValue, ReducingState,
    SimulatedDisk, State, StateBackend, Ttl, ValueState, hash_key,
};
#[cfg(feature = "rocksdb")]
pub use watershed_state::{RocksDb, rocksdb};

/// What a topology is usually written with.
pub mod prelude {
    #[cfg(feature = "rocksdb")]
    pub use crate::RocksDb;
    pub use crate::{
        Aggregate, AggregatingState, BroadcastContext, BroadcastProcess, Config, ConnectedContext, Context,
        End, Files, Generator, Items, Lateness, Lines, ListState, MapState, Process, ReducingState, Restart,
        SideOutput, SocketLines, StateBackend, Stdout, Stream, Supervision, Timer, TimerKind, Topology, Ttl,
        UserResult, ValueState, millis, minutes, seconds,
    };
}
