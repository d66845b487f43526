//! Signals of the process, which are for all jobs in it that listen.
//!
//! They are taken by a thread that does nothing else, so that each counts, however busy jobs are and however soon one
//! follows the other. A job listens from before it is restored. Where there is none, as between two jobs, a signal does
//! what it did to this process before any job listened.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use signal_hook::low_level::{emulate_default_handler, exit};

use crate::commands::Commands;
use crate::event::Command;

/// Who listens.
struct Listeners {
    jobs: BTreeMap<u64, Listener>,
    count: u64,
    /// There is a thread that takes signals; it stays as long as the process.
    taken: bool,
    /// Those that this process ignored before there was the thread: bit `n - 1` is signal `n`.
    ignored: u64,
}

/// A job of the process.
enum Listener {
    /// It is being restored. What has come is kept for its control plane.
    Beginning(Vec<i32>),
    Running(Commands),
    /// It listens to none, as the program sees to signals itself.
    Deaf,
}

static LISTENERS: Mutex<Listeners> =
    Mutex::new(Listeners { jobs: BTreeMap::new(), count: 0, taken: false, ignored: 0 });

/// A job hears signals, or has the process live on with them, as long as there is this.
#[derive(Debug)]
pub(crate) struct Listening(u64);

fn listeners() -> MutexGuard<'static, Listeners> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a job hear SIGINT, SIGTERM and SIGUSR1, from the moment that this returns. The system may refuse.
pub(crate) fn listen() -> io::Result<Listening> {
    let mut listeners = listeners();
    if !listeners.taken {
        listeners.ignored = ignored();
        // Each is handed on: signals of one kind that come together are not one to those who count them.
        let mut signals = SignalsInfo::<WithRawSiginfo>::new([SIGINT, SIGTERM, SIGUSR1])?;
        let take = move || signals.forever().for_each(|signal| arrived(signal.si_signo));
        std::thread::Builder::new().name("watershed-signal".to_string()).spawn(take)?;
        listeners.taken = true;
    }
    Ok(listeners.add(Listener::Beginning(Vec::new())))
}

/// Lets no signal end the process on account of the engine while there is a job that listens to none.
pub(crate) fn ignore() -> Listening {
    listeners().add(Listener::Deaf)
}

/// The signals that this process ignores, as Linux says.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

impl Listeners {
    fn add(&mut self, listener: Listener) -> Listening {
        self.count += 1;
        self.jobs.insert(self.count, listener);
        Listening(self.count)
    }

    fn was_ignored(&self, signal: i32) -> bool {
        self.ignored & (1 << (signal - 1)) != 0
    }
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
    /// Takes a signal that asks it to end. Says whether the process is to live on with it.
    fn hear(&mut self, signal: i32) -> bool {
        match self {
            // Nothing of it is at work yet: whoever asks again need not wait until it is.
            Self::Beginning(kept) => {
                kept.push(signal);
                kept.len() == 1
            }
            Self::Running(commands) => tell(commands, signal),
            Self::Deaf => true,
        }
    }
}

/// Whether the job hears it: it may be over already.
fn tell(commands: &Commands, signal: i32) -> bool {
    commands.insist(match signal {
        SIGINT => Command::Signal("SIGINT"),
        SIGTERM => Command::Signal("SIGTERM"),
        _ => Command::LogTree,
    })
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
    let mut is_heard = false;
    for job in listeners.jobs.values_mut() {
        is_heard |= job.hear(signal);
    }
    let was_ignored = listeners.was_ignored(signal);
    let beginning = listeners.jobs.values().any(|job| matches!(job, Listener::Beginning(_)));
    drop(listeners);
    if !is_heard {
        end(signal, was_ignored);
    } else if beginning {
        tracing::info!(
            signal,
            "a job that is being restored is asked to stop, which it does as soon as it is there. A second signal ends the \
             process at once, if it has no other job"
        );
    }
}

/// Lets the signal do what it did to this process before any job listened.
fn end(signal: i32, was_ignored: bool) {
    if was_ignored {
        return;
    }
    tracing::warn!(signal, "there is no job that could be stopped: the process ends");
    if std::process::id() == 1 {
        // The system does not let a signal end the first process, as that of a container.
        exit(128 + signal);
    }
    if let Err(error) = emulate_default_handler(signal) {
        tracing::error!(%error, signal, "the process cannot be ended");
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listeners = listeners();
        let job = listeners.jobs.remove(&self.0);
        // It has come to nothing, and so would the signal.
        if let Some(Listener::Beginning(kept)) = job
            && let Some(signal) = kept.first()
            && listeners.jobs.is_empty()
        {
            let was_ignored = listeners.was_ignored(*signal);
            drop(listeners);
            end(*signal, was_ignored);
        }
    }
}
