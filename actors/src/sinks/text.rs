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
