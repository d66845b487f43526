//! `watershed state`: what operators remember, of their keys and beside them, as it is in checkpoints and savepoints.

mod diff;
mod dump;
mod entry;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::error::Error;

/// Shows and compares the keyed state in checkpoints and savepoints
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One line of JSON for each element of an operator's state that is not tied to a key, and for each key, in the order of
    /// key groups
    Dump(dump::Options),
    /// The keys that only one of two snapshots has, and those whose state differs; exits with 1 if there are any
    Diff(diff::Options),
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    match &options.command {
        Command::Dump(options) => dump::run(options).map(|()| ExitCode::SUCCESS),
        Command::Diff(options) => diff::run(options),
    }
}
