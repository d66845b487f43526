//! How records become lines.

use super::error::FilesError;

/// How records are written.
pub(super) struct Format<T> {
    /// End of the names of finished files.
    pub(super) extension: &'static str,
    /// Appends a record without the line end.
    pub(super) encode: fn(&T, &mut Vec<u8>) -> Result<(), FilesError>,
}

impl<T> Clone for Format<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Format<T> {}
