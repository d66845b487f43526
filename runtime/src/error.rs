//! The one error of the public API.

use std::{fmt, io};

use watershed_state::{StoreError, shown};

/// Why a job did not start, or ended before its work was done.
pub struct Error {
    /// What to do about it.
    pub kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What the caller has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fix the topology or the configuration.
    Config,
    /// Fix the function that failed; the message names the actor and the key.
    User,
    /// Look at the outside system; starting again may help.
    Connector,
    /// Stored data cannot be read or written.
    State,
    /// Start the job again: it was asked to stop, and ended without a last checkpoint, or before everything in that was
    /// shown. It goes on from the newest complete one, which the message names.
    Unsaved,
    /// A bug of the engine.
    Internal,
}

/// What the API returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The same, with the name of the operator that it is about.
    pub(crate) fn of(self, operator: &str) -> Self {
        Self::new(self.kind, format!("`{operator}`: {self}"))
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn state(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::State, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub(crate) fn because(mut self, source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        self.source = Some(source);
        self
    }
}

/// The system has no room for something that a job needs: which limit it is, and what to do about it.
pub(crate) fn no_room(what: &str, error: io::Error) -> Error {
    // What to do about files is said with each such error.
    let cure = match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOMEM) => {
            ": allow more threads or memory (`ulimit -u`, `TasksMax=` in a unit of systemd, the limits of a container), or lower \
             `Config::slots`"
        }
        _ => "",
    };
    Error::config(format!("there is no room for {what}{cure}")).because(error.into())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may hold text of records, keys or files.
        write!(f, "{}", shown(&self.message))?;
        match &self.source {
            Some(source) => write!(f, ": {}", watershed_actors::chain_of(&**source)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    /// As it is displayed, with its kind: this is what a `main` that returns the error prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Locked { .. }
            | StoreError::DatabaseLocked { .. }
            | StoreError::NotWritable { .. }
            | StoreError::SavepointFolder { .. }
            | StoreError::CheckpointFolder { .. }
            | StoreError::Uri { .. } => ErrorKind::Config,
            _ => ErrorKind::State,
        };
        Self::new(kind, watershed_actors::chain_of(&error))
    }
}
