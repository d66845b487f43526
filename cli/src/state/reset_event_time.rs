//! `watershed state reset-event-time`: a savepoint in which event time begins anew.

use std::io::{self, Write};

use clap::Args;
use watershed_runtime::{SavepointReader, SavepointWriter};

use crate::error::Error;
use crate::snapshot::Snapshot;

#[derive(Args)]
pub(crate) struct Options {
    /// A checkpoint folder, of which the newest checkpoint is taken or the one in FOLDER@ID, or a savepoint; nothing is
    /// changed in it
    from: String,
    /// Where the savepoint is put, from which a job starts with `Config::start_from`
    to: String,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let Snapshot { folder, manifest } = Snapshot::parse(&options.from).map_err(Error::Snapshot)?;
    let from = folder.place().location().display().to_string();
    let reader = SavepointReader::open_checkpoint(&from, manifest.checkpoint).map_err(Error::Savepoint)?;
    let writer = SavepointWriter::change(&reader, &options.to).map_err(Error::Savepoint)?;
    let made = writer.reset_event_time().finish().map_err(Error::Savepoint)?;
    let (checkpoint, bytes) = (made.checkpoint, made.bytes);
    writeln!(
        io::stdout(),
        "{} has all of checkpoint {checkpoint} ({bytes} bytes), and event time begins anew in it; start from it with \
         `Config::start_from`",
        made.uri
    )
    .map_err(Error::Output)
}
