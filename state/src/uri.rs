//! Places for snapshots, as they are written down.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{FolderStore, Fs, LocalFs, MemoryStore, Objects, StoreError};

/// Where snapshots are: a store of objects that has a name.
#[derive(Clone, Debug)]
pub struct SnapshotPlace {
    /// What is there.
    pub objects: Objects,
}

impl SnapshotPlace {
    /// What a URI names: `file:///a/folder`, or a path, is a folder of the local disk, and `memory://a/name` a place in the
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
        Ok(match Scheme::of(uri)? {
            Scheme::Folder(folder) => Self::folder(local, folder),
            Scheme::Memory(name) => MemoryStore::named(&name).shared().into(),
        })
    }

    /// The local folder that a URI names, or `None` if it names something else.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn local_folder(uri: &str) -> Result<Option<PathBuf>, StoreError> {
        Ok(match Scheme::of(uri)? {
            Scheme::Folder(folder) => Some(folder),
            Scheme::Memory(_) => None,
        })
    }

    /// A folder of this file system.
    pub fn folder(fs: &Fs, folder: impl Into<PathBuf>) -> Self {
        FolderStore::open(fs, folder).into()
    }

    /// Where it is, as it is told to people.
    pub fn location(&self) -> PathBuf {
        self.objects.location("")
    }
}

impl From<Objects> for SnapshotPlace {
    fn from(objects: Objects) -> Self {
        Self { objects }
    }
}

/// What a URI is of, and what it says of that.
enum Scheme {
    Folder(PathBuf),
    Memory(String),
}

impl Scheme {
    fn of(uri: &str) -> Result<Self, StoreError> {
        let (scheme, rest) = uri.split_once("://").unwrap_or(("file", uri));
        let refused = |why| Err(StoreError::Uri { uri: uri.to_owned(), why });
        match scheme {
            _ if rest.trim_matches('/').is_empty() => refused("it names no folder"),
            "file" if uri.contains("://") && !rest.starts_with('/') => {
                refused("after `file://` comes an absolute path, as in `file:///var/savepoints`")
            }
            "file" => Ok(Self::Folder(rest.into())),
            "memory" => Ok(Self::Memory(rest.trim_matches('/').to_owned())),
            _ => refused("this build knows `file://` and `memory://`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_uri_names_a_folder_of_the_local_disk_or_of_memory() {
        let folder = |uri| SnapshotPlace::parse(uri).unwrap().location();
        assert_eq!(folder("/var/savepoints/7"), Path::new("/var/savepoints/7"));
        assert_eq!(folder("savepoints"), Path::new("savepoints"));
        assert_eq!(folder("file:///var/savepoints"), Path::new("/var/savepoints"));
        assert_eq!(folder("memory:///tests/7"), Path::new("memory://tests/7"));
        assert_eq!(SnapshotPlace::local_folder("file:///a").unwrap(), Some("/a".into()));
        assert_eq!(SnapshotPlace::local_folder("memory://a").unwrap(), None);
        let here = SnapshotPlace::parse("memory://uri-test/below").unwrap();
        here.objects.replace("one", b"1").unwrap();
        let again = SnapshotPlace::parse("memory://uri-test/below/").unwrap();
        assert_eq!(again.objects.get("one").unwrap(), b"1");
        let above = SnapshotPlace::parse("memory://uri-test").unwrap();
        assert_eq!(above.objects.list("").unwrap().prefixes, ["below/"]);
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
