//! How tasks are reached, wherever they run.

use std::sync::Arc;

use watershed_actors::Port;

/// How to reach the instances of an actor: makes a port to one of them.
pub(crate) struct Endpoint<T>(pub(crate) Arc<dyn Fn() -> Box<dyn Port<T>> + Send + Sync>);
