//! `watershed rescale`: gives an operator of a running job another number of instances.

use std::io;
use std::path::PathBuf;

use clap::Args;
use watershed_runtime::Rescaled;

use crate::error::Error;
use crate::place::Place;
use crate::screen::say;

/// Gives an operator of a running job another number of instances
#[derive(Args)]
#[command(
    after_help = "The job makes a checkpoint, stops, and goes on from it. It keeps the number when it is started again, \
                        until its wiring or its configuration gives the operator another one than now."
)]
pub(crate) struct Options {
    /// Checkpoint folder of the job, or the socket that it listens on
    dir: PathBuf,
    /// Name of the operator
    operator: String,
    /// How many instances it is to have
    parallelism: usize,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let mut client = Place::at(&options.dir).connect()?;
    let rescaled = client.rescale(&options.operator, options.parallelism)?;
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
