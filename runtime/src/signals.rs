//! Signals of the process, which are for all jobs in it that listen.
//!
//! They are taken by a thread that does nothing else, so that each counts, however busy jobs are and however soon one
//! follows the other. A job listens from before it is restored. Where none does, as between two jobs, a signal that
//! ends a process ends this one.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use signal_hook::low_level::emulate_default_handler;

use crate::control::Commands;
use crate::master::Command;

/// Who listens.
struct Listeners {
    jobs: BTreeMap<u64, Listener>,
    count: u64,
    /// There is a thread that takes signals; it stays as long as the process.
    taken: bool,
}

/// A job that listens.
enum Listener {
    /// It is being restored. What has come is kept for its control plane.
    Beginning(Vec<i32>),
    Running(Commands),
}

static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners { jobs: BTreeMap::new(), count: 0, taken: false });

/// A job hears signals as long as there is this.
#[derive(Debug)]
pub(crate) struct Listening(u64);

fn listeners() -> MutexGuard<'static, Listeners> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a job hear SIGINT, SIGTERM and SIGUSR1, from the moment that this returns. The system may refuse.
pub(crate) fn listen() -> io::Result<Listening> {
    let mut listeners = listeners();
    if !listeners.taken {
        // Each is handed on: signals of one kind that come together are not one to those who count them.
        let mut signals = SignalsInfo::<WithRawSiginfo>::new([SIGINT, SIGTERM, SIGUSR1])?;
        let take = move || signals.forever().for_each(|signal| arrived(signal.si_signo));
        std::thread::Builder::new().name("watershed-signal".to_string()).spawn(take)?;
        listeners.taken = true;
    }
    listeners.count += 1;
    let number = listeners.count;
    listeners.jobs.insert(number, Listener::Beginning(Vec::new()));
    Ok(Listening(number))
}

impl Listening {
    /// From now on signals go to this control plane, which first gets those that have come before.
    pub(crate) fn begin(&self, commands: Commands) {
        let mut listeners = listeners();
        if let Some(Listener::Beginning(kept)) = listeners.jobs.get_mut(&self.0) {
            let kept = std::mem::take(kept);
            for signal in kept {
                tell(&commands, signal);
            }
            listeners.jobs.insert(self.0, Listener::Running(commands));
        }
    }
}

impl Listener {
    /// Whether it can do something about a signal that asks it to end.
    fn hear(&mut self, signal: i32) -> bool {
        match self {
            // Nothing of it is at work yet: whoever asks again need not wait until it is.
            Self::Beginning(kept) => {
                kept.push(signal);
                kept.len() == 1
            }
            Self::Running(commands) => tell(commands, signal),
        }
    }
}

/// Whether the job hears it: it may be over already.
fn tell(commands: &Commands, signal: i32) -> bool {
    let told = commands.send(match signal {
        SIGINT => Command::Signal("SIGINT"),
        SIGTERM => Command::Signal("SIGTERM"),
        _ => Command::LogTree,
    });
    if let Err(error) = &told {
        tracing::debug!(%error, signal, "a signal was not heard");
    }
    told.is_ok() || commands.is_connected()
}

fn arrived(signal: i32) {
    let mut listeners = listeners();
    if signal == SIGUSR1 {
        // What is not at work yet has no tree.
        for job in listeners.jobs.values() {
            if let Listener::Running(commands) = job {
                tell(commands, signal);
            }
        }
        return;
    }
    let heard = listeners.jobs.values_mut().map(|job| job.hear(signal)).filter(|heard| *heard).count();
    let beginning = listeners.jobs.values().any(|job| matches!(job, Listener::Beginning(_)));
    drop(listeners);
    if heard == 0 {
        end(signal);
    } else if beginning {
        tracing::info!(
            signal,
            "a job that is being restored is asked to stop, which it does as soon as it is there. A second signal ends the \
             process at once, if it has no other job"
        );
    }
}

/// Lets the signal do what it does to a process that does not listen.
fn end(signal: i32) {
    tracing::warn!(signal, "there is no job that could be stopped: the process ends");
    if let Err(error) = emulate_default_handler(signal) {
        tracing::error!(%error, signal, "the process cannot be ended");
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listeners = listeners();
        let job = listeners.jobs.remove(&self.0);
        let is_last = listeners.jobs.is_empty();
        drop(listeners);
        // It has come to nothing, and so would the signal.
        if let Some(Listener::Beginning(kept)) = job
            && let Some(signal) = kept.first()
            && is_last
        {
            end(*signal);
        }
    }
}
