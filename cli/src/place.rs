//! Where a job is, also if nobody says so.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use watershed_runtime::remote::{Client, SOCKET_NAME, running_jobs, socket_in};
use watershed_state::SnapshotPlace;

use crate::error::Error;
use crate::screen::note;

/// How the files `job` and `manifest` begin.
const MAGIC: &[u8; 4] = b"wshd";

/// The job that is meant.
#[derive(Args)]
pub(crate) struct Place {
    /// Checkpoint folder of the job, or the socket that it listens on [default: the current folder, or the only running
    /// job of this user]
    dir: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// How it is reached.
#[derive(Args)]
pub(crate) struct Reach {
    /// The socket that the job listens on
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How long to wait for a job that says nothing, not even that it is at work
    #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

/// It is not clear which job is meant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Both a folder and a socket are given.
    #[error("name the folder of the job, or its socket with `--socket`, not both")]
    Twice,
    /// No job is found.
    #[error(
        "no running job of this user is found, here or elsewhere: name its checkpoint folder, or its socket with `--socket`"
    )]
    NoJob,
    /// There is more than one.
    #[error("several jobs are running: name the folder or the socket of one: {}", listed(.0))]
    Several(Vec<PathBuf>),
}

impl Place {
    /// Connects to the job.
    pub(crate) fn connect(&self) -> Result<Client, Error> {
        self.reach.connect(self.dir.as_deref())
    }
}

impl Reach {
    /// Connects to the job with this checkpoint folder or socket, or to the one that can be found.
    pub(crate) fn connect(&self, dir: Option<&Path>) -> Result<Client, Error> {
        let socket = match (&self.socket, dir) {
            (Some(_), Some(_)) => return Err(PlaceError::Twice.into()),
            (Some(socket), None) => socket.clone(),
            (None, Some(path)) if is_socket(path) => path.to_path_buf(),
            (None, Some(folder)) => socket_in(folder),
            (None, None) => found()?,
        };
        Ok(Client::connect(&socket)?.with_timeout(Duration::from_millis(self.timeout_ms))?)
    }

    /// The words of a command that has `count` of them, behind the folder of the job if that is given, too: the folder
    /// and those.
    pub(crate) fn words(words: &[String], count: usize) -> (Option<&Path>, &[String]) {
        let (dir, words) = words.split_at(words.len().saturating_sub(count));
        (dir.first().map(Path::new), words)
    }
}

/// The job in the current folder, or the only one of this user that runs.
fn found() -> Result<PathBuf, PlaceError> {
    let here = Path::new(".");
    if is_socket(&socket_in(here)) || has_checkpoints(here) {
        return Ok(socket_in(here));
    }
    let mut running = running_jobs();
    match (running.pop(), running.is_empty()) {
        (None, _) => Err(PlaceError::NoJob),
        (Some(only), true) => {
            note(format_args!("the only running job listens on {}", only.display()));
            Ok(only)
        }
        (Some(last), false) => {
            running.push(last);
            Err(PlaceError::Several(running))
        }
    }
}

/// A folder with checkpoints, dead letters or a savepoint: the one that is named, the current one if it is one, or that
/// of the only running job of this user.
pub(crate) fn folder(named: Option<&str>) -> Result<String, PlaceError> {
    let here = Path::new(".");
    if let Some(named) = named {
        return Ok(named.to_string());
    }
    let is_ours = has_checkpoints(here)
        || is_ours(&here.join("manifest"))
        || here.join("dead-letters").is_dir()
        || is_socket(&socket_in(here));
    if is_ours {
        return Ok(".".to_string());
    }
    let folders = running_jobs()
        .into_iter()
        .filter(|socket| socket.file_name().is_some_and(|name| name == SOCKET_NAME));
    let mut folders: Vec<PathBuf> =
        folders.filter_map(|socket| socket.parent().map(Path::to_path_buf)).collect();
    match (folders.pop(), folders.is_empty()) {
        // What is missing is said by whoever looks there.
        (None, _) => Ok(".".to_string()),
        (Some(only), true) => {
            note(format_args!("the only running job has its checkpoints in {}", only.display()));
            Ok(only.to_string_lossy().into_owned())
        }
        (Some(last), false) => {
            folders.push(last);
            Err(PlaceError::Several(folders))
        }
    }
}

/// The place of a savepoint as the process of the job sees it: a relative path is relative to where the tool is run.
pub(crate) fn savepoint_uri(uri: &str) -> Result<String, Error> {
    match SnapshotPlace::local_folder(uri)? {
        Some(folder) if folder.is_relative() => {
            Ok(std::path::absolute(folder)?.to_string_lossy().into_owned())
        }
        _ => Ok(uri.to_string()),
    }
}

/// Whether a folder is one of checkpoints, by more than the name of a file in it: other programs call files `job`, too.
fn has_checkpoints(folder: &Path) -> bool {
    is_ours(&folder.join("job"))
        || fs::read_dir(folder).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|entry| is_checkpoint(&entry.file_name().to_string_lossy()) && entry.path().is_dir())
        })
}

fn is_checkpoint(name: &str) -> bool {
    name.strip_prefix("chk-").is_some_and(|id| id.parse::<u64>().is_ok())
}

/// Whether a file begins as those do that the engine writes, whatever becomes of the rest.
fn is_ours(path: &Path) -> bool {
    // A FIFO would hold up whoever opens it.
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    let mut begin = [0; MAGIC.len()];
    is_file && File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == *MAGIC
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
