//! Reads the lines of a split.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::error::LinesError;
use super::kind::BYTE_ORDER_MARK;
use super::split::LinesSplit;
use crate::error::UserResult;
use crate::source::{Polled, Progress, ProgressUnit, Reader, Records};
use crate::sources::cutter::{Cutter, Line, LongLine};
use crate::sources::window::Window;

/// Reads the lines that begin in a split. Its position is the byte at which the next line begins.
#[derive(Debug)]
pub struct LinesReader {
    split: LinesSplit,
    /// Lines that begin before this byte are read.
    end: u64,
    window: Window<File>,
    cutter: Cutter,
    /// A line that is longer than allowed, as long as its end has not been found.
    long: Option<LongLine>,
}

/// Bytes after which a poll returns though it may give more lines: so long lines don't make huge batches.
const POLL_BYTES: u64 = 256 << 10;

impl Reader for LinesReader {
    type Item = String;
    type Position = u64;

    fn poll(&mut self, records: &mut Records<'_, String>, limit: usize) -> UserResult<Polled> {
        let mut lines = limit;
        let bound = self.window.position().saturating_add(POLL_BYTES);
        let stop = self.end.min(bound);
        while lines > 0 && (self.window.position() < stop || self.is_within_long_line(bound)) {
            if let Some(long) = &mut self.long {
                if long.skip(&mut self.window) || !self.fill()? {
                    self.reject_long_line(records);
                    lines -= 1;
                }
            } else if self.window.line_end().is_some() {
                let before = (stop - self.window.position()) as usize;
                let (split, from) = (&self.split, self.window.position());
                let longest = self.cutter.longest();
                let give = |line: Line<'_>| give(line, (&split.path, from, longest), records);
                let cut = self.cutter.cut(self.window.bytes(), lines, before, give);
                self.window.consume(cut.bytes);
                lines -= cut.lines;
            } else if self.window.bytes().len() > self.cutter.longest() {
                self.long = Some(LongLine::begin(&self.window));
            } else if !self.fill()? {
                // This is the last line of the file, if there is one behind its byte order mark.
                let (split, from) = (&self.split, self.window.position());
                let longest = self.cutter.longest();
                let give = |line: Line<'_>| give(line, (&split.path, from, longest), records);
                if !self.window.bytes().is_empty() {
                    self.cutter.last(self.window.bytes(), give);
                }
                self.window.consume(self.window.bytes().len());
                self.end = self.end.min(self.window.position());
                break;
            }
        }
        if self.long.is_some() || self.window.position() < self.end {
            return Ok(Polled::Ready);
        }
        self.cutter.finish(format_args!("{}@{}", self.split.path, self.split.start));
        Ok(Polled::End)
    }

    fn position(&self) -> u64 {
        self.long.as_ref().map_or(self.window.position(), |long| long.from)
    }

    fn progress(&self) -> Option<Progress> {
        let LinesSplit { start, end, .. } = self.split;
        let done = self.window.position().clamp(start, end) - start;
        Some(Progress { done, total: end - start, unit: ProgressUnit::Bytes })
    }
}

impl LinesReader {
    /// Stands at the first line that begins in the split, or at the position where an earlier reader stood.
    pub(super) fn open(
        split: &LinesSplit,
        position: Option<u64>,
        cutter: Cutter,
        read_bytes: usize,
    ) -> Result<Self, LinesError> {
        // The byte before the split tells whether a line begins exactly at the border.
        let at = position.unwrap_or(split.start.saturating_sub(1));
        let (file, at, end) = stand_at(split, at).map_err(|source| unreadable(split, source))?;
        let window = Window::new(file, at, read_bytes);
        let mut reader = Self { split: split.clone(), end, window, cutter, long: None };
        if position.is_none() && split.start > 0 {
            reader.skip_line()?;
        }
        Ok(reader)
    }

    /// Whether a line that is longer than allowed is to be read on, up to this byte.
    fn is_within_long_line(&self, bound: u64) -> bool {
        self.long.is_some() && self.window.position() < bound
    }

    /// The end of a line that is longer than allowed has been found.
    fn reject_long_line(&mut self, records: &mut Records<'_, String>) {
        if let Some(LongLine { from, head, length }) = self.long.take() {
            let (path, longest) = (self.split.path.clone(), self.cutter.longest());
            records.reject(head, LinesError::TooLong { path, offset: from, length, longest });
        }
    }

    /// Goes behind the next line end, or to the end of the split if that comes first.
    fn skip_line(&mut self) -> Result<(), LinesError> {
        while self.window.position() < self.split.end {
            if let Some(end) = self.window.line_end() {
                self.window.consume(end + 1);
                return Ok(());
            }
            self.window.consume(self.window.bytes().len());
            self.fill()?;
        }
        Ok(())
    }

    /// Reads on; `false` at the end of the file, which may not come before that of the split.
    fn fill(&mut self) -> Result<bool, LinesError> {
        let more = self.window.fill().map_err(|source| unreadable(&self.split, source))?;
        if !more && self.window.position() + (self.window.bytes().len() as u64) < self.split.end {
            let len =
                std::fs::metadata(&self.split.path).map_err(|source| unreadable(&self.split, source))?;
            let (path, expected) = (self.split.path.clone(), self.split.end);
            return Err(LinesError::Shrunk { path, len: len.len(), expected });
        }
        Ok(more)
    }
}

/// Opens the file of a split at a byte, or behind its byte order mark, which is no part of the first line. Returns also
/// before which byte lines begin that are of the split.
fn stand_at(split: &LinesSplit, mut at: u64) -> io::Result<(File, u64, u64)> {
    let (mut file, mut end) = (File::open(&split.path)?, split.end);
    if split.start == 0 {
        let (mut head, mark) = (Vec::new(), BYTE_ORDER_MARK.len() as u64);
        Read::by_ref(&mut file).take(mark).read_to_end(&mut head)?;
        if head == BYTE_ORDER_MARK {
            // A split so small that it ends within the mark has the line behind it all the same.
            (at, end) = (at.max(mark), end.max(mark + 1));
        }
    }
    file.seek(SeekFrom::Start(at))?;
    Ok((file, at, end))
}

/// Gives out a line that was cut off behind byte `from` of a file.
fn give(line: Line<'_>, (path, from, longest): (&str, u64, usize), records: &mut Records<'_, String>) {
    let path = || path.to_string();
    match line {
        Line::Text(line) => records.push(line),
        Line::NotUtf8 { line, at } => {
            records.reject(line, LinesError::NotUtf8 { path: path(), offset: from + at as u64 });
        }
        Line::TooLong { head, length, at } => {
            let offset = from + at as u64;
            records.reject(head, LinesError::TooLong { path: path(), offset, length, longest });
        }
    }
}

fn unreadable(split: &LinesSplit, source: io::Error) -> LinesError {
    LinesError::Unreadable { path: split.path.clone().into(), source }
}
