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
    Aggregate, Boxed, Chain, CheckpointNode, Config, End, Error, ErrorKind, FailureNode, InstanceNode, Job,
    KeyedStream, OperatorNode, Outcome, RegionNode, Restart, Result, Resume, Shares, Simulation, SinkActor,
    Stream, Supervision, TimeNode, Topology, Tree, millis, minutes, seconds,
};
pub use watershed_state::{
    Data, FileSystem, FileWriter, Fs, Key, KeyGroups, LocalFs, SimulatedDisk, State, hash_key,
};

/// What a topology is usually written with.
pub mod prelude {
    pub use crate::{
        Aggregate, Config, Context, End, Files, Generator, Items, Lateness, Lines, Process, Restart,
        SideOutput, SocketLines, Stdout, Stream, Supervision, Timer, TimerKind, Topology, UserResult, millis,
        minutes, seconds,
    };
}
