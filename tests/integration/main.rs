//! Whole jobs: most of them simulated, so that they can be crashed at every step; some on real threads and processes.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

mod aborts;
mod answers;
mod blocking;
mod copies;
mod corruption;
mod crashes;
mod determinism;
mod diamonds;
mod docs;
mod dropped;
mod endless;
mod escalation;
mod far_ahead;
mod fixture;
mod fixtures;
mod hangs;
mod hostile_text;
mod logged;
mod losses;
mod metrics;
mod offline;
mod on_call;
mod operator_state;
mod operators;
mod panics;
mod places;
mod poison;
mod processes;
mod query;
mod readable;
mod refusals;
mod regions;
mod rescale;
mod resume;
mod routing;
mod savepoints;
mod schema;
mod settings;
mod simulations;
mod sockets;
mod stopping;
mod stuck;
mod threads;
#[path = "../topologies/all.rs"]
mod topologies;
