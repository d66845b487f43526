//! `watershed dead-letters show`.

use std::io::{self, Write};

use clap::Args;
use watershed_runtime::dead_letters::DeadLetters;

use crate::dead_letters::Folder;
use crate::error::Error;

#[derive(Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct Options {
    #[command(flatten)]
    folder: Folder,
    /// Id of the letter, or how it begins
    id: String,
}

pub(super) fn run(options: &Options) -> Result<(), Error> {
    let listed = DeadLetters::open(&options.folder.dir)?.find(&options.id)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string_pretty(&listed)?)?;
    Ok(())
}
