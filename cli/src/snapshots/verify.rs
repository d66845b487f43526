//! `watershed snapshots verify`.

use std::collections::HashSet;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use watershed_state::{Manifest, Snapshots, chain_of};

use crate::error::Error;
use crate::screen::{note, say};
use crate::snapshot::open;
use crate::snapshots::Folder;
use crate::snapshots::list::id_of;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    folder: Folder,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let snapshots = open(&options.folder.uri()?)?;
    let all = snapshots.all()?;
    let mut stdout = io::stdout().lock();
    let (mut intact, mut damaged) = (HashSet::new(), false);
    for found in &all {
        let damage = match &found.manifest {
            Ok(manifest) => damage(&snapshots, manifest, &mut intact),
            Err(error) => vec![chain_of(error)],
        };
        let what = match found.checkpoint {
            _ if damage.is_empty() => "ok".to_string(),
            Some(id) if !snapshots.has(id) => "was removed by the job meanwhile".to_string(),
            _ => {
                damaged = true;
                damage.join("; ")
            }
        };
        say(&mut stdout, format_args!("{:<6} {what}", id_of(found)))?;
        stdout.flush()?;
    }
    if all.is_empty() {
        note("there are no complete checkpoints yet");
    }
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A file that is as it was written: its path, length and checksum.
type Intact = (String, u64, u64);

/// What is wrong with the files. Those that are known to be intact are not read again.
fn damage(snapshots: &Snapshots, manifest: &Manifest, intact: &mut HashSet<Intact>) -> Vec<String> {
    let mut damage = Vec::new();
    for file in manifest.files() {
        let known = (file.path.clone(), file.len, file.checksum);
        if intact.contains(&known) {
            continue;
        }
        match snapshots.verify(file) {
            Ok(()) => {
                intact.insert(known);
            }
            Err(error) => damage.push(chain_of(&error)),
        }
    }
    damage
}
