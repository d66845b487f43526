//! `watershed dead-letters replay` and `discard`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use watershed_runtime::dead_letters::{DeadLetterError, DeadLetters, Listed, Status};
use watershed_runtime::remote::{Client, RemoteError, socket_in};

use crate::dead_letters::Folder;
use crate::error::Error;
use crate::screen::say;

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
    /// The socket that the job listens on, if it is not in the checkpoint folder
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// What is wanted of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Replay,
    Discard,
}

pub(super) fn run(options: &Options, wish: Wish) -> Result<(), Error> {
    let folder = options.folder.path()?;
    let letters = DeadLetters::open(&folder)?;
    let chosen = options.choose(&letters)?;
    let (mut asked, mut undecoded) = (0, 0);
    for Listed { letter, .. } in &chosen {
        let changed = match wish {
            Wish::Replay => letters.replay(letter),
            Wish::Discard => letters.discard(letter),
        };
        match changed {
            Ok(changed) => asked += usize::from(changed),
            // Who has named it is told that it cannot be; else the others are meant.
            Err(DeadLetterError::Undecoded { .. }) if options.ids.is_empty() => undecoded += 1,
            Err(error) => return Err(error.into()),
        }
    }
    let mut stdout = io::stdout().lock();
    let (what, before) = match wish {
        Wish::Replay => ("to be replayed", Status::Replay),
        Wish::Discard => ("given up", Status::Discarded),
    };
    say(&mut stdout, format_args!("{asked} dead letters are {what}"))?;
    if undecoded > 0 {
        let them = "never were records and cannot be replayed: mend the input and give it to the source again, and discard them";
        say(&mut stdout, format_args!("{undecoded} {them}"))?;
    }
    // One who asks again may do so because the job was not told before.
    if asked > 0 || chosen.iter().any(|listed| listed.status == before) {
        tell(&mut stdout, &options.socket(&folder, &letters))?;
    }
    Ok(())
}

impl Options {
    fn choose(&self, letters: &DeadLetters) -> Result<Vec<Listed>, DeadLetterError> {
        if !self.ids.is_empty() {
            return self.ids.iter().map(|id| letters.find(id)).collect();
        }
        let mut all = letters.all()?;
        all.retain(|listed| {
            self.operator.as_ref().is_none_or(|operator| *operator == listed.letter.operator)
        });
        Ok(all)
    }

    /// Where the job listens: in the checkpoint folder, which is the one above the folder of dead letters.
    fn socket(&self, dir: &Path, letters: &DeadLetters) -> PathBuf {
        if let Some(socket) = &self.socket {
            return socket.clone();
        }
        if letters.folder() != dir {
            return socket_in(dir);
        }
        let absolute = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
        socket_in(absolute.parent().unwrap_or(&absolute))
    }
}

/// Lets a running job look at what has been asked for.
fn tell(stdout: &mut impl Write, socket: &Path) -> Result<(), Error> {
    match Client::connect(socket).and_then(|mut job| job.replay_dead_letters()) {
        Ok(unknown) => {
            say(stdout, "the running job has been told")?;
            for operator in unknown {
                let cure =
                    "whose letters wait until it has: give the operator its name back, or discard them";
                say(stdout, format_args!("it has no operator `{operator}`, {cure}"))?;
            }
        }
        Err(RemoteError::NoSocket { path } | RemoteError::NobodyListens { path }) => {
            let what = "it does so when it starts; if it runs, say with `--socket` where it listens";
            say(stdout, format_args!("no job listens on {}: {what}", path.display()))?;
        }
        Err(RemoteError::Ended(how)) => {
            say(stdout, format_args!("the job has ended ({how}): it does so when it starts again"))?;
        }
        Err(error) => return Err(Error::NotTold(error)),
    }
    Ok(())
}
