//! Tasks as actix actors, one arbiter per slot.

use std::sync::Arc;

use actix::{Actor, Addr, Arbiter, ArbiterHandle};
use watershed_actors::{ActorPort, Control, ControlMessage, Pool, Port, Shell, Task, TaskCell};

use crate::build::Endpoint;
use crate::error::{Error, Result};
use crate::host::{EventSink, Surroundings, TaskHandle};
use crate::master::Event;

/// Threads with an actix arbiter each.
pub(crate) struct ActorsHost {
    pub(crate) surroundings: Surroundings,
    pub(crate) arbiters: Vec<ArbiterHandle>,
}

impl ActorsHost {
    /// Must be called on the thread of the control plane, whose system the arbiters belong to.
    pub(crate) fn replace(&mut self, slot: usize) -> Result<()> {
        let arbiter = Arbiter::try_new().map_err(|error| {
            Error::internal("no thread in place of one that is stuck").because(error.into())
        })?;
        let slot = slot % self.arbiters.len();
        let left = std::mem::replace(&mut self.arbiters[slot], arbiter.handle());
        // If it ever comes back it drops its actors and ends.
        left.stop();
        Ok(())
    }

    pub(crate) fn spawn<T: Task + 'static>(
        &self,
        cell: TaskCell<T>,
        slot: usize,
        credits: usize,
    ) -> (Endpoint<T::In>, TaskHandle) {
        let env = cell.env();
        let span = tracing::error_span!("task", path = %env.path, run = env.run);
        let arbiter = &self.arbiters[slot % self.arbiters.len()];
        let address = Shell::start_in_arbiter(arbiter, move |_| Shell::new(cell, credits, span));
        let control = address.clone();
        let endpoint =
            Endpoint(Arc::new(move || Box::new(ActorPort(address.clone())) as Box<dyn Port<T::In>>));
        (endpoint, TaskHandle(Box::new(move |message| tell(&control, message))))
    }
}

fn tell<T: Task + 'static>(address: &Addr<Shell<T>>, control: Control) {
    // A closed mailbox is a task that is gone already, and has said so.
    if let Err(actix::dev::SendError::Full(_)) = address.try_send(ControlMessage(control)) {
        tracing::error!(?control, "a mailbox has no room for control: this is a bug");
    }
}

/// [`Event`] as an actix message.
pub(crate) struct EventMessage(pub(crate) Event);

impl actix::Message for EventMessage {
    type Result = ();
}

/// The control plane's address as the end of all reports.
pub(crate) struct EventAddress<A: Actor>(pub(crate) Addr<A>);

impl<A> EventSink for EventAddress<A>
where
    A: Actor<Context = actix::Context<A>> + actix::Handler<EventMessage>,
{
    fn event(&self, event: Event) {
        if let Err(actix::dev::SendError::Full(_)) = self.0.try_send(EventMessage(event)) {
            tracing::error!("the control plane's mailbox is full: this is a bug");
        }
    }
}

/// Blocking jobs on tokio's threads for them.
pub(crate) struct BlockingPool(pub(crate) tokio::runtime::Handle);

impl Pool for BlockingPool {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        let span = tracing::Span::current();
        self.0.spawn_blocking(move || span.in_scope(job));
    }
}
