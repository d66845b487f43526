//! Where tasks run: as actors on threads, or in the simulator on one.

mod actors;
pub(crate) mod simulated;
mod surroundings;

pub(crate) use actors::{ActorsHost, BlockingPool, EventAddress, EventMessage};
pub(crate) use simulated::SimulatedHost;
pub(crate) use surroundings::{EventReporter, EventSink, Surroundings, TaskHandle};

use watershed_actors::{Boot, Env, Task, TaskCell};

use crate::endpoint::Endpoint;
use crate::error::Result;

/// Runs tasks.
pub(crate) enum Host {
    Actors(ActorsHost),
    Simulated(SimulatedHost),
}

impl Host {
    pub(crate) fn surroundings(&self) -> &Surroundings {
        match self {
            Self::Actors(host) => &host.surroundings,
            Self::Simulated(host) => &host.surroundings,
        }
    }

    /// Leaves the thread of a slot behind, with all that is on it: what is started there from now on is on another one.
    pub(crate) fn replace(&mut self, slot: usize) -> Result<()> {
        match self {
            Self::Actors(host) => host.replace(slot),
            Self::Simulated(host) => {
                host.world.replace(slot);
                Ok(())
            }
        }
    }

    /// The tasks are others from now on, with these names. All that there were are gone.
    pub(crate) fn rescaled(&self, names: Vec<String>) {
        match self {
            // Each has its own address.
            Self::Actors(_) => {}
            Self::Simulated(host) => host.world.rescaled(names),
        }
    }

    /// Starts a task on the thread of a slot.
    pub(crate) fn spawn<T: Task + 'static>(
        &self,
        env: Env,
        boot: Boot<T>,
        slot: usize,
        credits: usize,
    ) -> (Endpoint<T::In>, TaskHandle) {
        let id = env.task;
        let cell = TaskCell::new(env, boot);
        match self {
            Self::Actors(host) => host.spawn(cell, slot, credits),
            Self::Simulated(host) => host.spawn(cell, id, slot),
        }
    }
}
