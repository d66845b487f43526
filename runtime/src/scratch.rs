//! The folder of the local disk in which databases live while the job runs. Nothing in it outlives the process.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Config;
use crate::error::Error;

/// A folder that is made when it is needed and removed in the end.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// The folder of this job. What an earlier process has left there is removed: whoever calls this holds the lock of
    /// the checkpoint folder, if there is one.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let beside = config.checkpoints.as_deref().filter(|_| config.simulation.is_none());
        let folder = match (&config.scratch, beside) {
            (Some(folder), _) if config.simulation.is_none() => folder.join("databases"),
            (_, Some(checkpoints)) => checkpoints.join("scratch"),
            _ => unique(&std::env::temp_dir()),
        };
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let shown = folder.display();
                let message = format!(
                    "{shown} cannot be emptied for this job's databases; name another folder with \
                    `Config::scratch`"
                );
                Err(Error::config(message).because(error.into()))
            }
            _ => Ok(Self(folder)),
        }
    }

    /// A folder of its own, for work outside of a job.
    pub(crate) fn temporary() -> Self {
        Self(unique(&std::env::temp_dir()))
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// Where an instance has its database in this run.
    pub(crate) fn folder_of(&self, instance: &str, run: u32) -> PathBuf {
        self.0.join(format!("{instance}-r{run}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A database that is still open, on a thread that was left behind, goes on with its open files and fails at others.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder that no other job has.
fn unique(parent: &Path) -> PathBuf {
    static JOBS: AtomicU64 = AtomicU64::new(0);
    let job = JOBS.fetch_add(1, Ordering::Relaxed);
    parent.join(format!("watershed-{}-{job}", std::process::id()))
}
