//! The folder of the local disk in which databases live while the job runs. Nothing in it outlives the process.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use watershed_state::{FileSystem, LocalFs, Lock};

use crate::config::Config;
use crate::error::Error;

/// Where the folder of a job is. It may be in use by another job, as long as nobody holds its lock, or that of the
/// checkpoints if it is beside those.
#[derive(Debug)]
pub(crate) struct ScratchPlace {
    folder: PathBuf,
    /// The file to lock, if others may have been given the folder.
    lock: Option<PathBuf>,
}

impl ScratchPlace {
    /// The folder of this job.
    pub(crate) fn of(config: &Config) -> Self {
        let beside = config.checkpoints.as_deref().filter(|_| config.simulation.is_none());
        match (&config.scratch, beside) {
            (Some(folder), _) if config.simulation.is_none() => {
                Self { folder: databases_in(folder), lock: Some(folder.join("databases.lock")) }
            }
            (_, Some(checkpoints)) => Self { folder: checkpoints.join("scratch"), lock: None },
            _ => Self { folder: unique(&std::env::temp_dir()), lock: None },
        }
    }

    /// Where the files of databases are that checkpoints in memory consist of.
    pub(crate) fn links(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// Takes the folder. What an earlier process has left there is removed: whoever calls this holds the lock of the
    /// checkpoints. A job without databases leaves a folder alone that may be another's.
    pub(crate) fn take(self, any_database: bool) -> Result<Scratch, Error> {
        let lock = match &self.lock {
            Some(_) if !any_database => {
                return Ok(Scratch { path: self.folder, is_taken: false, _lock: None });
            }
            Some(file) => Some(lock(file)?),
            None => None,
        };
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let shown = self.folder.display();
                let message = format!(
                    "{shown} cannot be emptied for this job's databases; name another folder with \
                    `Config::scratch`"
                );
                Err(Error::config(message).because(error.into()))
            }
            _ => Ok(Scratch { path: self.folder, is_taken: true, _lock: lock }),
        }
    }
}

/// Where databases are in a scratch folder that was configured.
pub(crate) fn databases_in(scratch: &Path) -> PathBuf {
    scratch.join("databases")
}

/// Takes the lock of a folder that several jobs may have been given.
fn lock(file: &Path) -> Result<Box<dyn Lock>, Error> {
    let folder = file.parent().unwrap_or(file);
    let shown = folder.display();
    let taken = LocalFs.create_dir_all(folder).and_then(|()| LocalFs.lock(file));
    taken.map_err(|error| unwritable(folder).because(error.into()))?.ok_or_else(|| {
        Error::config(format!(
            "the scratch folder {shown} is in use by another job, here or in another process; stop that one, or name \
            another folder with `Config::scratch`"
        ))
    })
}

fn unwritable(folder: &Path) -> Error {
    let shown = folder.display();
    Error::config(format!(
        "the scratch folder {shown} is not writable; give this user write access, or name another folder with \
        `Config::scratch`"
    ))
}

/// A folder that is made when it is needed and removed in the end.
pub(crate) struct Scratch {
    path: PathBuf,
    /// It is this job's to empty and remove.
    is_taken: bool,
    /// Released when the folder is gone.
    _lock: Option<Box<dyn Lock>>,
}

impl Scratch {
    /// Looks whether a database can live there: better now than when the first one is opened.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        let probe = self.path.join("probe");
        let written = LocalFs
            .create_dir_all(&self.path)
            .and_then(|()| LocalFs.create(&probe))
            .and_then(|mut file| file.write_all(b"probe"));
        let removed = written.and_then(|()| fs::remove_file(&probe));
        removed.map_err(|error| unwritable(&self.path).because(error.into()))
    }

    /// A folder of its own, for work outside of a job.
    pub(crate) fn temporary() -> Self {
        Self { path: unique(&std::env::temp_dir()), is_taken: true, _lock: None }
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.path
    }

    /// Lets it lie: what is there now is another job's.
    pub(crate) fn leave_behind(&mut self) {
        self.is_taken = false;
    }

    /// Where an instance has its database in this run.
    pub(crate) fn folder_of(&self, instance: &str, run: u64) -> PathBuf {
        self.path.join(format!("{instance}-r{run}"))
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scratch").field(&self.path).finish()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A database that is still open, on a thread that was left behind, goes on with its open files and fails at
        // others.
        if self.is_taken {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A folder that no other job has.
fn unique(parent: &Path) -> PathBuf {
    static JOBS: AtomicU64 = AtomicU64::new(0);
    let job = JOBS.fetch_add(1, Ordering::Relaxed);
    parent.join(format!("watershed-{}-{job}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_is_that_of_one_job_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let place = || ScratchPlace::of(&Config::local().scratch(folder.path()));
        let first = place().take(true).unwrap();
        first.check_writable().unwrap();
        let database = first.folder_of("count-0", 1);
        fs::create_dir(&database).unwrap();
        let refused = place().take(true).unwrap_err().to_string();
        assert!(
            refused.contains("in use by another job") && refused.contains("Config::scratch"),
            "{refused}"
        );
        assert!(refused.contains(&*folder.path().to_string_lossy()), "{refused}");
        // One that needs none is not kept from its work, and takes nothing away.
        drop(place().take(false).unwrap());
        assert!(database.exists());
        drop(first);
        assert!(!database.exists());
        drop(place().take(true).unwrap());
    }
}
