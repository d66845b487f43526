//! `watershed dead-letters list`.

use std::io;

use clap::Args;
use watershed_runtime::dead_letters::{DeadLetters, Listed, Status};
use watershed_state::iso_time;

use crate::dead_letters::Folder;
use crate::error::Error;
use crate::screen::{note, say};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    folder: Folder,
    /// Only those of this operator
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// One line of JSON for each
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<(), Error> {
    let mut letters = DeadLetters::open(&options.folder.path()?)?.all()?;
    letters.retain(|listed| options.operator.as_ref().is_none_or(|name| *name == listed.letter.operator));
    let mut stdout = io::stdout().lock();
    for listed in &letters {
        let line = if options.json { serde_json::to_string(listed)? } else { text(listed) };
        say(&mut stdout, line)?;
    }
    if letters.is_empty() {
        note("there are no dead letters");
    }
    Ok(())
}

fn text(listed: &Listed) -> String {
    let letter = &listed.letter;
    let key = letter.evidence.key.as_ref().map_or(String::new(), |key| format!(" key={key}"));
    let parked = if letter.parked { " parked" } else { "" };
    let why = match &listed.status {
        Status::Failed(why) => format!("  failed: {why}"),
        _ => String::new(),
    };
    format!(
        "{} {} {:<9} {}[{}] {}{key} attempts={}{parked}  {}  {}{why}",
        letter.id,
        iso_time(letter.at_ms),
        listed.status.name(),
        letter.operator,
        letter.instance,
        letter.evidence.stage,
        letter.attempts,
        letter.evidence.payload,
        letter.cause,
    )
}
