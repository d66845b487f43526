//! Where the socket is, and how it gets there.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::remote::connect::{connect, folder_of, unique_name, with_short_path};
use crate::remote::registry::Listing;

/// Name of the socket in the checkpoint folder.
pub const SOCKET_NAME: &str = "control.sock";

/// The socket of the job that keeps its checkpoints in this folder.
pub fn socket_in(checkpoints: &Path) -> PathBuf {
    checkpoints.join(SOCKET_NAME)
}

/// A socket that this process listens on. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) listener: UnixListener,
    pub(super) path: PathBuf,
    /// Device and number of the file: another process may have put its own there.
    file: (u64, u64),
    /// Lets it be found without knowing its path.
    _listing: Option<Listing>,
}

impl Socket {
    /// Listens there, for this user alone. What a process that is dead has left there is replaced.
    ///
    /// # Errors
    /// If somebody listens there, something else is there, or the folder takes no socket.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let folder = fs::canonicalize(folder_of(path))?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let path = folder.join(name);
        let (listener, file) = listen_at(&path)?;
        let listing = Listing::of(&path);
        Ok(Self { listener, file, path, _listing: listing })
    }

    /// Listens anew if the file is not there any more, which may have gone with its folder.
    ///
    /// # Errors
    /// As of [`Socket::bind`].
    pub(super) fn renew(&mut self) -> io::Result<()> {
        if !self.is_there() {
            (self.listener, self.file) = listen_at(&self.path)?;
        }
        Ok(())
    }

    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.is_there() {
            // If it cannot be removed, the next job replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Also gives the device and the number of the file.
fn listen_at(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    check_free(path)?;
    // In a folder that nobody else can look into until the rights of the socket are set; the rename replaces a
    // socket that was left behind.
    let private = folder_of(path).join(format!(".{}", unique_name()));
    DirBuilder::new().mode(0o700).create(&private)?;
    let bound = bind_in(&private, path);
    // It is empty but for a socket that could not be moved.
    let _ = fs::remove_dir_all(&private);
    let listener = bound?;
    let file = fs::symlink_metadata(path)?;
    Ok((listener, (file.dev(), file.ino())))
}

fn bind_in(private: &Path, path: &Path) -> io::Result<UnixListener> {
    let made = private.join("socket");
    let listener = with_short_path(&made, |short| UnixListener::bind(short))?;
    fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    fs::rename(&made, path)?;
    Ok(listener)
}

/// Refuses to replace anything but a socket that nobody listens on.
fn check_free(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another job listens there")),
    }
}
