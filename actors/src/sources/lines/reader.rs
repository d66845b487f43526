//! Reads the lines of a split.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use super::error::LinesError;
use super::split::LinesSplit;
use crate::error::UserResult;
use crate::source::{Polled, Reader, Records};
use crate::sources::cutter::{BadLine, Cutter, Line};
use crate::sources::window::Window;

/// Reads the lines that begin in a split. Its position is the byte at which the next line begins.
#[derive(Debug)]
pub struct LinesReader {
    split: LinesSplit,
    window: Window<File>,
    cutter: Cutter,
}

/// Bytes after which a poll returns though it may give more lines: so long lines don't make huge batches.
const POLL_BYTES: u64 = 256 << 10;

impl Reader for LinesReader {
    type Item = String;
    type Position = u64;

    fn poll(&mut self, records: &mut Records<'_, String>, limit: usize) -> UserResult<Polled> {
        let mut lines = limit;
        let stop = self.split.end.min(self.window.position().saturating_add(POLL_BYTES));
        while lines > 0 && self.window.position() < stop {
            if self.window.line_end().is_some() {
                let before = (stop - self.window.position()) as usize;
                let (path, from) = (&self.split.path, self.window.position());
                let give = |line: Line<'_>| give(line, path, from, records);
                let cut = self.cutter.cut(self.window.bytes(), lines, before, give);
                let cut = cut.map_err(|bad| self.bad_line(bad))?;
                self.window.consume(cut.bytes);
                lines -= cut.lines;
            } else if !self.fill()? {
                // This is the last line of the file.
                let (path, from) = (&self.split.path, self.window.position());
                let give = |line: Line<'_>| give(line, path, from, records);
                let last = self.cutter.last(self.window.bytes(), give);
                last.map_err(|bad| self.bad_line(bad))?;
                self.window.consume(self.window.bytes().len());
            }
        }
        if self.window.position() < self.split.end {
            return Ok(Polled::Ready);
        }
        self.cutter.finish(format_args!("{}@{}", self.split.path, self.split.start));
        Ok(Polled::End)
    }

    fn position(&self) -> u64 {
        self.window.position()
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
        let opened =
            File::open(&split.path).and_then(|mut file| file.seek(SeekFrom::Start(at)).map(|_| file));
        let file = opened.map_err(|source| unreadable(split, source))?;
        let mut reader = Self { split: split.clone(), window: Window::new(file, at, read_bytes), cutter };
        if position.is_none() && split.start > 0 {
            reader.skip_line()?;
        }
        Ok(reader)
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
        let found = self.window.position() + self.window.bytes().len() as u64;
        if !more && found < self.split.end {
            return Err(LinesError::Shrunk {
                path: self.split.path.clone(),
                found,
                expected: self.split.end,
            });
        }
        Ok(more)
    }

    fn bad_line(&self, bad: BadLine) -> LinesError {
        let path = self.split.path.clone();
        let BadLine::TooLong(at) = bad;
        LinesError::TooLong { path, offset: self.window.position() + at as u64 }
    }
}

/// Gives out a line that was cut off behind byte `from` of a file.
fn give(line: Line<'_>, path: &str, from: u64, records: &mut Records<'_, String>) {
    match line {
        Line::Text(line) => records.push(line),
        Line::NotUtf8 { line, at } => {
            records.reject(line, LinesError::NotUtf8 { path: path.to_string(), offset: from + at as u64 });
        }
    }
}

fn unreadable(split: &LinesSplit, source: io::Error) -> LinesError {
    LinesError::Unreadable { path: split.path.clone().into(), source }
}
