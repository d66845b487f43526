//! Records as lines of text.

use std::fmt::{self, Display, Write};

use serde::Serialize;

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

/// Adds a record as JSON, and nothing of it if that fails.
///
/// # Errors
/// That of the record's `Serialize`, or what JSON cannot hold.
pub(super) fn json_into(bytes: &mut Vec<u8>, record: &impl Serialize) -> serde_json::Result<()> {
    let before = bytes.len();
    serde_json::to_writer(&mut *bytes, record).inspect_err(|_| bytes.truncate(before))
}
