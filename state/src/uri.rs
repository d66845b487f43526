//! Places for snapshots, as they are written down.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::{Fs, LocalFs, SimulatedDisk, StoreError};

/// Where snapshots are: a folder of some file system.
#[derive(Clone, Debug)]
pub struct SnapshotPlace {
    /// The file system.
    pub fs: Fs,
    /// The folder.
    pub folder: PathBuf,
}

impl SnapshotPlace {
    /// What a URI names: `file:///a/folder`, or a path, is a folder of the local disk, and `memory://a/folder` one in the
    /// memory of this process, shared by all its jobs and gone with it.
    ///
    /// # Errors
    /// If it is of another kind, or names no folder.
    pub fn parse(uri: &str) -> Result<Self, StoreError> {
        Self::parse_on(uri, &(Arc::new(LocalFs) as Fs))
    }

    /// [`parse`](Self::parse) where another file system stands for the local disk, as a simulated one does.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_on(uri: &str, local: &Fs) -> Result<Self, StoreError> {
        let (scheme, rest) = uri.split_once("://").unwrap_or(("file", uri));
        let refused = |why| Err(StoreError::Uri { uri: uri.to_owned(), why });
        match scheme {
            _ if rest.trim_matches('/').is_empty() => refused("it names no folder"),
            "file" if uri.contains("://") && !rest.starts_with('/') => {
                refused("after `file://` comes an absolute path, as in `file:///var/savepoints`")
            }
            "file" => Ok(Self { fs: Fs::clone(local), folder: rest.into() }),
            "memory" => {
                Ok(Self { fs: memory(), folder: PathBuf::from("/").join(rest.trim_start_matches('/')) })
            }
            _ => refused("this build knows `file://` and `memory://`"),
        }
    }
}

/// The memory that all `memory://` places of this process are in.
fn memory() -> Fs {
    static MEMORY: OnceLock<SimulatedDisk> = OnceLock::new();
    MEMORY.get_or_init(|| SimulatedDisk::new(0)).fs()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_uri_names_a_folder_of_the_local_disk_or_of_memory() {
        let folder = |uri| SnapshotPlace::parse(uri).unwrap().folder;
        assert_eq!(folder("/var/savepoints/7"), Path::new("/var/savepoints/7"));
        assert_eq!(folder("savepoints"), Path::new("savepoints"));
        assert_eq!(folder("file:///var/savepoints"), Path::new("/var/savepoints"));
        assert_eq!(folder("memory://tests/7"), Path::new("/tests/7"));
        let here = SnapshotPlace::parse("memory://uri-test").unwrap();
        here.fs.create_dir_all(&here.folder).unwrap();
        let again = SnapshotPlace::parse("memory://uri-test").unwrap();
        assert!(again.fs.exists(&again.folder).unwrap());
    }

    #[test]
    fn what_names_no_folder_is_refused_with_the_reason() {
        let complaint = |uri| SnapshotPlace::parse(uri).unwrap_err().to_string();
        assert!(complaint("s3://bucket/x").contains("knows `file://` and `memory://`"));
        assert!(complaint("file://relative").contains("absolute path"));
        assert!(
            complaint("memory://").contains("names no folder") && complaint("").contains("names no folder")
        );
    }
}
