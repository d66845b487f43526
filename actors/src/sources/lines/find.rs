//! Finds the files to read.

use std::fs::{self, File, Metadata};
use std::path::{Component, Path, PathBuf};

use super::error::LinesError;

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
        if !metadata.is_file() {
            return Err(LinesError::NotRegular { path: path.clone() });
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
            let metadata = metadata(&path)?;
            if metadata.is_file() {
                found.push(readable(&path, metadata.len())?);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn metadata(path: &Path) -> Result<Metadata, LinesError> {
    fs::metadata(path).map_err(|source| LinesError::Unreadable { path: path.to_path_buf(), source })
}

/// Opens a file once, so that one that may not be read is found before the job starts.
fn readable(path: &Path, len: u64) -> Result<FoundFile, LinesError> {
    File::open(path).map_err(|source| LinesError::Unreadable { path: path.to_path_buf(), source })?;
    // As it goes into snapshots: `./texts` and `texts` are the same.
    let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    match plain.to_str() {
        Some(text) => Ok(FoundFile { path: text.to_owned(), len }),
        None => Err(LinesError::PathNotUtf8 { path: path.to_path_buf() }),
    }
}
