//! Tasks as actix actors, on a thread per slot.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use actix::{Actor, Addr};
use watershed_actors::{ActorPort, Control, ControlMessage, Pool, Port, Shell, Slot, Task, TaskCell};

use crate::endpoint::Endpoint;
use crate::error::{Result, no_room};
use crate::event::Event;
use crate::host::{EventSink, Surroundings, TaskHandle};

/// Threads that run actors.
pub(crate) struct ActorsHost {
    pub(crate) surroundings: Surroundings,
    slots: Vec<Slot>,
    /// Dropped with the last thread that somebody waits for.
    ending: SyncSender<()>,
}

impl ActorsHost {
    /// Starts so many threads. `ending` is dropped when all have ended that were not left behind.
    pub(crate) fn new(surroundings: Surroundings, slots: usize, ending: SyncSender<()>) -> Result<Self> {
        let spawn = |slot| spawn(slot, &surroundings, &ending);
        let slots = (0..slots).map(spawn).collect::<std::io::Result<_>>();
        let slots = slots.map_err(|error| no_room("a thread for actors", error))?;
        Ok(Self { surroundings, slots, ending })
    }

    pub(crate) fn replace(&mut self, slot: usize) -> Result<()> {
        let slot = slot % self.slots.len();
        let fresh = spawn(slot, &self.surroundings, &self.ending);
        let fresh = fresh.map_err(|error| no_room("a thread in place of one that is stuck", error))?;
        // If it ever comes back it drops its actors and ends.
        std::mem::replace(&mut self.slots[slot], fresh).leave_behind();
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
        let address = Shell::start_on(&self.slots[slot % self.slots.len()], cell, credits, span);
        let control = address.clone();
        let endpoint =
            Endpoint(Arc::new(move || Box::new(ActorPort(address.clone())) as Box<dyn Port<T::In>>));
        (endpoint, TaskHandle(Box::new(move |message| tell(&control, message))))
    }
}

fn spawn(slot: usize, surroundings: &Surroundings, ending: &SyncSender<()>) -> std::io::Result<Slot> {
    Slot::spawn(&format!("watershed-{slot}"), Arc::clone(&surroundings.clock), ending.clone())
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
