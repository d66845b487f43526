#![doc = include_str!("../README.md")]

pub use watershed_actors::sinks::{Collector, Files, SinkFn, Stdout};
pub use watershed_actors::sources::{Generator, InvalidUtf8, Items, Lines, SocketLines};
pub use watershed_actors::{
    Clock, Context, DeadLetter, Directive, Evidence, Instance, Lateness, MAX_WATERMARK, Place, Polled,
    Position, Prepare, Process, Reader, Records, SideOutput, Sink, SinkContext, SinkWriter, SkipCap, Source,
    SourceContext, Split, Stage, Timer, TimerKind, TwoPhaseSink, TwoPhaseWriter, UserError, UserResult,
    WatermarkGenerator, WatermarkStrategy, harness,
};
pub use watershed_runtime::{
    Aggregate, Boxed, Chain, CheckpointNode, Claim, Config, Difference, Drain, End, Error, ErrorKind,
    FailureNode, Fault, FaultKind, FaultPlace, InstanceNode, Job, KeyedStream, OperatorNode, Outcome,
    RegionNode, Rescaled, Restart, Result, Resume, Savepoint, Seed, Shares, Simulated, Simulation,
    SimulationFailure, Simulations, Simulator, SinkActor, SinkCall, Stream, Supervision, TimeNode, Topology,
    Tree, Violation, millis, minutes, seconds, simulate, simulate_many,
};
pub use watershed_state::{
    Data, DiskFault, FileSystem, FileWriter, Fs, Key, KeyGroups, LocalFs, SimulatedDisk, State, StateBackend,
    hash_key,
};
#[cfg(feature = "rocksdb")]
pub use watershed_state::{RocksDb, rocksdb};

/// What a topology is usually written with.
pub mod prelude {
    #[cfg(feature = "rocksdb")]
    pub use crate::RocksDb;
    pub use crate::{
        Aggregate, Config, Context, End, Files, Generator, Items, Lateness, Lines, Process, Restart,
        SideOutput, SocketLines, StateBackend, Stdout, Stream, Supervision, Timer, TimerKind, Topology,
        UserResult, millis, minutes, seconds,
    };
}
