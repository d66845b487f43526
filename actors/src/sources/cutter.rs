//! Cuts bytes into lines of text.

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memchr_iter;
use watershed_state::shown;

use crate::sources::window::Window;

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
    /// The line that begins at this index of what was cut is longer than allowed.
    TooLong {
        head: &'a [u8],
        length: u64,
        at: usize,
    },
}

/// How many bytes a line may have if nothing is said.
pub(super) const LONGEST_LINE_BYTES: usize = 1 << 20;
/// How much is kept of a line that is longer than allowed.
const HEAD_BYTES: usize = 1 << 10;

/// A line that is longer than allowed, while the rest of it is being read.
#[derive(Debug)]
pub(super) struct LongLine {
    /// Where it begins in the input.
    pub(super) from: u64,
    /// Its first bytes.
    pub(super) head: Vec<u8>,
    /// Bytes that have been read of it.
    pub(super) length: u64,
}

impl LongLine {
    /// The line whose beginning fills the window.
    pub(super) fn begin<R: Read>(window: &Window<R>) -> Self {
        Self { from: window.position(), head: Vec::new(), length: 0 }
    }

    /// Uses up what the window has of the line. Returns whether the line ends there.
    pub(super) fn skip<R: Read>(&mut self, window: &mut Window<R>) -> bool {
        let end = window.line_end();
        let bytes = end.unwrap_or(window.bytes().len());
        let kept = bytes.min(HEAD_BYTES.saturating_sub(self.head.len()));
        self.head.extend_from_slice(&window.bytes()[..kept]);
        self.length += bytes as u64;
        window.consume(bytes + usize::from(end.is_some()));
        end.is_some()
    }
}

fn head_of(line: &[u8]) -> &[u8] {
    &line[..line.len().min(HEAD_BYTES)]
}

impl Cutter {
    /// A cutter that adds the lines it leaves out to `skipped_in_all` and gives out lines of more than `longest` bytes
    /// as [`Line::TooLong`].
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
    ) -> Cut {
        self.ends.clear();
        let (mut start, mut any_long) = (0, false);
        for end in memchr_iter(b'\n', bytes) {
            if self.ends.len() == lines || start >= before {
                break;
            }
            any_long |= end - start > self.longest;
            self.ends.push(end);
            start = end + 1;
        }
        let cut = Cut { bytes: start, lines: self.ends.len() };
        let mut from = 0;
        if !any_long && let Ok(text) = str::from_utf8(&bytes[..start]) {
            // All lines are checked at once, which is much faster than one by one when lines are short.
            for &end in &self.ends {
                push(Line::Text(without_return(&text[from..end]).to_owned()));
                from = end + 1;
            }
            return cut;
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
        cut
    }

    /// Gives out all of `bytes` as the last line, the one without a line end.
    pub(super) fn last(&mut self, bytes: &[u8], push: impl FnOnce(Line<'_>)) {
        match self.check(bytes, 0, bytes.len()) {
            Some(Ok(line)) => push(Line::Text(line.to_owned())),
            Some(Err(bad)) => push(bad),
            None => {}
        }
    }

    /// How many bytes a line may have.
    pub(super) fn longest(&self) -> usize {
        self.longest
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
        if line.len() > self.longest {
            return Some(Err(Line::TooLong { head: head_of(line), length: line.len() as u64, at: from }));
        }
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
