//! `watershed state`: what operators remember, of their keys and beside them, as it is in checkpoints and savepoints;
//! and a savepoint in which event time begins anew.

mod diff;
mod dump;
mod entry;
mod reset_event_time;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::error::Error;

/// Shows, compares and mends what is in checkpoints and savepoints
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One line of JSON for each element of an operator's state that is not tied to a key, and for each key, in the
    /// order of key groups
    Dump(dump::Options),
    /// The keys that only one of two snapshots has, and those whose state differs; exits with 1 if there are any
    Diff(diff::Options),
    /// Makes a savepoint of a checkpoint or savepoint in which event time begins anew, so that records which would be
    /// late are taken again; windows and timers that have fired do not fire again by themselves
    ResetEventTime(reset_event_time::Options),
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    match &options.command {
        Command::Dump(options) => dump::run(options).map(|()| ExitCode::SUCCESS),
        Command::Diff(options) => diff::run(options),
        Command::ResetEventTime(options) => reset_event_time::run(options).map(|()| ExitCode::SUCCESS),
    }
}
