//! `watershed`: looks at jobs and what they have saved, from outside.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cancel;
mod checkpoints;
mod dead_letters;
mod error;
mod place;
mod query;
mod rescale;
mod savepoint;
mod screen;
mod snapshot;
mod snapshots;
mod state;
mod stop;
mod tap;
mod tree;
mod units;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Looks at Watershed jobs, and at what they have saved.
#[derive(Parser)]
#[command(name = "watershed", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

/// One file for each.
#[derive(Subcommand)]
enum Command {
    Tree(tree::Options),
    Tap(tap::Options),
    Query(query::Options),
    DeadLetters(dead_letters::Options),
    Rescale(rescale::Options),
    Checkpoints(checkpoints::Options),
    Savepoint(savepoint::Options),
    Stop(stop::Options),
    Cancel(cancel::Options),
    Snapshots(snapshots::Options),
    State(state::Options),
}

fn main() -> ExitCode {
    let success = |()| ExitCode::SUCCESS;
    let done = match Options::parse().command {
        Command::Tree(options) => tree::run(&options).map(success),
        Command::Tap(options) => tap::run(&options).map(success),
        Command::Query(options) => query::run(&options).map(success),
        Command::DeadLetters(options) => dead_letters::run(&options).map(success),
        Command::Rescale(options) => rescale::run(&options).map(success),
        Command::Checkpoints(options) => checkpoints::run(&options).map(success),
        Command::Savepoint(options) => savepoint::run(&options).map(success),
        Command::Stop(options) => stop::run(&options).map(success),
        Command::Cancel(options) => cancel::run(&options).map(success),
        Command::Snapshots(options) => snapshots::run(&options),
        Command::State(options) => state::run(&options),
    };
    match done {
        Ok(code) => code,
        Err(error) if error.is_quiet() => ExitCode::SUCCESS,
        Err(error) => {
            screen::note(&error);
            error.code()
        }
    }
}
