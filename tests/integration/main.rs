//! Whole jobs: most of them simulated, so that they can be crashed at every step; some on real threads and processes.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

mod aborts;
mod answers;
mod crashes;
mod determinism;
mod diamonds;
mod escalation;
mod fixture;
mod hangs;
mod metrics;
mod operators;
mod panics;
mod poison;
mod processes;
mod refusals;
mod regions;
mod rescale;
mod resume;
mod routing;
mod savepoints;
mod simulations;
mod stuck;
mod threads;
#[path = "../topologies/all.rs"]
mod topologies;
