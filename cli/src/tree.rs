//! `watershed tree`: the supervision tree of a running job.

mod table;

use std::io;
use std::time::Duration;

use clap::Args;
use watershed_runtime::Tree;
use watershed_runtime::remote::{Client, RemoteError};

use crate::error::Error;
use crate::place::Place;
use crate::screen;

/// Shows the supervision tree of a running job: what is where, how it does, and what went wrong
#[derive(Args)]
#[command(
    after_help = "Rates and shares of time are those of the last interval. Into anything but a terminal, and with \
                        --once, the tree is printed once, after one interval."
)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Prints the tree once instead of refreshing it
    #[arg(long)]
    once: bool,
    /// Prints the tree once and at once, with all there is, as one line of JSON
    #[arg(long)]
    json: bool,
    /// How often the tree is refreshed
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..))]
    interval_ms: u64,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let mut client = options.place.connect()?;
    if options.json {
        let tree = client.tree()?;
        screen::say(&mut io::stdout(), serde_json::to_string(&tree)?)?;
        return Ok(());
    }
    let interval = Duration::from_millis(options.interval_ms);
    if options.once || !screen::is_terminal() { print(client, interval) } else { watch(client, interval) }
}

/// Two pictures, as a rate needs two. Of a job that ends in between there is one.
fn print(mut client: Client, interval: Duration) -> Result<(), Error> {
    let first = client.tree()?;
    pause(interval);
    let (before, tree) = match client.tree() {
        Ok(second) => (Some(first), second),
        Err(RemoteError::Ended(_)) => (None, first),
        Err(error) => return Err(error.into()),
    };
    let mut stdout = io::stdout().lock();
    for line in table::lines(before.as_ref(), &tree) {
        screen::say(&mut stdout, line)?;
    }
    Ok(())
}

/// Pictures that replace each other, until the job has ended.
fn watch(mut client: Client, interval: Duration) -> Result<(), Error> {
    let mut before: Option<Tree> = None;
    loop {
        let tree = match client.tree() {
            // The last picture stays.
            Err(ended @ RemoteError::Ended(_)) if before.is_some() => {
                screen::note(ended);
                return Ok(());
            }
            tree => tree?,
        };
        screen::show(&table::lines(before.as_ref(), &tree), before.is_none())?;
        before = Some(tree);
        pause(interval);
    }
}

#[expect(clippy::disallowed_methods, reason = "the tool looks now and then; no job goes by its time")]
fn pause(interval: Duration) {
    std::thread::sleep(interval);
}
