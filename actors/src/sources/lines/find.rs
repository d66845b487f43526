//! Finds the files to read.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use watershed_state::shown;

use super::error::LinesError;
use super::kind;

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FoundFile {
    /// Its path; text, as it goes into snapshots.
    pub(super) path: String,
    /// Its length in bytes.
    pub(super) len: u64,
}

/// The given files, sorted, each of which can be read.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<FoundFile>, LinesError> {
    let mut found = Vec::new();
    for path in paths {
        let metadata = metadata(path)?;
        if metadata.is_dir() {
            return Err(LinesError::IsFolder { path: path.clone() });
        }
        if let Some(kind) = irregular(&metadata) {
            return Err(LinesError::NotRegular { path: path.clone(), kind });
        }
        found.push(readable(path, metadata.len())?);
    }
    found.sort();
    match found.windows(2).find(|pair| pair[0].path == pair[1].path) {
        Some(pair) => Err(LinesError::Twice { path: pair[0].path.clone() }),
        None => Ok(found),
    }
}

/// The files in a folder and below it, sorted, each of which can be read.
pub(super) fn files_in(folder: &Path) -> Result<Vec<FoundFile>, LinesError> {
    if !metadata(folder)?.is_dir() {
        return Err(LinesError::NotFolder { path: folder.to_path_buf() });
    }
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let unreadable = |source| LinesError::Unreadable { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            // Links to folders are not followed: they may lead back to where they are.
            if entry.file_type().map_err(unreadable)?.is_dir() {
                folders.push(path);
                continue;
            }
            let metadata = match metadata(&path) {
                Err(LinesError::Dangling { path, target }) => {
                    let (path, target) = (shown(path.display()), shown(target.display()));
                    tracing::warn!(%path, %target, "a link in the input of a source leads to nothing, and is left out");
                    continue;
                }
                metadata => metadata?,
            };
            if metadata.is_dir() {
                continue;
            }
            if let Some(kind) = irregular(&metadata) {
                let path = shown(path.display());
                tracing::warn!(%path, kind, "something in the input of a source is no file, and is left out");
                continue;
            }
            found.push(readable(&path, metadata.len())?);
        }
    }
    found.sort();
    Ok(found)
}

fn metadata(path: &Path) -> Result<Metadata, LinesError> {
    fs::metadata(path).map_err(|source| match fs::read_link(path) {
        Ok(target) if source.kind() == ErrorKind::NotFound => {
            LinesError::Dangling { path: path.to_path_buf(), target }
        }
        _ => LinesError::Unreadable { path: path.to_path_buf(), source },
    })
}

/// What something is called that is neither a file nor a folder. To open it might wait for ever.
fn irregular(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_file() || kind.is_dir() {
        None
    } else if kind.is_fifo() {
        Some("pipe")
    } else if kind.is_socket() {
        Some("socket")
    } else {
        Some("device")
    }
}

/// Reads the beginning of a file, so that one that may not be read or is no text is found before the job starts.
fn readable(path: &Path, len: u64) -> Result<FoundFile, LinesError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(kind::HEAD_BYTES as u64).read_to_end(&mut head));
    read.map_err(|source| LinesError::Unreadable { path: path.to_path_buf(), source })?;
    kind::check(path, &head)?;
    if len == 0 && !head.is_empty() {
        return Err(LinesError::NoLength { path: path.to_path_buf() });
    }
    // As it goes into snapshots: `./texts` and `texts` are the same.
    let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    match plain.to_str() {
        Some(text) => Ok(FoundFile { path: text.to_owned(), len }),
        None => Err(LinesError::PathNotUtf8 { path: path.to_path_buf() }),
    }
}
