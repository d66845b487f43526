//! Standard output.

#[cfg(test)]
mod tests;

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::marker::PhantomData;

use watershed_state::Data;

use crate::error::UserResult;
use crate::sink::{Sink, SinkContext, SinkWriter};
use crate::sinks::text::display_into;

/// Prints each record on a line of standard output: **at least once**. Lines of several instances never mix.
pub struct Stdout<T>(PhantomData<fn(T)>);

impl<T> Stdout<T> {
    /// Prints to standard output.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Stdout<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Data + Display> Sink for Stdout<T> {
    type In = T;
    type Writer = StdoutWriter<T>;

    fn open(&self, _context: &SinkContext) -> UserResult<StdoutWriter<T>> {
        Ok(StdoutWriter { lines: Vec::new(), record: PhantomData })
    }
}

impl<T> fmt::Debug for Stdout<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stdout")
    }
}

/// Gathers lines and prints them together, so that standard output is locked once for many of them.
pub struct StdoutWriter<T> {
    lines: Vec<u8>,
    record: PhantomData<fn(T)>,
}

const GATHERED_BYTES: usize = 64 << 10;

impl<T: Data + Display> SinkWriter for StdoutWriter<T> {
    type In = T;

    fn write(&mut self, record: T) -> UserResult {
        display_into(&mut self.lines, &record)?;
        self.lines.push(b'\n');
        if self.lines.len() >= GATHERED_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> UserResult {
        Ok(self.print(&mut io::stdout().lock())?)
    }
}

impl<T> StdoutWriter<T> {
    fn print(&mut self, out: &mut impl Write) -> Result<(), StdoutError> {
        let printed = out.write_all(&self.lines).and_then(|()| out.flush());
        self.lines.clear();
        printed.map_err(StdoutError)
    }
}

impl<T> fmt::Debug for StdoutWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdoutWriter").field("bytes", &self.lines.len()).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output; was the program that reads it closed?")]
struct StdoutError(#[source] io::Error);
