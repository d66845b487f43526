//! `watershed dead-letters show`.

use std::io;

use clap::Args;
use watershed_runtime::dead_letters::DeadLetters;

use crate::dead_letters::Folder;
use crate::error::Error;
use crate::screen::say;

#[derive(Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct Options {
    #[command(flatten)]
    folder: Folder,
    /// Id of the letter, or how it begins
    id: String,
}

pub(super) fn run(options: &Options) -> Result<(), Error> {
    let listed = DeadLetters::open(&options.folder.path()?)?.find(&options.id)?;
    let mut stdout = io::stdout().lock();
    for line in serde_json::to_string_pretty(&listed)?.lines() {
        say(&mut stdout, line)?;
    }
    Ok(())
}
