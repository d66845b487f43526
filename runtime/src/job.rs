//! A running job, as seen from outside.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use watershed_state::{Fs, LocalFs, shown};

use crate::attempts::CheckpointHistory;
use crate::commands::Commands;
use crate::config::{Config, ControlSocket};
use crate::control::{self, Outside};
use crate::error::{Error, Result};
use crate::event::{Command, Reply, Then, Wanted, WantedRescale};
use crate::host::simulated;
use crate::outcome::End;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::remote::{Closing, Socket, serve, socket_in};
use crate::rescale::Rescaled;
use crate::savepoint::{Drain, Savepoint};
use crate::signals;
use crate::startup;
use crate::tree::Tree;

/// A running job.
///
/// Dropped without [`Job::wait`] it is cancelled, and dropping waits until it is over and its threads, files and locks
/// are given back: 16 seconds at most, after which threads that are stuck in code of the user's are left behind. What
/// was in no checkpoint is processed again when the job is started again. [`Job::detach`] lets it go on without anybody
/// who waits for it.
#[derive(Debug)]
#[must_use = "a job that is dropped is cancelled: wait for it, or detach it"]
pub struct Job(Inner);

enum Inner {
    Threads(Running),
    /// Runs when it is waited for.
    Simulated(Box<dyn FnOnce() -> Result<Outcome> + Send>),
}

/// A job on threads of its own.
struct Running {
    commands: Commands,
    result: Receiver<Result<Outcome>>,
    /// Closed when all of its threads have ended.
    ended: Receiver<()>,
    /// Closed when the socket is gone.
    unheard: Option<Receiver<()>>,
    /// Whether somebody still waits for its end.
    is_owned: bool,
}

impl End {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::AlreadyFinished => "had finished before",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Died => "died",
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Threads(_) => "Threads",
            Self::Simulated(_) => "Simulated",
        })
    }
}

/// How long a question to the control plane may take.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a job that is cancelled may take to say so.
const CANCELLED: Duration = Duration::from_secs(6);

/// How long [`Job::wait`] waits for threads after the result is there.
const LEFT_BEHIND: Duration = Duration::from_secs(5);

impl Job {
    /// The supervision tree as it is. Answered by the control plane, whatever the actors are doing.
    ///
    /// # Errors
    /// If the job has ended.
    pub fn tree(&self) -> Result<Tree> {
        self.ask(Command::Tree)
    }

    /// What has become of the last hundred checkpoints of this process, with the reasons of those that failed, and what
    /// the one in the making waits for.
    ///
    /// # Errors
    /// If the job has ended.
    pub fn checkpoints(&self) -> Result<CheckpointHistory> {
        self.ask(Command::Checkpoints)
    }

    fn ask<T: Send + 'static>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        // Whoever asked may have gone.
        let reply = move |answer| drop(reply.try_send(answer));
        self.command(command(Box::new(reply)))?;
        answer.recv_timeout(ANSWER).map_err(|error| match error {
            RecvTimeoutError::Timeout => Error::internal("the control plane does not answer"),
            RecvTimeoutError::Disconnected => Error::config("the job has ended"),
        })
    }

    /// Writes the supervision tree to the log.
    ///
    /// # Errors
    /// If the job has ended.
    pub fn log_tree(&self) -> Result<()> {
        self.command(Command::LogTree)
    }

    /// Looks for dead letters that the program `watershed` has asked to replay, and replays them. A job that starts
    /// does it by itself.
    ///
    /// # Errors
    /// If the job has ended.
    pub fn replay_dead_letters(&self) -> Result<()> {
        self.command(Command::ReplayDeadLetters(Box::new(|_| {})))
    }

    /// Ends the job without a checkpoint: what came after the last one is dropped. Returns at once.
    ///
    /// # Errors
    /// If the job has ended.
    pub fn cancel(&self) -> Result<()> {
        self.command(Command::Cancel)
    }

    /// Ends the job with a last checkpoint, without draining it. Returns at once.
    ///
    /// # Errors
    /// If the job has ended.
    pub fn stop(&self) -> Result<()> {
        self.command(Command::Stop)
    }

    /// Ends the job with a last checkpoint, after everything that waits for event time has come: for one that does not
    /// come back. Returns at once. A job whose timers set timers without end goes on until it is stopped
    /// ([`Job::stop`]) or cancelled.
    ///
    /// # Errors
    /// If the job has ended.
    pub fn drain(&self) -> Result<()> {
        self.command(Command::Drain)
    }

    /// Makes a savepoint: a checkpoint that stands for itself in the folder that `uri` names (`file:///…`, a path, or
    /// `memory://…`), which must not hold one already. Returns when it is complete. It is never removed by the job.
    ///
    /// # Errors
    /// If it cannot be made, and why. The job goes on.
    pub fn savepoint(&self, uri: &str) -> Result<Savepoint> {
        self.make_savepoint(uri, Then::GoOn)
    }

    /// Ends the job with a savepoint behind which nothing is read. Returns when the savepoint is complete; the job is
    /// over when [`Job::wait`] returns.
    ///
    /// # Errors
    /// If it cannot be made, and why. If it is only the copy that cannot be written, the job ends with a checkpoint.
    pub fn stop_with_savepoint(&self, uri: &str, drain: Drain) -> Result<Savepoint> {
        self.make_savepoint(uri, if drain == Drain::Yes { Then::Drain } else { Then::Stop })
    }

    /// Gives an operator another number of instances while the job runs: it makes a checkpoint, stops, and goes on from
    /// it. Sinks without a parallelism of their own follow. Returns when all instances are at work again. Sinks that
    /// write at least once may show again what came while the checkpoint was made.
    ///
    /// A process that is started again goes on with the new number, until the wiring or the configuration gives the
    /// operator another one than it did now.
    ///
    /// # Errors
    /// If it cannot be done, and why. The job goes on as it was, unless the error says that it has ended.
    pub fn rescale(&self, operator: &str, parallelism: usize) -> Result<Rescaled> {
        let (reply, answer) = sync_channel(1);
        let reply = Box::new(move |rescaled| drop(reply.try_send(rescaled)));
        let wanted = WantedRescale { operator: operator.to_string(), parallelism, reply };
        self.command(Command::Rescale(wanted))?;
        answer.recv().unwrap_or_else(|_| Err(Error::config("the job has ended")))
    }

    fn make_savepoint(&self, uri: &str, then: Then) -> Result<Savepoint> {
        let (reply, answer) = sync_channel(1);
        let reply = Box::new(move |savepoint| drop(reply.try_send(savepoint)));
        self.command(Command::Savepoint(Wanted { uri: uri.to_string(), then, reply }))?;
        answer.recv().unwrap_or_else(|_| Err(Error::config("the job has ended")))
    }

    /// Waits for the end. A simulated job runs here.
    ///
    /// # Errors
    /// Why the job ended before its work was done.
    pub fn wait(self) -> Result<Outcome> {
        match self.0 {
            Inner::Simulated(run) => run(),
            Inner::Threads(mut running) => {
                let outcome = running.result.recv();
                running.is_owned = false;
                running.wait_for_threads();
                outcome.unwrap_or_else(|_| Err(Error::internal("the control plane is gone")))
            }
        }
    }

    /// Lets the job go on until it ends by itself, by a signal, or with the process. Nobody hears of its end but the
    /// log.
    pub fn detach(self) {
        if let Inner::Threads(mut running) = self.0 {
            running.is_owned = false;
        }
    }

    pub(crate) fn command(&self, command: Command) -> Result<()> {
        match &self.0 {
            Inner::Threads(running) => running.commands.send(command),
            Inner::Simulated(_) => Err(Error::config("a simulated job runs only while it is waited for")),
        }
    }
}

