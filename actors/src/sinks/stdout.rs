//! Standard output.

#[cfg(test)]
mod tests;

use std::fmt::{self, Display};
use std::io::{self, Write};

use watershed_state::Data;

use crate::error::UserResult;
use crate::sink::{OutputClosed, Sink, SinkContext, SinkWriter};
use crate::sinks::json::json_into;
use crate::sinks::text::display_into;

/// Prints each record on a line of standard output: **at least once**. Lines of several instances never mix. When the
/// program that reads them ends, as `head` does, the job ends at once, as if it were cancelled, and without an error.
pub struct Stdout<T> {
    encode: Encode<T>,
}

/// Appends a record without the line end, and nothing if that fails.
type Encode<T> = fn(&mut Vec<u8>, &T) -> UserResult;

impl<T: Data> Stdout<T> {
    /// Prints what `Display` shows.
    pub fn new() -> Self
    where
        T: Display,
    {
        Self { encode: |line, record| Ok(display_into(line, record)?) }
    }

    /// Prints each record as JSON. One with a float that is NaN or infinite is refused, as JSON does not have those.
    pub fn jsonl() -> Self {
        Self { encode: |line, record| Ok(json_into(line, record)?) }
    }
}

impl<T: Data + Display> Default for Stdout<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Data> Sink for Stdout<T> {
    type In = T;
    type Writer = StdoutWriter<T>;

    fn open(&self, _context: &SinkContext) -> UserResult<StdoutWriter<T>> {
        Ok(StdoutWriter { lines: Vec::new(), encode: self.encode })
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
    encode: Encode<T>,
}

const GATHERED_BYTES: usize = 64 << 10;

impl<T: Data> SinkWriter for StdoutWriter<T> {
    type In = T;

    fn write(&mut self, record: T) -> UserResult {
        (self.encode)(&mut self.lines, &record)?;
        self.lines.push(b'\n');
        if self.lines.len() >= GATHERED_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> UserResult {
        self.print(&mut io::stdout().lock())
    }
}

impl<T> StdoutWriter<T> {
    fn print(&mut self, out: &mut impl Write) -> UserResult {
        let printed = out.write_all(&self.lines).and_then(|()| out.flush());
        self.lines.clear();
        printed.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => OutputClosed.into(),
            _ => StdoutError(error).into(),
        })
    }
}

impl<T> fmt::Debug for StdoutWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdoutWriter").field("bytes", &self.lines.len()).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct StdoutError(#[source] io::Error);
