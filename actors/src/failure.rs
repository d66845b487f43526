//! Failures: what the supervisor is told of an instance that stopped.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};
use watershed_state::{StateFault, StoreError, shown};

use crate::error::{Thrown, UserError, chain_of, find, is_no_space};
use crate::operator_state::OperatorStateError;
use crate::sink::OutputClosed;
use crate::sinks::FilesError;
use crate::supervision::{Directive, Stage, Suspect};

/// Why an instance stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, for people: one line, with what others wrote [escaped](watershed_state::shown).
    pub cause: String,
    /// How it happened.
    pub kind: FailureKind,
    /// The key of the record in process, as JSON, where known.
    pub key: Option<String>,
    /// What the operator's policy says of it, where that is not to restart.
    pub blame: Option<Box<Blame>>,
}

/// Whose fault a failure is, as far as that can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blame {
    /// The part of the operator's work that failed.
    pub stage: Stage,
    /// What the operator's policy says of failures there.
    pub directive: Directive,
    /// The record that was in process, where that is known.
    pub suspect: Option<Suspect>,
    /// Where it panicked.
    pub backtrace: Option<String>,
}

/// How an instance failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// User code panicked.
    Panic,
    /// User code returned an error.
    Error,
    /// Input or output of a source or a sink failed: no record's fault, and nothing in the job can help it. It is tried
    /// again until it works. An [`io::Error`] of the kinds `InvalidData`, `InvalidInput` and `Unsupported` is none of
    /// these but an [`Error`](Self::Error): it speaks of what was read or is to be written, and would come again.
    Io,
    /// There is no room on a disk. It takes somebody outside to change that, so it is tried again until there is.
    #[serde(rename = "no space")]
    NoSpace,
    /// The disk refuses what state needs of it: no record's fault, and perhaps it works the next time.
    Disk,
    /// Nobody reads the output of a sink any more: the job ends without an error.
    #[serde(rename = "output closed")]
    OutputClosed,
    /// What a checkpoint holds cannot be taken over: trying again would change nothing.
    State,
    /// It did not come back from what it was doing: its thread is left behind.
    Hung,
    /// The engine found its own protocol broken, or lost an actor.
    Internal,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Panic => "panic",
            Self::Error => "error",
            Self::Io => "io",
            Self::NoSpace => "no space",
            Self::Disk => "disk",
            Self::OutputClosed => "output closed",
            Self::State => "state",
            Self::Hung => "hung",
            Self::Internal => "internal",
        })
    }
}

impl Failure {
    /// From an error that user code returned.
    pub fn user(error: &UserError) -> Self {
        if find::<FilesError>(&**error).is_some_and(FilesError::is_final) {
            return Self::stop(Stage::Sink, chain_of(&**error));
        }
        let kind = match find::<OperatorStateError>(&**error) {
            Some(_) => FailureKind::State,
            None if find::<OutputClosed>(&**error).is_some() => FailureKind::OutputClosed,
            None if is_no_space(&**error) => FailureKind::NoSpace,
            None => FailureKind::Error,
        };
        Self { cause: chain_of(&**error), kind, key: None, blame: None }
    }

    /// From an error that a source or a sink returned.
    pub fn connector(error: &UserError) -> Self {
        let failure = Self::user(error);
        let is_io = failure.kind == FailureKind::Error && failure.blame.is_none() && is_io(&**error);
        Self { kind: if is_io { FailureKind::Io } else { failure.kind }, ..failure }
    }

    /// Something that the policy allows no more of: the job ends.
    pub fn stop(stage: Stage, cause: String) -> Self {
        let blame = Blame { stage, directive: Directive::Stop, suspect: None, backtrace: None };
        Self { cause, kind: FailureKind::Error, key: None, blame: Some(Box::new(blame)) }
    }

    /// What a checkpoint holds does not fit.
    pub fn state(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), kind: FailureKind::State, key: None, blame: None }
    }

    /// State on disk could not be read or written. What is damaged stays so; what the disk refuses may work the next
    /// time.
    pub fn store(error: &StoreError) -> Self {
        let kind = match error {
            _ if is_no_space(error) => FailureKind::NoSpace,
            StoreError::Io { .. } => FailureKind::Disk,
            _ => FailureKind::State,
        };
        Self { cause: chain_of(error), kind, key: None, blame: None }
    }

    /// It does not come back from what it is doing.
    pub fn hung(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), kind: FailureKind::Hung, key: None, blame: None }
    }

    /// A broken protocol: always our bug.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), kind: FailureKind::Internal, key: None, blame: None }
    }

    /// From what `catch_unwind` caught.
    pub fn caught(payload: Box<dyn Any + Send>) -> Self {
        match payload.downcast::<Thrown>() {
            Ok(thrown) => Self::user(&thrown.0),
            Err(payload) => match payload.downcast::<StateFault>() {
                Ok(fault) => Self::fault(*fault),
                Err(payload) => Self::panic(&*payload),
            },
        }
    }

    fn fault(fault: StateFault) -> Self {
        match fault {
            StateFault::Store(error) => Self::store(&error),
            other => Self::state(chain_of(&other)),
        }
    }

    fn panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let mut cause =
            text.map_or_else(|| "a panic without a message".to_string(), |text| shown(text).to_string());
        if let Some(advice) = advice(&cause) {
            cause.push_str(". ");
            cause.push_str(advice);
        }
        Self { cause, kind: FailureKind::Panic, key: None, blame: None }
    }
}

