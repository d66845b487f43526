//! `watershed stop`: ends a running job with a last checkpoint.

use std::io;

use clap::Args;
use serde_json::json;
use watershed_runtime::Drain;

use crate::error::Error;
use crate::place::{Place, savepoint_uri};
use crate::savepoint;
use crate::screen::say;

/// Ends a running job with a last checkpoint, or with a savepoint, and waits until it is over
#[derive(Args)]
#[command(
    after_help = "The next start goes on from there. If the tool is interrupted, the job ends all the same. Exits with 0 if the job \
                  has ended as it was asked to."
)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Makes a savepoint of the last checkpoint: a folder (`file:///a/folder`, or a path)
    #[arg(long, value_name = "URI")]
    savepoint: Option<String>,
    /// Lets all come that waits for event time first: for a job that does not come back
    #[arg(long)]
    drain: bool,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let uri = options.savepoint.as_deref().map(savepoint_uri).transpose()?;
    let drain = if options.drain { Drain::Yes } else { Drain::No };
    let (savepoint, ended) = options.place.connect()?.stop(uri.as_deref(), drain)?;
    let mut stdout = io::stdout().lock();
    if options.json {
        say(&mut stdout, json!({ "savepoint": savepoint, "ended": ended }))?;
    } else {
        if let Some(savepoint) = &savepoint {
            say(&mut stdout, savepoint::text(savepoint))?;
        }
        say(&mut stdout, format_args!("the job has ended: {ended}"))?;
    }
    if ended.starts_with("failed") { Err(Error::JobFailed) } else { Ok(()) }
}
