//! Sinks that come with the engine.
//!
//! | writes to | sink | after a crash |
//! |---|---|---|
//! | files, one record a line | [`Files`] | exactly once |
//! | memory, for tests | [`Collector`] | exactly once |
//! | standard output | [`Stdout`] | at least once |
//! | a closure | [`SinkFn`] | at least once |

mod collector;
mod files;
mod json;
mod sink_fn;
mod stdout;
mod text;

pub use collector::{CollectedPart, Collector, CollectorSink, CollectorWriter};
pub(crate) use files::FilesError;
pub use files::{FileContent, Files, FilesPart, FilesWriter};
pub use sink_fn::{SinkFn, SinkFnWriter};
pub use stdout::{Stdout, StdoutWriter};
