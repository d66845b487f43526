//! The thread of the control plane: an actix system with an actor round the [`Master`], and an arbiter per slot.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, Arbiter, AsyncContext, Context, Handler, SpawnHandle, System};
use watershed_actors::Clock;
use watershed_state::Fs;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::host::{ActorsHost, EventMessage, Host, Surroundings};
use crate::job::Outcome;
use crate::master::{Command, Event, Master};
use crate::remote::Closing;
use crate::startup::Start;

/// The way to the control plane of a job.
#[derive(Clone)]
pub(crate) struct Commands(Addr<Control>);

impl Commands {
    pub(crate) fn send(&self, command: Command) -> Result<()> {
        let sent = self.0.try_send(EventMessage(Event::Command(command)));
        sent.map_err(|error| match error {
            actix::dev::SendError::Full(_) => {
                Error::config("too much is asked of the job at once: ask again")
            }
            actix::dev::SendError::Closed(_) => Error::config("the job has ended"),
        })
    }

    /// Whether the control plane is still there.
    pub(crate) fn is_connected(&self) -> bool {
        self.0.connected()
    }
}

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
    /// Whether signals of the process are for this job.
    pub(crate) signals: bool,
    /// Where the result goes.
    pub(crate) result: SyncSender<Result<Outcome>>,
    /// Tells those who are connected to the job.
    pub(crate) closing: Closing,
}

/// Starts the control plane on a thread of its own. Returns when it can be spoken to.
pub(crate) fn start(config: Config, start: Start, outside: Outside) -> Result<(Commands, Receiver<()>)> {
    let (ready, address) = sync_channel(1);
    let (ending, ended) = sync_channel(1);
    let Outside { clock, fs, signals, result, closing } = outside;
    let signals = signals && config.signals;
    let started = std::thread::Builder::new().name("watershed-control".to_string()).spawn(move || {
        // Dropped when the thread ends, whichever way.
        let _ending = ending;
        let system = System::new();
        let arbiters: Vec<Arbiter> = (0..config.slot_count()).map(|_| Arbiter::new()).collect();
        system.block_on(async move {
            let handles = arbiters.iter().map(Arbiter::handle).collect();
            let pool = Arc::new(crate::host::BlockingPool(tokio::runtime::Handle::current()));
            let control = Control::create(|context| {
                let events = Arc::new(crate::host::EventAddress(context.address()));
                let surroundings = Surroundings { clock: Arc::clone(&clock), pool, fs, events };
                let host = Host::Actors(ActorsHost { surroundings, arbiters: handles });
                Control {
                    master: Master::new(config, host, start),
                    clock,
                    alarm: None,
                    result,
                    closing,
                    tasks: 0,
                    settled: false,
                }
            });
            let commands = Commands(control);
            if signals {
                listen(&commands);
            }
            // Whoever starts the job waits for it.
            let _ = ready.send(commands);
        });
        if let Err(error) = system.run() {
            tracing::error!(%error, "the control plane's system failed");
        }
    });
    started.map_err(|error| Error::internal("no thread for the control plane").because(error.into()))?;
    let commands = address.recv().map_err(|_| Error::internal("the control plane did not start"))?;
    Ok((commands, ended))
}

/// SIGINT and SIGTERM stop the job, or cancel it when they come again; SIGUSR1 logs its tree.
fn listen(commands: &Commands) {
    use tokio::signal::unix::{SignalKind, signal};

    for (kind, first, further) in [
        (
            SignalKind::interrupt(),
            (|| Command::Stop) as fn() -> Command,
            (|| Command::Cancel) as fn() -> Command,
        ),
        (SignalKind::terminate(), || Command::Stop, || Command::Cancel),
        (SignalKind::user_defined1(), || Command::LogTree, || Command::LogTree),
    ] {
        match signal(kind) {
            Ok(mut signal) => {
                let commands = commands.clone();
                actix::spawn(async move {
                    let mut command = first;
                    while signal.recv().await.is_some() {
                        // The job may be over already.
                        let _ = commands.send(command());
                        command = further;
                    }
                });
            }
            Err(error) => tracing::warn!(%error, ?kind, "signals cannot be listened to"),
        }
    }
}
