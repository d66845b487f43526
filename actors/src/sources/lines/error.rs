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
    #[error(
        "{} is a {kind}, which cannot be read again from the middle after a crash; copy what it gives into a file, and \
         read that",
        path.display()
    )]
    NotRegular { path: PathBuf, kind: &'static str },
    #[error(
        "{} says that it has no bytes and gives some, as files of /proc do, so that it cannot be read again from the middle \
         after a crash; copy what it gives into a file, and read that",
        path.display()
    )]
    NoLength { path: PathBuf },
    #[error(
        "{} is a link to {}, which does not exist; put the file there, or remove the link",
        path.display(),
        target.display()
    )]
    Dangling { path: PathBuf, target: PathBuf },
    #[error(
        "{} is a {format} file, which cannot be read in splits; unpack it first ({cure}), and read what comes out",
        path.display()
    )]
    Packed { path: PathBuf, format: &'static str, cure: &'static str },
    #[error(
        "{} begins with the byte order mark of {encoding}; turn it into UTF-8 first, for instance with `iconv -f {encoding} -t \
         UTF-8`, and read what comes out",
        path.display()
    )]
    OtherEncoding { path: PathBuf, encoding: &'static str },
    #[error("the path {} is not UTF-8, so no snapshot can hold it; rename the file or folder", path.display())]
    PathNotUtf8 { path: PathBuf },
    #[error("{path} is given twice; name each file once")]
    Twice { path: String },
    #[error("a split of 0 bytes holds no line; say Lines::split_bytes with a number above 0")]
    EmptySplits,
    #[error(
        "the input of {bytes} bytes cannot be cut into splits of {split_bytes}, as there would be more than ten million; say a \
         larger number with Lines::split_bytes"
    )]
    TooManySplits { bytes: u64, split_bytes: u64 },
    #[error(
        "{path} has {len} bytes now and had at least {expected} when it was found; put it back as it was, as what is left \
         cannot be told from what was read before"
    )]
    Shrunk { path: String, len: u64, expected: u64 },
    #[error(
        "{path} is not UTF-8 at byte {offset}; repair the line, or leave such lines out with \
         Lines::invalid_utf8(InvalidUtf8::SkipAndCount)"
    )]
    NotUtf8 { path: String, offset: u64 },
    #[error(
        "the line at byte {offset} of {path} has {length} bytes, which is more than {longest}; allow longer ones with \
         Lines::longest_line, or leave the line out with Supervision::quarantine, which keeps the beginning of it"
    )]
    TooLong { path: String, offset: u64, length: u64, longest: usize },
}
