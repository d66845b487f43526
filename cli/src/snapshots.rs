//! `watershed snapshots`: checkpoints and savepoints, as they are on disk.

mod list;
mod show;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::error::Error;
use crate::place::folder;

/// Lists, shows and verifies checkpoints and savepoints, also of a job that runs
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One line for each complete checkpoint, newest first
    List(list::Options),
    /// What a checkpoint consists of: its operators, and what each instance has saved
    Show(show::Options),
    /// Reads all files of all checkpoints and compares them with what was written; exits with 1 if one is damaged
    Verify(verify::Options),
}

/// Where they are.
#[derive(Args)]
struct Folder {
    /// Checkpoint folder of a job, or a savepoint [default: the current folder, or that of the only running job of this
    /// user]
    dir: Option<String>,
}

impl Folder {
    fn uri(&self) -> Result<String, Error> {
        Ok(folder(self.dir.as_deref())?)
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    match &options.command {
        Command::List(options) => list::run(options).map(|()| ExitCode::SUCCESS),
        Command::Show(options) => show::run(options).map(|()| ExitCode::SUCCESS),
        Command::Verify(options) => verify::run(options),
    }
}
