//! `watershed snapshots list`.

use std::io;

use clap::Args;
use serde_json::{Value, json};
use watershed_state::{FoundSnapshot, Manifest, chain_of, iso_time};

use crate::error::Error;
use crate::screen::{note, say};
use crate::snapshot::open;
use crate::snapshots::Folder;
use crate::units::{bytes, duration};

#[derive(Args)]
#[command(
    after_help = "TOTAL is the size of all files that a checkpoint needs, NEW that of those that were written for it."
)]
pub(crate) struct Options {
    #[command(flatten)]
    folder: Folder,
    /// One line of JSON for each
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<(), Error> {
    let all = open(&options.folder.uri()?)?.all()?;
    let mut stdout = io::stdout().lock();
    for found in &all {
        let line = if options.json { data(found).to_string() } else { text(found) };
        say(&mut stdout, line)?;
    }
    if all.is_empty() {
        note("there are no complete checkpoints yet");
    }
    Ok(())
}

fn text(found: &FoundSnapshot) -> String {
    let manifest = match &found.manifest {
        Ok(manifest) => manifest,
        Err(error) => return format!("{:<6} cannot be used: {}", id_of(found), chain_of(error)),
    };
    let finished = if manifest.finished { "finished" } else { "not finished" };
    format!(
        "{:<6} {}  took {:>7}  total {:>8}  new {:>8}  {} operators  {finished}",
        manifest.checkpoint,
        iso_time(manifest.created_ms),
        manifest.duration_ms.map_or("?".to_string(), duration),
        bytes(total_bytes(manifest)),
        bytes(new_bytes(manifest)),
        manifest.operators.len(),
    )
}

fn data(found: &FoundSnapshot) -> Value {
    match &found.manifest {
        Ok(manifest) => json!({
            "checkpoint": manifest.checkpoint,
            "created_ms": manifest.created_ms,
            "created_at": iso_time(manifest.created_ms),
            "duration_ms": manifest.duration_ms,
            "bytes": total_bytes(manifest),
            "new_bytes": new_bytes(manifest),
            "operators": manifest.operators.len(),
            "finished": manifest.finished,
        }),
        Err(error) => json!({ "checkpoint": found.checkpoint, "error": chain_of(error) }),
    }
}

/// How a snapshot is called.
pub(super) fn id_of(found: &FoundSnapshot) -> String {
    found.checkpoint.map_or("savepoint".to_string(), |id| id.to_string())
}

fn total_bytes(manifest: &Manifest) -> u64 {
    manifest.files().map(|file| file.len).sum()
}

fn new_bytes(manifest: &Manifest) -> u64 {
    let folder = format!("chk-{}/", manifest.checkpoint);
    manifest.files().filter(|file| file.path.starts_with(&folder)).map(|file| file.len).sum()
}
