//! `watershed savepoint`: makes a savepoint of a running job.

use std::io;

use clap::Args;
use watershed_runtime::Savepoint;

use crate::error::Error;
use crate::place::{Place, savepoint_uri};
use crate::screen::say;
use crate::units::bytes;

/// Makes a savepoint of a running job, which goes on, and waits until it is complete
#[derive(Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Where: a folder (`file:///a/folder`, or a path) that holds none
    uri: String,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let uri = savepoint_uri(&options.uri)?;
    let savepoint = options.place.connect()?.savepoint(&uri)?;
    let line = if options.json { serde_json::to_string(&savepoint)? } else { text(&savepoint) };
    say(&mut io::stdout(), line)?;
    Ok(())
}

/// A savepoint that is there, as a line for people.
pub(crate) fn text(savepoint: &Savepoint) -> String {
    let Savepoint { uri, checkpoint, bytes: size } = savepoint;
    format!("savepoint {uri} of checkpoint {checkpoint}, {}", bytes(*size))
}
