//! How long it takes to be answered by an instance, and what is said where it takes longer.

use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// How long an instance may take to answer. One that is at a record for longer is not waited for.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// An instance does not come to answer.
pub(crate) fn late(operator: &str) -> Error {
    Error::new(
        ErrorKind::User,
        format!(
            "`{operator}` has not answered within {} seconds: it is busy with a record, or hangs; ask again later",
            ANSWER.as_secs()
        ),
    )
}
