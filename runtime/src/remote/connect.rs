//! Connecting to a socket, wherever it is.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How long a connection may take to come about. One that is not taken up has no limit else: the process may be
/// suspended, and those who wait to be let in so many that the system lets nobody wait any more.
const CONNECT: Duration = Duration::from_secs(10);

/// Connects to whoever listens there.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let (done, connected) = sync_channel(1);
    let path = path.to_path_buf();
    // Left behind if it does not come back.
    std::thread::Builder::new().name("watershed-connect".to_string()).spawn(move || {
        let _ = done.send(with_short_path(&path, |short| UnixStream::connect(short)));
    })?;
    let nobody = |_| {
        io::Error::new(
            io::ErrorKind::TimedOut,
            "a process listens there and takes nobody in: it may be suspended",
        )
    };
    connected.recv_timeout(CONNECT).map_err(nobody)?
}

/// Bytes that the path of a socket may have on all systems: about a hundred, while folders may be nested much deeper.
const PATH_BYTES: usize = 100;

/// Uses a path as it is if it is short enough for a socket, else by way of a symbolic link that is there meanwhile.
pub(super) fn with_short_path<R>(path: &Path, used: impl FnOnce(&Path) -> io::Result<R>) -> io::Result<R> {
    if path.as_os_str().len() <= PATH_BYTES {
        return used(path);
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let link = std::env::temp_dir().join(unique_name());
    symlink(fs::canonicalize(folder_of(path))?, &link)?;
    let result = used(&link.join(name));
    // A link that is left behind leads nowhere that matters.
    let _ = fs::remove_file(&link);
    result
}

pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A name that no other thread and no other living process uses.
pub(super) fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("watershed-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
