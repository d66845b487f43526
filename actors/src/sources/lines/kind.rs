//! What a file is, as far as its first bytes tell.

use std::path::Path;

use super::error::LinesError;

/// What a file of UTF-8 may begin with.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How many bytes it takes to tell.
pub(super) const HEAD_BYTES: usize = 10;

/// What packed files begin with, how that is called, and what unpacks them.
const PACKED: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b\x08", "gzip", "`gunzip`"),
    (b"\x28\xb5\x2f\xfd", "zstd", "`unzstd`"),
    (b"\xfd7zXZ\0", "xz", "`unxz`"),
    (b"\x04\x22\x4d\x18", "lz4", "`unlz4`"),
    (b"PK\x03\x04", "zip", "`unzip`"),
];
/// What a bzip2 file has behind `BZh` and the size of its blocks: the digits of pi, which are text.
const BZIP2_BLOCK: &[u8] = b"1AY&SY";

/// Byte order marks of other encodings. That of UTF-32 begins with one of UTF-16.
const OTHER_MARKS: &[(&[u8], &str)] = &[
    (b"\xff\xfe\0\0", "UTF-32LE"),
    (b"\0\0\xfe\xff", "UTF-32BE"),
    (b"\xff\xfe", "UTF-16LE"),
    (b"\xfe\xff", "UTF-16BE"),
];

/// Refuses a file that begins with these bytes if they say that it is no text in UTF-8.
pub(super) fn check(path: &Path, head: &[u8]) -> Result<(), LinesError> {
    let path = path.to_path_buf();
    if let Some((_, format, cure)) = PACKED.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Err(LinesError::Packed { path, format, cure });
    }
    if head.starts_with(b"BZh") && head.get(4..) == Some(BZIP2_BLOCK) {
        return Err(LinesError::Packed { path, format: "bzip2", cure: "`bunzip2`" });
    }
    match OTHER_MARKS.iter().find(|(mark, _)| head.starts_with(mark)) {
        Some((_, encoding)) => Err(LinesError::OtherEncoding { path, encoding }),
        None => Ok(()),
    }
}
