//! Where a job is.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use clap::Args;
use watershed_runtime::remote::{Client, RemoteError, socket_in};

/// The job that is meant.
#[derive(Args)]
pub(crate) struct Place {
    /// Checkpoint folder of the job, or the socket that it listens on [default: the current folder]
    dir: Option<PathBuf>,
    /// The socket that the job listens on
    #[arg(long, value_name = "PATH", conflicts_with = "dir")]
    socket: Option<PathBuf>,
}

impl Place {
    /// The job with this checkpoint folder or socket.
    pub(crate) fn at(dir: &Path) -> Self {
        Self { dir: Some(dir.to_path_buf()), socket: None }
    }

    /// Connects to the job.
    pub(crate) fn connect(&self) -> Result<Client, RemoteError> {
        Client::connect(&self.path())
    }

    fn path(&self) -> PathBuf {
        match (&self.socket, &self.dir) {
            (Some(socket), _) => socket.clone(),
            (None, Some(path)) if is_socket(path) => path.clone(),
            (None, Some(folder)) => socket_in(folder),
            (None, None) => socket_in(Path::new(".")),
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}
