//! `watershed dead-letters`: the records that operators have left out.

mod list;
mod replay;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::dead_letters::replay::Wish;
use crate::error::Error;
use crate::place::folder;

/// Lists, shows and replays the records that operators have left out
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One line for each dead letter, oldest first
    List(list::Options),
    /// All that is known of a dead letter
    Show(show::Options),
    /// Asks the job to process dead letters again, each exactly once; a job that does not run does it when it starts
    Replay(replay::Options),
    /// Gives dead letters up: they are not processed, even if that was asked for, and keys that wait for them are
    /// released
    Discard(replay::Options),
}

/// Where they are.
#[derive(Args)]
struct Folder {
    /// Checkpoint folder of the job, or its folder of dead letters [default: the current folder, or that of the only
    /// running job of this user]
    dir: Option<String>,
}

impl Folder {
    fn path(&self) -> Result<PathBuf, Error> {
        Ok(folder(self.dir.as_deref())?.into())
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    match &options.command {
        Command::List(options) => list::run(options),
        Command::Show(options) => show::run(options),
        Command::Replay(options) => replay::run(options, Wish::Replay),
        Command::Discard(options) => replay::run(options, Wish::Discard),
    }
}
