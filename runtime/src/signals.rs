//! Signals of the process, which are for all jobs in it that listen.
//!
//! They are taken by a thread that does nothing else, so that each counts, however busy jobs are and however soon one follows
//! the other.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;

use crate::control::Commands;
use crate::master::Command;

/// Who listens.
struct Listeners {
    jobs: BTreeMap<u64, Commands>,
    count: u64,
    /// There is a thread that takes signals; it stays as long as the process.
    taken: bool,
}

static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners { jobs: BTreeMap::new(), count: 0, taken: false });

/// A job hears signals as long as there is this.
#[derive(Debug)]
pub(crate) struct Listening(u64);

fn listeners() -> MutexGuard<'static, Listeners> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a job hear SIGINT, SIGTERM and SIGUSR1, from the moment that this returns. The system may refuse.
pub(crate) fn listen(commands: Commands) -> io::Result<Listening> {
    let mut listeners = listeners();
    if !listeners.taken {
        // Each is handed on: signals of one kind that come together are not one to those who count them.
        let mut signals = SignalsInfo::<WithRawSiginfo>::new([SIGINT, SIGTERM, SIGUSR1])?;
        let take = move || signals.forever().for_each(|signal| tell(signal.si_signo));
        std::thread::Builder::new().name("watershed-signal".to_string()).spawn(take)?;
        listeners.taken = true;
    }
    listeners.count += 1;
    let number = listeners.count;
    listeners.jobs.insert(number, commands);
    Ok(Listening(number))
}

fn tell(signal: i32) {
    let command: fn() -> Command = match signal {
        SIGINT => || Command::Signal("SIGINT"),
        SIGTERM => || Command::Signal("SIGTERM"),
        _ => || Command::LogTree,
    };
    for commands in listeners().jobs.values() {
        // The job may be over already.
        if let Err(error) = commands.send(command()) {
            tracing::debug!(%error, signal, "a signal was not heard");
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let job = listeners().jobs.remove(&self.0);
        drop(job);
    }
}
