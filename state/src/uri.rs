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
    /// What a URI names: `file:///a/folder`, or a path, is a folder of the local disk, and `memory://a/name` a place in
    /// the memory of this process, shared by all its jobs and gone with it.
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

    /// Whether two URIs name the same place, however they are written: `/a`, `file:///a` and `file:///a/` do. What a
    /// relative path is relative to, and links of the file system, are not looked at.
    pub fn is_same(uri: &str, other: &str) -> bool {
        match (Scheme::of(uri), Scheme::of(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => uri == other,
        }
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
#[derive(PartialEq)]
enum Scheme {
    Folder(PathBuf),
    Memory(String),
}

impl Scheme {
    fn of(uri: &str) -> Result<Self, StoreError> {
        let refused = |why| Err(StoreError::Uri { uri: uri.to_owned(), why });
        // A colon behind the first slash is part of a path.
        let scheme = uri.split_once(':').filter(|(scheme, _)| !scheme.contains('/'));
        let (scheme, rest) = scheme.map_or((None, uri), |(scheme, rest)| (Some(scheme), rest));
        let below = rest.strip_prefix("//");
        match (scheme, below) {
            _ if rest.trim_matches('/').is_empty() => refused("it names no folder"),
            (None, _) => Ok(Self::Folder(uri.into())),
            (Some("file"), _) => match below.unwrap_or(rest) {
                path if path.starts_with('/') => Ok(Self::Folder(path.into())),
                _ => refused("after `file://` comes an absolute path, as in `file:///var/savepoints`"),
            },
            (Some("memory"), Some(name)) => Ok(Self::Memory(name.trim_matches('/').to_owned())),
            _ => refused(
                "this build knows `file://` and `memory://`; a path that begins with a name with a colon is written with `./` \
                 before it",
            ),
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
        assert_eq!(folder("file:/var/savepoints"), Path::new("/var/savepoints"));
        assert_eq!(folder("./at 10:00"), Path::new("./at 10:00"));
        assert_eq!(folder("/var/a://b"), Path::new("/var/a://b"));
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
    fn a_place_is_the_same_however_it_is_written() {
        for uri in ["/sp/1", "/sp/1/", "/sp//1", "file:/sp/1", "file:///sp/1", "file:///sp/1/"] {
            assert!(SnapshotPlace::is_same("/sp/1", uri) && SnapshotPlace::is_same(uri, "file:///sp/1"));
            assert!(!SnapshotPlace::is_same(uri, "/sp/2") && !SnapshotPlace::is_same(uri, "memory://sp/1"));
        }
        assert!(SnapshotPlace::is_same("memory://a/b", "memory:///a/b/"));
        assert!(SnapshotPlace::is_same("s3://a", "s3://a") && !SnapshotPlace::is_same("s3://a", "s3://b"));
    }

    #[test]
    fn what_names_no_folder_is_refused_with_the_reason() {
        let complaint = |uri| SnapshotPlace::parse(uri).unwrap_err().to_string();
        assert!(complaint("s3://bucket/x").contains("knows `file://` and `memory://`"));
        for uri in ["s3:/bucket/x", "s3:x", "memory:name", "at 10:00/x", ":/x"] {
            assert!(complaint(uri).contains("knows `file://` and `memory://`"), "{uri}");
        }
        assert!(complaint("file://relative").contains("absolute path"));
        assert!(complaint("file:relative").contains("absolute path"));
        assert!(
            complaint("memory://").contains("names no folder") && complaint("").contains("names no folder")
        );
    }
}
