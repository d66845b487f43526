//! `watershed dead-letters replay` and `discard`.

use std::io::{self, Write};

use clap::Args;
use watershed_runtime::dead_letters::{DeadLetters, Listed, Wish};
use watershed_runtime::remote::{Client, socket_in};

use crate::dead_letters::Folder;
use crate::error::Error;

#[derive(Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub(crate) struct Options {
    #[command(flatten)]
    folder: Folder,
    /// Ids of letters, or how they begin
    #[arg(long = "id", value_name = "ID", group = "which")]
    ids: Vec<String>,
    /// All letters of this operator
    #[arg(long, value_name = "NAME", group = "which")]
    operator: Option<String>,
    /// All letters
    #[arg(long, group = "which")]
    all: bool,
}

pub(super) fn run(options: &Options, discard: bool) -> Result<(), Error> {
    let letters = DeadLetters::open(&options.folder.dir)?;
    let mut chosen: Vec<Listed> = if options.ids.is_empty() {
        let wanted = |listed: &Listed| {
            options.operator.as_ref().is_none_or(|operator| *operator == listed.letter.operator)
        };
        letters.all()?.into_iter().filter(wanted).collect()
    } else {
        options.ids.iter().map(|id| letters.find(id)).collect::<Result<_, _>>()?
    };
    chosen.retain(|listed| listed.wish == Wish::None);
    for listed in &chosen {
        letters.ask(&listed.letter, discard)?;
    }
    let mut stdout = io::stdout().lock();
    let what = if discard { "given up" } else { "to be replayed" };
    writeln!(stdout, "{} dead letters are {what}", chosen.len())?;
    if chosen.is_empty() {
        return Ok(());
    }
    match Client::connect(&socket_in(&options.folder.dir)).and_then(|mut job| job.replay_dead_letters()) {
        Ok(()) => writeln!(stdout, "the running job has been told")?,
        Err(_) => writeln!(stdout, "no job is running there: it does so when it starts")?,
    }
    Ok(())
}
