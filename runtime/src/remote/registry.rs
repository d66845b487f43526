//! Where the running jobs of a user are found without knowing their folders.
//!
//! A job that listens leaves a link to its socket, `<process>-<number>`, in a folder that is its user's alone:
//! `watershed` in `$XDG_RUNTIME_DIR`, or else `watershed-<user id>` in the system's temporary folder. The link goes
//! with the job; those of dead processes are swept away by the next one that starts.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::remote::connect::connect;

/// The link of a running job. It is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Listing(PathBuf);

impl Listing {
    /// Lists the job that listens on this socket, which is an absolute path. Without a folder for it the job is not
    /// found by itself, and nothing else.
    pub(super) fn of(socket: &Path) -> Option<Self> {
        folders().iter().find_map(|folder| Self::in_folder(folder, socket).ok())
    }

    fn in_folder(folder: &Path, socket: &Path) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !is_ours_alone(folder) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        for (link, socket) in links(folder) {
            if !is_listened_on(&socket) {
                // Another process may have been faster.
                let _ = fs::remove_file(link);
            }
        }
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let link = folder.join(name);
        // One of an earlier process with the same number.
        let _ = fs::remove_file(&link);
        symlink(socket, &link)?;
        Ok(Self(link))
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // Else the next job sweeps it away.
        let _ = fs::remove_file(&self.0);
    }
}

/// The sockets of the jobs of this user that run on this machine, as far as they can be found.
pub fn running_jobs() -> Vec<PathBuf> {
    let listed =
        folders().into_iter().filter(|folder| is_ours_alone(folder)).flat_map(|folder| links(&folder));
    let mut sockets: Vec<PathBuf> =
        listed.map(|(_, socket)| socket).filter(|socket| is_listened_on(socket)).collect();
    sockets.sort();
    sockets.dedup();
    sockets
}

/// Where links may be.
fn folders() -> Vec<PathBuf> {
    let Some(user) = user() else { return Vec::new() };
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    // That of another user, as `su` leaves it behind, is not ours to use.
    let is_ours = |folder: &PathBuf| {
        folder.is_absolute()
            && fs::metadata(folder).is_ok_and(|folder| folder.is_dir() && folder.uid() == user)
    };
    let runtime = runtime.filter(is_ours).map(|folder| folder.join("watershed"));
    runtime.into_iter().chain([std::env::temp_dir().join(format!("watershed-{user}"))]).collect()
}

/// The user of this process.
fn user() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|process| process.uid())
}

/// Whether it is a folder, and nobody else can put anything there.
fn is_ours_alone(folder: &Path) -> bool {
    fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && Some(found.uid()) == user() && found.mode() & 0o022 == 0)
}

fn links(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter_map(|link| fs::read_link(&link).ok().map(|socket| (link, socket))).collect()
}

/// Whether a process is behind a socket. One that does not answer is.
fn is_listened_on(socket: &Path) -> bool {
    match connect(socket) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::TimedOut,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_job_is_listed_as_long_as_it_runs_and_what_dead_ones_have_left_is_swept_away() {
        let folder = TempDir::new().unwrap();
        let (jobs, socket) = (folder.path().join("jobs"), folder.path().join("control.sock"));
        let dead = folder.path().join("dead.sock");
        drop(UnixListener::bind(&dead).unwrap());
        DirBuilder::new().mode(0o700).create(&jobs).unwrap();
        symlink(&dead, jobs.join("1-0")).unwrap();
        symlink(folder.path().join("gone"), jobs.join("1-1")).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let listing = Listing::in_folder(&jobs, &socket).unwrap();
        assert_eq!(links(&jobs).into_iter().map(|(_, socket)| socket).collect::<Vec<_>>(), [socket]);
        drop(listing);
        assert_eq!(names(&jobs), 0);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_used() {
        let folder = TempDir::new().unwrap();
        let jobs = folder.path().join("jobs");
        fs::create_dir(&jobs).unwrap();
        fs::set_permissions(&jobs, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = Listing::in_folder(&jobs, &folder.path().join("control.sock")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        symlink(folder.path(), folder.path().join("link")).unwrap();
        assert!(!is_ours_alone(&folder.path().join("link")), "nor is one that is somewhere else");
    }
}
