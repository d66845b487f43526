//! `watershed`: looks at running jobs from outside.

mod dead_letters;
mod error;
mod place;
mod screen;
mod tap;
mod tree;
mod units;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Looks at running Watershed jobs.
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
    DeadLetters(dead_letters::Options),
}

fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Tree(options) => tree::run(&options),
        Command::Tap(options) => tap::run(&options),
        Command::DeadLetters(options) => dead_letters::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_quiet() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watershed: {error}");
            ExitCode::FAILURE
        }
    }
}
