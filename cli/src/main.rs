//! `watershed`: looks at jobs and what they have saved, from outside.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod dead_letters;
mod error;
mod place;
mod query;
mod rescale;
mod screen;
mod snapshot;
mod snapshots;
mod state;
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
