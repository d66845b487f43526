//! The folder of the local disk in which databases live while the job runs. Nothing in it outlives the process.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Config;
use crate::error::Error;

/// Where the folder of a job is. It may be in use by another job, as long as nobody holds the lock of the checkpoints.
#[derive(Debug)]
pub(crate) struct ScratchPlace(PathBuf);

impl ScratchPlace {
    /// The folder of this job.
    pub(crate) fn of(config: &Config) -> Self {
        let beside = config.checkpoints.as_deref().filter(|_| config.simulation.is_none());
        Self(match (&config.scratch, beside) {
            (Some(folder), _) if config.simulation.is_none() => folder.join("databases"),
            (_, Some(checkpoints)) => checkpoints.join("scratch"),
            _ => unique(&std::env::temp_dir()),
        })
    }

    /// Where the files of databases are that checkpoints in memory consist of.
    pub(crate) fn links(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// Takes the folder. What an earlier process has left there is removed: whoever calls this holds the lock of the
    /// checkpoints.
    pub(crate) fn take(self) -> Result<Scratch, Error> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let shown = self.0.display();
                let message = format!(
                    "{shown} cannot be emptied for this job's databases; name another folder with \
                    `Config::scratch`"
                );
                Err(Error::config(message).because(error.into()))
            }
            _ => Ok(Scratch(self.0)),
        }
    }
}

/// A folder that is made when it is needed and removed in the end.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Looks whether a database can live there: better now than when the first one is opened.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        let probe = self.0.join("probe");
        let written = fs::create_dir_all(&self.0).and_then(|()| fs::write(&probe, b"probe"));
        written.and_then(|()| fs::remove_file(&probe)).map_err(|error| {
            let shown = self.0.display();
            let message = format!(
                "the scratch folder {shown} is not writable; give this user write access, or name another folder with \
                `Config::scratch`"
            );
            Error::config(message).because(error.into())
        })
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
