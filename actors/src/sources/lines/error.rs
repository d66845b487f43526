//! What can go wrong with files of lines.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(super) enum LinesError {
    #[error("cannot read {}; is the path right, and may this user read it?", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is a folder; use Lines::from_folder to read the files in it", path.display())]
    IsFolder { path: PathBuf },
    #[error("{} is not a folder; use Lines::from_file to read a file", path.display())]
    NotFolder { path: PathBuf },
    #[error("{} is neither a file nor a folder; only regular files can be read in splits", path.display())]
    NotRegular { path: PathBuf },
    #[error("the path {} is not UTF-8, so no snapshot can hold it; rename the file or folder", path.display())]
    PathNotUtf8 { path: PathBuf },
    #[error("{path} is given twice; name each file once")]
    Twice { path: String },
    #[error("a split of 0 bytes holds no line; say Lines::split_bytes with a number above 0")]
    EmptySplits,
    #[error(
        "{path} now ends at byte {found} but had at least {expected} bytes before; put it back as it was"
    )]
    Shrunk { path: String, found: u64, expected: u64 },
    #[error(
        "{path} is not UTF-8 at byte {offset}; repair the line, or leave such lines out with \
         Lines::invalid_utf8(InvalidUtf8::SkipAndCount)"
    )]
    NotUtf8 { path: String, offset: u64 },
    #[error("the line at byte {offset} of {path} is too long")]
    TooLong { path: String, offset: u64 },
}
