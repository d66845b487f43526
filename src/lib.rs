#![doc = include_str!("../README.md")]

pub use watershed_actors::sinks::{Collector, Files, SinkFn, Stdout};
pub use watershed_actors::sources::{Generator, InvalidUtf8, Items, Lines, SocketLines};
pub use watershed_actors::{
    Clock, Context, Instance, Lateness, MAX_WATERMARK, Polled, Prepare, Process, Reader, Records, SideOutput,
    Sink, SinkContext, SinkWriter, Source, SourceContext, Split, Timer, TimerKind, TwoPhaseSink,
    TwoPhaseWriter, UserError, UserResult, WatermarkGenerator, WatermarkStrategy, harness,
};
pub use watershed_runtime::{
    Aggregate, Boxed, Chain, Config, Difference, End, Error, ErrorKind, Fault, FaultKind, InstanceNode, Job,
    KeyedStream, OperatorNode, Outcome, Place, RegionNode, Restart, Result, Resume, Seed, Simulated,
    Simulation, SimulationFailure, Simulations, Simulator, SinkActor, SinkCall, Stream, Topology, Tree,
    Violation, millis, minutes, seconds, simulate, simulate_many,
};
pub use watershed_state::{
    Data, FileSystem, FileWriter, Fs, Key, KeyGroups, LocalFs, SimulatedDisk, State, hash_key,
};

/// What a topology is usually written with.
pub mod prelude {
    pub use crate::{
        Aggregate, Config, Context, End, Files, Generator, Items, Lateness, Lines, Process, Restart,
        SideOutput, SocketLines, Stdout, Stream, Timer, TimerKind, Topology, UserResult, millis, minutes,
        seconds,
    };
}
