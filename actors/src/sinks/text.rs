//! Records as lines of text.

use std::fmt::{self, Display, Write};

/// Adds what `Display` shows of a record, and nothing of it if that fails. `write!` to bytes would panic then.
///
/// # Errors
/// That of the record's `Display`.
pub(super) fn display_into(bytes: &mut Vec<u8>, record: &impl Display) -> fmt::Result {
    struct Bytes<'b>(&'b mut Vec<u8>);

    impl Write for Bytes<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }

    let before = bytes.len();
    write!(Bytes(bytes), "{record}").inspect_err(|_| bytes.truncate(before))
}

/// Whether what was written of a record would be read back as something else than one line. Readers take a `\r` before
/// the end of a line for a part of that end.
pub(super) fn ends_inside(record: &[u8]) -> bool {
    memchr::memchr(b'\n', record).is_some() || record.last() == Some(&b'\r')
}

/// Writes what comes from `from` on without line ends, so that it can be undone.
pub(super) fn escape_line_ends(bytes: &mut Vec<u8>, from: usize) {
    if memchr::memchr3(b'\n', b'\r', b'\\', &bytes[from..]).is_none() {
        return;
    }
    for byte in bytes.split_off(from) {
        match byte {
            b'\n' => bytes.extend_from_slice(b"\\n"),
            b'\r' => bytes.extend_from_slice(b"\\r"),
            b'\\' => bytes.extend_from_slice(b"\\\\"),
            other => bytes.push(other),
        }
    }
}
