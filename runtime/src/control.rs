//! The thread of the control plane: an actix system with an actor round the [`Master`], and the threads of the slots.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, SpawnHandle, System, SystemRunner};
use watershed_actors::Clock;
use watershed_state::Fs;

use crate::commands::Commands;
use crate::config::Config;
use crate::error::{Error, Result, no_room};
use crate::host::{ActorsHost, EventMessage, Host, Surroundings};
use crate::master::Master;
use crate::outcome::Outcome;
use crate::remote::Closing;
use crate::signals::Listening;
use crate::startup::Start;

/// The control plane as an actor: it hands events to the master and wakes it when something is due.
struct Control {
    master: Master,
    clock: Arc<dyn Clock>,
    alarm: Option<SpawnHandle>,
    result: SyncSender<Result<Outcome>>,
    closing: Closing,
    /// Tasks that there is room in the mailbox for.
    tasks: usize,
    /// The result has been sent.
    settled: bool,
}

impl Actor for Control {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.make_room(context);
        self.master.start();
        self.settle(context);
    }
}

impl Drop for Control {
    /// A control plane that panicked is dropped with its actor: whoever waits for the job has to hear of it.
    fn drop(&mut self) {
        if !self.settled {
            // Actors go on until their threads hear of it: nothing of that may count.
            self.master.fence();
            let error = Error::internal("the control plane panicked; the log says where");
            let _ = self.result.try_send(Err(error));
            System::current().stop();
        }
    }
}

impl Handler<EventMessage> for Control {
    type Result = ();

    fn handle(&mut self, message: EventMessage, context: &mut Context<Self>) {
        self.master.handle(message.0);
        self.make_room(context);
        self.settle(context);
    }
}

impl Control {
    /// Sees to it that the mailbox is large enough for the tasks that there are, as a rescaling changes their number.
    fn make_room(&mut self, context: &mut Context<Self>) {
        let tasks = self.master.task_count();
        if tasks > self.tasks {
            context.set_mailbox_capacity(EVENTS_PER_TASK * (tasks + 1));
            self.tasks = tasks;
        }
    }

    /// Sets the alarm anew, or ends.
    fn settle(&mut self, context: &mut Context<Self>) {
        if let Some(alarm) = self.alarm.take() {
            context.cancel_future(alarm);
        }
        self.closing.folders_made(self.master.folders_made());
        if let Some(result) = self.master.take_result() {
            self.closing.say(&result);
            // Nobody may be waiting.
            let _ = self.result.try_send(result);
            self.settled = true;
            context.stop();
            System::current().stop();
            return;
        }
        let at = self.master.next_alarm();
        if at != u64::MAX {
            let wait = Duration::from_nanos(at.saturating_sub(self.clock.nanos()));
            self.alarm = Some(context.run_later(wait, |control, context| {
                control.alarm = None;
                control.master.advance();
                control.settle(context);
            }));
        }
    }
}

/// Events that may be on their way at once, for each task.
const EVENTS_PER_TASK: usize = 64;

/// What the control plane shares with whoever started the job.
pub(crate) struct Outside {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fs: Fs,
    /// Where the result goes.
    pub(crate) result: SyncSender<Result<Outcome>>,
    /// Tells those who are connected to the job.
    pub(crate) closing: Closing,
    /// What hears signals for it.
    pub(crate) listening: Option<Listening>,
}

/// Starts the control plane on a thread of its own. Returns when it can be spoken to; what else is returned is closed
/// when its thread and those of the slots have ended, but for those that were left behind.
///
/// # Errors
/// If the system has no thread or no file left for it.
pub(crate) fn start(config: Config, start: Start, outside: Outside) -> Result<(Commands, Receiver<()>)> {
    let (ready, address) = sync_channel(1);
    let (ending, ended) = sync_channel(1);
    let started = std::thread::Builder::new().name("watershed-control".to_string()).spawn(move || {
        // What is moved in here, `ending` too, is dropped when the thread ends, whichever way.
        let begun =
            system().and_then(|system| Ok((begin(config, start, outside, &system, &ending)?, system)));
        match begun {
            Ok(((commands, listening), system)) => {
                // Whoever starts the job waits for it.
                let _ = ready.send(Ok(commands));
                if let Err(error) = system.run() {
                    tracing::error!(%error, "the control plane's system failed");
                }
                drop(listening);
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    });
    started.map_err(|error| no_room("the thread of the control plane", error))?;
    let commands = address.recv().map_err(|_| Error::internal("the control plane did not start"))??;
    Ok((commands, ended))
}

/// An actix system whose runtime is known to have room.
fn system() -> Result<SystemRunner> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| no_room("the runtime of the control plane", error))?;
    Ok(System::with_tokio_rt(|| runtime))
}

/// Makes the threads of the slots and the actor of the control plane.
fn begin(
    config: Config,
    start: Start,
    outside: Outside,
    system: &SystemRunner,
    ending: &SyncSender<()>,
) -> Result<(Commands, Option<Listening>)> {
    let Outside { clock, fs, result, closing, listening } = outside;
    let slots = config.slot_count();
    let commands = system.block_on(async move {
        let pool = Arc::new(crate::host::BlockingPool(tokio::runtime::Handle::current()));
        let context = Context::new();
        let events = Arc::new(crate::host::EventAddress(context.address()));
        let surroundings = Surroundings { clock: Arc::clone(&clock), pool, fs, events };
        let host = Host::Actors(ActorsHost::new(surroundings, slots, ending.clone())?);
        let master = Master::new(config, host, start);
        let control = Control { master, clock, alarm: None, result, closing, tasks: 0, settled: false };
        Ok::<_, Error>(Commands(context.run(control).recipient()))
    })?;
    if let Some(listening) = &listening {
        listening.begin(commands.clone());
    }
    Ok((commands, listening))
}
