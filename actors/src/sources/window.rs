//! A window that moves over an input as it is read.

use std::io::{self, ErrorKind, Read};

use memchr::memchr;

/// The part of an input that has been read and not yet been used up. It grows when a line does not fit.
#[derive(Debug)]
pub(super) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where the unused bytes begin in `buffer`.
    begin: usize,
    /// Where they end.
    filled: usize,
    /// How many of them are known to hold no line end.
    searched: usize,
    /// Where they begin in the input.
    position: u64,
}

impl<R: Read> Window<R> {
    /// A window over an input that stands at `position`, `size` bytes wide at first.
    pub(super) fn new(input: R, position: u64, size: usize) -> Self {
        Self { input, buffer: vec![0; size.max(1)], begin: 0, filled: 0, searched: 0, position }
    }

    /// The unused bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.begin..self.filled]
    }

    /// Where the unused bytes begin in the input.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Where the first line ends, as an index into [`bytes`](Self::bytes). Bytes are searched once, however often it
    /// is asked.
    pub(super) fn line_end(&mut self) -> Option<usize> {
        let found = memchr(b'\n', &self.bytes()[self.searched..]);
        self.searched += found.unwrap_or(self.filled - self.begin - self.searched);
        found.map(|_| self.searched)
    }

    /// Uses up bytes at the front.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.begin += bytes;
        self.position += bytes as u64;
        self.searched = self.searched.saturating_sub(bytes);
    }

    /// Reads on, once. Returns whether there was more.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.begin..self.filled, 0);
        self.filled -= self.begin;
        self.begin = 0;
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.filled, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Ok(bytes) => {
                    self.filled += bytes;
                    return Ok(bytes > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
