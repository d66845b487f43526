//! Cuts bytes into lines of text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memchr_iter;

/// Cuts lines off bytes. A line ends with `\n` or `\r\n`, neither of which belongs to it.
#[derive(Debug)]
pub(super) struct Cutter {
    invalid: InvalidUtf8,
    longest: usize,
    /// Lines left out by this cutter.
    skipped: u64,
    /// Lines left out by all cutters of the source.
    skipped_in_all: Arc<AtomicU64>,
    /// Where the lines at hand end; kept to reuse its memory.
    ends: Vec<usize>,
}

/// What to do with a line that is not UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InvalidUtf8 {
    /// The source fails and says where the line is.
    #[default]
    Fail,
    /// The line is left out and counted.
    SkipAndCount,
}

/// How much [`Cutter::cut`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Bytes, line ends included.
    pub(super) bytes: usize,
    /// Lines, those left out included.
    pub(super) lines: usize,
}

/// A line that can't be given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadLine {
    /// The byte at this index is not part of valid UTF-8.
    NotUtf8(usize),
    /// The line that begins at this index is longer than allowed.
    TooLong(usize),
}

impl Cutter {
    /// A cutter that adds the lines it leaves out to `skipped_in_all` and refuses lines of more than `longest` bytes.
    pub(super) fn new(invalid: InvalidUtf8, skipped_in_all: &Arc<AtomicU64>, longest: usize) -> Self {
        Self { invalid, longest, skipped: 0, skipped_in_all: Arc::clone(skipped_in_all), ends: Vec::new() }
    }

    /// Gives out at most `lines` complete lines from the front of `bytes`, of those that begin before index `before`.
    pub(super) fn cut(
        &mut self,
        bytes: &[u8],
        lines: usize,
        before: usize,
        mut push: impl FnMut(String),
    ) -> Result<Cut, BadLine> {
        self.ends.clear();
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            if self.ends.len() == lines || start >= before {
                break;
            }
            if end - start > self.longest {
                return Err(BadLine::TooLong(start));
            }
            self.ends.push(end);
            start = end + 1;
        }
        let cut = Cut { bytes: start, lines: self.ends.len() };
        let mut from = 0;
        if let Ok(text) = str::from_utf8(&bytes[..start]) {
            // All lines are checked at once, which is much faster than one by one when lines are short.
            for &end in &self.ends {
                push(without_return(&text[from..end]).to_owned());
                from = end + 1;
            }
            return Ok(cut);
        }
        for index in 0..self.ends.len() {
            let end = self.ends[index];
            if let Some(line) = self.check(bytes, from, end)? {
                push(without_return(line).to_owned());
            }
            from = end + 1;
        }
        Ok(cut)
    }

    /// Gives out all of `bytes` as the last line, the one without a line end.
    pub(super) fn last(&mut self, bytes: &[u8], push: impl FnOnce(String)) -> Result<(), BadLine> {
        if bytes.len() > self.longest {
            return Err(BadLine::TooLong(0));
        }
        if let Some(line) = self.check(bytes, 0, bytes.len())? {
            push(line.to_owned());
        }
        Ok(())
    }

    /// Says in the log, once there are no more lines, how many were left out.
    pub(super) fn finish(&self, input: impl fmt::Display) {
        if self.skipped > 0 {
            tracing::warn!(%input, skipped = self.skipped, "skipped lines that are not UTF-8");
        }
    }

    /// A line as text, or `None` if it is to be left out.
    fn check<'a>(&mut self, bytes: &'a [u8], from: usize, end: usize) -> Result<Option<&'a str>, BadLine> {
        match (str::from_utf8(&bytes[from..end]), self.invalid) {
            (Ok(line), _) => Ok(Some(line)),
            (Err(error), InvalidUtf8::Fail) => Err(BadLine::NotUtf8(from + error.valid_up_to())),
            (Err(_), InvalidUtf8::SkipAndCount) => {
                self.skipped += 1;
                self.skipped_in_all.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
        }
    }
}

fn without_return(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}
