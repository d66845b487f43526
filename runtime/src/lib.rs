//! The control plane of Watershed: wiring, plan, deployment, supervision, checkpoints, simulation.
//!
//! Invariants: this crate never touches a record; nothing of actix is in its public signatures; a task is told what to
//! do, never how.

mod build;
mod config;
mod control;
mod error;
mod escalation;
mod graph;
mod host;
mod job;
mod master;
mod nodes;
mod plan;
mod restart;
mod simulation;
mod startup;
mod stream;
mod supervision;
mod topology;
mod tree;

pub use config::{Config, Resume, millis, minutes, seconds};
pub use error::{Error, ErrorKind, Result};
pub use job::{End, Job, Outcome};
pub use restart::Restart;
pub use simulation::Simulation;
pub use stream::{Aggregate, Boxed, Chain, KeyedStream, SinkActor, Stream};
pub use supervision::Supervision;
pub use topology::Topology;
pub use tree::{InstanceNode, OperatorNode, RegionNode, Tree};
pub use watershed_actors::{Directive, SkipCap, Stage};
