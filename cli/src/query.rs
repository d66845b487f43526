//! `watershed query`: what an operator of a running job remembers of a key.

use std::io;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::error::Error;
use crate::place::Place;
use crate::screen::{note, say};

/// Shows the state that an operator of a running job has for a key, as JSON
#[derive(Args)]
#[command(
    after_help = "The state is that of the moment: a failure may take the job back to its last checkpoint, and the state \
                  with it. What is in checkpoints is shown by `watershed state dump`."
)]
pub(crate) struct Options {
    /// Checkpoint folder of the job, or the socket that it listens on
    dir: PathBuf,
    /// Name of the operator
    operator: String,
    /// The key, as JSON; the quotes of a text may be left out
    #[arg(allow_hyphen_values = true)]
    key: String,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let Options { dir, operator, key } = options;
    match Place::at(dir).connect()?.query(operator, key)? {
        Some(found) => {
            let line = json!({ "key": found.key, "state": found.state });
            say(&mut io::stdout(), line)?;
        }
        None => note(format_args!("key {key} of operator `{operator}` has no state")),
    }
    Ok(())
}
