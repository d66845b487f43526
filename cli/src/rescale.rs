//! `watershed rescale`: gives an operator of a running job another number of instances.

use std::io;

use clap::Args;
use watershed_runtime::Rescaled;

use crate::error::Error;
use crate::place::Reach;
use crate::screen::say;

/// Gives an operator of a running job another number of instances
#[derive(Args)]
#[command(
    override_usage = "watershed rescale [OPTIONS] [DIR] <OPERATOR> <N>",
    after_help = "The job makes a checkpoint, stops, and goes on from it. It keeps the number when it is started again, \
                        until its wiring or its configuration gives the operator another one than now."
)]
pub(crate) struct Options {
    #[command(flatten)]
    reach: Reach,
    /// Checkpoint folder of the job, or the socket that it listens on [default: the current folder, or the only running
    /// job of this user]; name of the operator; how many instances it is to have
    #[arg(required = true, num_args = 2..=3, value_names = ["DIR", "OPERATOR", "N"])]
    words: Vec<String>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let (dir, words) = Reach::words(&options.words, 2);
    let parallelism = words[1].parse().map_err(|_| Error::NoNumber(words[1].clone()))?;
    let rescaled = options.reach.connect(dir)?.rescale(&words[0], parallelism)?;
    let line = if options.json { serde_json::to_string(&rescaled)? } else { text(&rescaled) };
    say(&mut io::stdout(), line)?;
    Ok(())
}

/// What has been done, as a line for people.
fn text(rescaled: &Rescaled) -> String {
    let Rescaled { operator, from, to, checkpoint, checkpoint_ms, stopped_ms } = rescaled;
    format!(
        "{operator}: from {from} to {to} instances, with checkpoint {checkpoint} (took {checkpoint_ms} ms); \
         the job stood still for {stopped_ms} ms"
    )
}
