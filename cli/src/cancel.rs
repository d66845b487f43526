//! `watershed cancel`: ends a running job at once.

use std::io;

use clap::Args;

use crate::error::Error;
use crate::place::Place;
use crate::screen::say;

/// Ends a running job at once, without a checkpoint, and waits until it is over
#[derive(Args)]
#[command(
    after_help = "What came after the last checkpoint is dropped, and comes again when the job is started again."
)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let ended = options.place.connect()?.cancel()?;
    say(&mut io::stdout(), format_args!("the job has ended: {ended}"))?;
    if ended.starts_with("failed") { Err(Error::JobFailed) } else { Ok(()) }
}