/// What to do about a panic of tokio's that says nothing of operators.
fn advice(cause: &str) -> Option<&'static str> {
    let says = |what: &str| cause.contains(what);
    if says("Cannot start a runtime from within a runtime") || says("Cannot drop a runtime in a context") {
        return Some(
            "Operators may block, but not where `async` code has called them: run the topology, and make what blocks, on a thread \
             outside of any tokio runtime (`spawn_blocking`)",
        );
    }
    if says("there is no reactor running") || says("must be called from the context of a Tokio") {
        return Some(
            "Operators run outside of any tokio runtime: keep a `tokio::runtime::Runtime` where the operator is made, and call \
             `block_on` of that",
        );
    }
    None
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.kind {
            FailureKind::Panic => "panicked",
            FailureKind::Error
            | FailureKind::Io
            | FailureKind::NoSpace
            | FailureKind::Disk
            | FailureKind::OutputClosed => "failed",
            FailureKind::State => "cannot be restored",
            FailureKind::Hung => "hung",
            FailureKind::Internal => "broke",
        };
        write!(f, "{how}: {}", shown(&self.cause))?;
        match &self.key {
            Some(key) => write!(f, " (key {})", shown(key)),
            None => Ok(()),
        }
    }
}

/// Whether an error came from input or output of the machine, and not from the data that it was to take.
pub(crate) fn is_io(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Unsupported};
    let of_data = |error: &io::Error| matches!(error.kind(), InvalidData | InvalidInput | Unsupported);
    // Of files it is what lies in the folder that is invalid, or what the file system can do: no record's fault.
    find::<io::Error>(error).is_some_and(|io| !of_data(io) || find::<FilesError>(error).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(kind: io::ErrorKind) -> Failure {
        let source = io::Error::new(kind, "the disk says no");
        let error = StoreError::Io { path: "count[0]".into(), doing: "read", source };
        Failure::caught(Box::new(StateFault::from(error)))
    }

    #[test]
    fn each_kind_is_written_in_json_as_it_is_shown() {
        use FailureKind::{Disk, Error, Hung, Internal, Io, NoSpace, OutputClosed, Panic, State};
        for kind in [Panic, Error, Io, NoSpace, Disk, OutputClosed, State, Hung, Internal] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
        }
    }

    #[test]
    fn only_input_and_output_of_sources_and_sinks_is_told_from_other_errors() {
        let broken = || -> UserError { Box::new(io::Error::from(io::ErrorKind::ConnectionReset)) };
        assert_eq!(Failure::connector(&broken()).kind, FailureKind::Io);
        assert_eq!(Failure::user(&broken()).kind, FailureKind::Error);
        assert_eq!(Failure::connector(&"no number".into()).kind, FailureKind::Error);
        let full: UserError = Box::new(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(Failure::connector(&full).kind, FailureKind::NoSpace);
    }

    #[test]
    fn invalid_data_is_no_input_or_output_that_works_another_time() {
        use io::ErrorKind::{InvalidData, InvalidInput, Unsupported};
        for kind in [InvalidData, InvalidInput, Unsupported] {
            let error: UserError = Box::new(io::Error::new(kind, "stream did not contain valid UTF-8"));
            assert_eq!(Failure::connector(&error).kind, FailureKind::Error, "{kind:?}");
            let of_folder = FilesError::Io { doing: "open", path: "/out".into(), source: kind.into() };
            assert!(is_io(&of_folder), "{kind:?}");
        }
    }

    #[test]
    fn faults_of_a_database_are_no_records_fault_and_what_is_damaged_is_final() {
        assert_eq!(caught(io::ErrorKind::Other).kind, FailureKind::Disk);
        assert_eq!(caught(io::ErrorKind::StorageFull).kind, FailureKind::NoSpace);
        assert!(caught(io::ErrorKind::Other).cause.contains("cannot read count[0]: the disk says no"));
        let error = watershed_state::decode::<u64>(&mut [0xc1].as_slice()).unwrap_err();
        assert_eq!(Failure::caught(Box::new(StateFault::from(error))).kind, FailureKind::State);
    }

    #[test]
    fn a_panic_of_tokios_says_what_to_do_about_it() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (outer, inner) = (runtime(), runtime());
        let within = outer.block_on(async { crate::guard(|| inner.block_on(async {})) }).unwrap_err();
        assert!(within.cause.contains("Cannot start a runtime from within a runtime"), "{within}");
        assert!(within.cause.contains("on a thread outside of any tokio runtime"), "{within}");
        let without = crate::guard(|| drop(tokio::spawn(async {}))).unwrap_err();
        assert!(without.cause.contains("there is no reactor running"), "{without}");
        assert!(without.cause.contains("keep a `tokio::runtime::Runtime`"), "{without}");
    }
}
