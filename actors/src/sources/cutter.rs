//! Cuts bytes into lines of text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memchr_iter;
use watershed_state::shown;

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
    /// The line is no record, and where it is is said: what becomes of that is up to the policy of the source for
    /// [`Stage::Decode`](crate::Stage::Decode). Without one the source fails.
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

/// A line that was cut off.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Text(String),
    /// The byte at this index of what was cut is not part of valid UTF-8.
    NotUtf8 {
        line: &'a [u8],
        at: usize,
    },
}

/// A line that can't be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadLine {
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
        mut push: impl FnMut(Line<'_>),
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
                push(Line::Text(without_return(&text[from..end]).to_owned()));
                from = end + 1;
            }
            return Ok(cut);
        }
        for index in 0..self.ends.len() {
            let end = self.ends[index];
            match self.check(bytes, from, end) {
                Some(Ok(line)) => push(Line::Text(without_return(line).to_owned())),
                Some(Err(bad)) => push(bad),
                None => {}
            }
            from = end + 1;
        }
        Ok(cut)
    }

    /// Gives out all of `bytes` as the last line, the one without a line end.
    pub(super) fn last(&mut self, bytes: &[u8], push: impl FnOnce(Line<'_>)) -> Result<(), BadLine> {
        if bytes.len() > self.longest {
            return Err(BadLine::TooLong(0));
        }
        match self.check(bytes, 0, bytes.len()) {
            Some(Ok(line)) => push(Line::Text(line.to_owned())),
            Some(Err(bad)) => push(bad),
            None => {}
        }
        Ok(())
    }

    /// Says in the log, once there are no more lines, how many were left out.
    pub(super) fn finish(&self, input: impl fmt::Display) {
        if self.skipped > 0 {
            tracing::warn!(input = %shown(input), skipped = self.skipped, "skipped lines that are not UTF-8");
        }
    }

    /// A line as text, or as bytes that are no text, or `None` if it is to be left out.
    fn check<'a>(&mut self, bytes: &'a [u8], from: usize, end: usize) -> Option<Result<&'a str, Line<'a>>> {
        let line = &bytes[from..end];
        match (str::from_utf8(line), self.invalid) {
            (Ok(line), _) => Some(Ok(line)),
            (Err(error), InvalidUtf8::Fail) => {
                Some(Err(Line::NotUtf8 { line, at: from + error.valid_up_to() }))
            }
            (Err(_), InvalidUtf8::SkipAndCount) => {
                self.skipped += 1;
                self.skipped_in_all.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

fn without_return(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}
