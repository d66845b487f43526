//! The control plane of Watershed: wiring, plan, deployment, supervision, checkpoints, simulation.
//!
//! Invariants: this crate never touches a record; nothing of actix is in its public signatures; a task is told what to
//! do, never how. What looks at a running job from another process is in [`remote`].

mod answer;
mod attempts;
mod build;
mod claims;
mod commands;
mod config;
mod control;
pub mod dead_letters;
mod dice;
mod endpoint;
mod error;
mod escalation;
mod event;
mod faults;
mod graph;
mod host;
mod job;
mod master;
mod nodes;
mod offline;
mod outcome;
mod plan;
mod poison;
mod query;
pub mod remote;
mod rescale;
mod restart;
mod savepoint;
mod scratch;
mod signals;
mod simulate;
mod simulation;
mod startup;
mod stream;
mod supervision;
mod topology;
mod tree;
mod virtual_clock;
mod wiring;

pub use attempts::{AttemptOutcome, CheckpointAttempt, CheckpointHistory};
pub use config::{Config, Resume, millis, minutes, seconds};
pub use error::{Error, ErrorKind, Result};
pub use faults::SinkCall;
pub use job::Job;
pub use offline::{
    KeyedStates, OperatorWriter, SavedOperator, SavedTimer, SavepointReader, SavepointWriter, SplitPosition,
};
pub use outcome::{End, Outcome};
pub use rescale::Rescaled;
pub use restart::Restart;
pub use savepoint::{Claim, Drain, Savepoint};
pub use simulate::{
    Difference, Fault, FaultKind, FaultPlace, Seed, Simulated, SimulationFailure, Simulations, Simulator,
    Violation, simulate, simulate_many,
};
pub use simulation::Simulation;
pub use stream::{
    Boxed, BroadcastProcessOf, Chain, ExpiringStates, KeyedStream, ProcessOf, Reduced, SinkActor, Stream,
    Unboxed, WithoutKey,
};
pub use supervision::Supervision;
pub use topology::Topology;
pub use tree::{
    ActorKind, CheckpointNode, FailureNode, InstanceNode, InstanceState, OperatorNode, ProgressNode,
    RegionNode, RegionState, Shares, SplitNode, SupervisionLevel, TimeNode, Tree,
};
pub use watershed_actors::{DeadLetter, Directive, FailureKind, ProgressUnit, SkipCap, Stage};
