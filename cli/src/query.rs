//! `watershed query`: what an operator of a running job remembers of a key.

use std::io;

use clap::Args;
use serde_json::json;

use crate::error::Error;
use crate::place::Reach;
use crate::screen::{note, say};

/// Shows the state that an operator of a running job has for a key, as JSON
#[derive(Args)]
#[command(
    override_usage = "watershed query [OPTIONS] [DIR] <OPERATOR> <KEY>",
    after_help = "The state is that of the moment: a failure may take the job back to its last checkpoint, and the state \
                  with it. What is in checkpoints is shown by `watershed state dump`."
)]
pub(crate) struct Options {
    #[command(flatten)]
    reach: Reach,
    /// Checkpoint folder of the job, or the socket that it listens on [default: the current folder, or the only running
    /// job of this user]; name of the operator; the key, as JSON, where the quotes of a text may be left out
    #[arg(allow_hyphen_values = true, required = true, num_args = 2..=3, value_names = ["DIR", "OPERATOR", "KEY"])]
    words: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let (dir, words) = Reach::words(&options.words, 2);
    let (operator, key) = (&words[0], &words[1]);
    match options.reach.connect(dir)?.query(operator, key)? {
        Some(found) => {
            let line = json!({ "key": found.key, "state": found.state });
            say(&mut io::stdout(), line)?;
        }
        None => note(format_args!("key {key} of operator `{operator}` has no state")),
    }
    Ok(())
}
