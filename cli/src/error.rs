//! What goes wrong.

use std::fmt;
use std::io;
use std::process::ExitCode;

use watershed_runtime::dead_letters::DeadLetterError;
use watershed_runtime::remote::{Refusal, RemoteError};
use watershed_state::{StoreError, chain_of};

use crate::place::PlaceError;
use crate::snapshot::SnapshotError;

/// Why the tool ends before its work is done.
#[derive(Debug)]
pub(crate) enum Error {
    /// The job does not answer.
    Remote(RemoteError),
    /// The job could not be told of what is asked for.
    NotTold(RemoteError),
    /// Instead of a number there is this.
    NoNumber(String),
    /// It is not clear which job is meant.
    Place(PlaceError),
    /// The job has ended, but not as it was asked to. What was wrong has been shown.
    JobFailed,
    /// There are no dead letters, or none that can be used.
    DeadLetters(DeadLetterError),
    /// There is no snapshot as it is asked for, or none that can be read.
    Snapshot(SnapshotError),
    /// A savepoint cannot be made.
    Savepoint(watershed_runtime::Error),
    /// What is to be shown cannot be.
    Output(io::Error),
}

impl Error {
    /// Whether nobody has to be told: whoever read the output has had enough.
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// How the tool exits. Of snapshots, 1 is an answer: one is damaged, or two differ.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Snapshot(_) | Self::Savepoint(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error: &dyn std::error::Error = match self {
            Self::Remote(error) | Self::NotTold(error) => error,
            Self::Place(error) => error,
            Self::NoNumber(text) => return write!(f, "`{text}` is no number of instances"),
            Self::JobFailed => return f.write_str("the job has failed"),
            Self::DeadLetters(error) => error,
            Self::Snapshot(error) => error,
            Self::Savepoint(error) => error,
            Self::Output(error) => error,
        };
        if matches!(self, Self::NotTold(_)) {
            f.write_str("what is asked for is written down, but the running job could not be told: ")?;
        }
        f.write_str(&chain_of(error))?;
        match self {
            Self::NotTold(error) => f.write_str(what_to_do(error)),
            _ => Ok(()),
        }
    }
}

/// What helps if a job cannot be told.
fn what_to_do(error: &RemoteError) -> &'static str {
    match error {
        RemoteError::Unreachable { .. } => {
            "; ask as the user whom the job belongs to, or start the job again"
        }
        RemoteError::Refused(Refusal::Busy | Refusal::NoAnswer)
        | RemoteError::Broken(_)
        | RemoteError::Silent { .. } => "; ask again in a while, or start the job again",
        _ => "; it does so when it starts again",
    }
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

impl From<PlaceError> for Error {
    fn from(error: PlaceError) -> Self {
        Self::Place(error)
    }
}

impl From<DeadLetterError> for Error {
    fn from(error: DeadLetterError) -> Self {
        Self::DeadLetters(error)
    }
}

impl From<SnapshotError> for Error {
    fn from(error: SnapshotError) -> Self {
        Self::Snapshot(error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Snapshot(error.into())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}
