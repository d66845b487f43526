//! How a running job is asked for something.

use actix::Recipient;
use actix::dev::SendError;

use crate::error::{Error, Result};
use crate::event::{Command, Event};
use crate::host::EventMessage;

/// The way to the control plane of a job.
#[derive(Clone)]
pub(crate) struct Commands(pub(crate) Recipient<EventMessage>);

impl Commands {
    pub(crate) fn send(&self, command: Command) -> Result<()> {
        let sent = self.0.try_send(EventMessage(Event::Command(command)));
        sent.map_err(|error| match error {
            SendError::Full(_) => Error::config("too much is asked of the job at once: ask again"),
            SendError::Closed(_) => Error::config("the job has ended"),
        })
    }

    /// Whether the control plane is still there.
    pub(crate) fn is_connected(&self) -> bool {
        self.0.connected()
    }

    /// Sends it also to a job that is asked too much already. Says whether the control plane is still there.
    #[expect(clippy::disallowed_methods, reason = "people send few signals, and none of them may be lost")]
    pub(crate) fn insist(&self, command: Command) -> bool {
        self.0.do_send(EventMessage(Event::Command(command)));
        self.is_connected()
    }
}