impl Running {
    /// Waits for threads after the end of the job, for a while.
    fn wait_for_threads(&self) {
        // They end when the pool's jobs have; one that hangs in code of the user's is left behind.
        let _ = self.ended.recv_timeout(LEFT_BEHIND);
        // Those who watch hear of the end before the process may be gone.
        let _ = self.unheard.as_ref().map(|socket| socket.recv_timeout(LEFT_BEHIND));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_owned {
            return;
        }
        if self.commands.send(Command::Cancel).is_ok() {
            tracing::warn!(
                "a job is dropped that nobody has waited for: it is cancelled (`Job::wait` waits, `Job::detach` lets it go on)"
            );
        }
        // A job that has ended has sent its result.
        let _ = self.result.recv_timeout(CANCELLED);
        self.wait_for_threads();
    }
}

/// Checks everything that can be checked, then starts.
pub(crate) fn start(plan: Plan, config: Config) -> Result<Job> {
    let config = config.completed(startup::has_two_phase_sink(&plan));
    match config.simulation.clone() {
        None => start_threads(plan, config),
        Some(simulation) => {
            let (master, world) = simulated::start(plan, config, &simulation)?;
            Ok(Job(Inner::Simulated(Box::new(move || simulated::run(master, &world, &simulation)))))
        }
    }
}

fn start_threads(plan: Plan, config: Config) -> Result<Job> {
    // What asks it to stop while it is restored is not lost.
    let listening = if config.signals { signals::listen() } else { Ok(signals::ignore()) };
    let listening = listening
        .inspect_err(|error| {
            tracing::warn!(%error, "signals cannot be listened to: they do what they do without the job");
        })
        .ok();
    let fs: Fs = Arc::new(LocalFs);
    let splits = startup::check_nodes(&plan, &fs)?;
    let clock = Arc::new(watershed_actors::SystemClock::new());
    let checkpoints = startup::checkpoint_place(&config, &fs)?;
    if config.checkpoints.is_none() && startup::has_two_phase_sink(&plan) {
        tracing::warn!(
            interval = ?config.checkpoint_interval,
            "checkpoints are in memory, as there is no folder for them (`Config::checkpoints`): exactly-once output is shown with \
             each of them, and a process that is started again starts over, so that output that is visible by then comes again"
        );
    }
    let start = startup::start((plan, &splits), &config, checkpoints, &fs, &*clock)?;
    let socket = open_socket(&config)?;
    let (closing, closed) = Closing::new();
    let (sender, result): (SyncSender<Result<Outcome>>, _) = sync_channel(1);
    let (commands, ended) =
        control::start(config, start, Outside { clock, fs, result: sender, closing, listening })?;
    let unheard = socket.and_then(|socket| serve(socket, commands.clone(), closed));
    Ok(Job(Inner::Threads(Running { commands, result, ended, unheard, is_owned: true })))
}

/// Where the job can be asked. Without the socket that nobody has asked for, the job runs all the same.
fn open_socket(config: &Config) -> Result<Option<Socket>> {
    let path = match (&config.socket, &config.checkpoints) {
        (ControlSocket::At(path), _) => path.clone(),
        (ControlSocket::InCheckpoints, Some(folder)) => socket_in(folder),
        (ControlSocket::InCheckpoints, None) | (ControlSocket::Nowhere, _) => return Ok(None),
    };
    match Socket::bind(&path) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if config.socket == ControlSocket::InCheckpoints => {
            tracing::warn!(path = %shown(path.display()), %error, "the job cannot listen on its socket and cannot be asked");
            Ok(None)
        }
        Err(error) => {
            let path = path.display();
            Err(Error::config(format!("cannot listen on the control socket {path}")).because(error.into()))
        }
    }
}
