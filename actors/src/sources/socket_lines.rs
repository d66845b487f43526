//! Lines of a TCP connection.

mod connection;
mod error;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::vec;

use serde::{Deserialize, Serialize};

use self::connection::{Connection, NotText, Received, Terms};
use self::error::SocketError;
use crate::error::UserResult;
use crate::source::{Polled, Reader, Records, Source, SourceContext, Split};
use crate::sources::InvalidUtf8;

/// Connects to a TCP server and reads what it sends line by line, until it closes the connection. A record is a line
/// without its `\n` or `\r\n`.
///
/// A connection can't be read again: **after a crash each line comes at most once**. The source connects anew and
/// goes on with what the server sends then; lines that were read but not yet covered by a checkpoint are lost. When
/// the connection can't be made or breaks, the instance fails, and its supervisor tries again.
///
/// There is one split, so one instance reads.
#[derive(Debug)]
pub struct SocketLines {
    address: String,
    longest: usize,
    invalid_utf8: InvalidUtf8,
    skipped: Arc<AtomicU64>,
}

const LONGEST: usize = 1 << 20;

impl SocketLines {
    /// Reads from this address, like `localhost:9999`.
    pub fn connect(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            longest: LONGEST,
            invalid_utf8: InvalidUtf8::default(),
            skipped: Arc::default(),
        }
    }

    /// Sets how many bytes a line may have: 1 MiB if nothing is said. A longer one is a failure.
    pub fn longest_line(mut self, bytes: usize) -> Self {
        self.longest = bytes;
        self
    }

    /// Sets what happens to a line that is not UTF-8: [`InvalidUtf8::Fail`] if nothing is said.
    pub fn invalid_utf8(mut self, policy: InvalidUtf8) -> Self {
        self.invalid_utf8 = policy;
        self
    }

    /// How many lines were left out in this process because they are not UTF-8.
    pub fn skipped_lines(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.skipped)
    }
}

impl Source for SocketLines {
    type Item = String;
    type Split = SocketLinesSplit;
    type Reader = SocketLinesReader;

    fn splits(&self) -> UserResult<Vec<SocketLinesSplit>> {
        let port = self.address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            return Err(SocketError::Address { address: self.address.clone() }.into());
        }
        Ok(vec![SocketLinesSplit { address: self.address.clone() }])
    }

    fn open(
        &self,
        split: &SocketLinesSplit,
        position: Option<u64>,
        context: &SourceContext,
    ) -> UserResult<SocketLinesReader> {
        let terms = Terms {
            address: split.address.clone(),
            longest: self.longest,
            invalid_utf8: self.invalid_utf8,
            skipped: Arc::clone(&self.skipped),
        };
        let (connection, received) = Connection::start(terms, context.waker.clone())?;
        Ok(SocketLinesReader {
            received,
            lines: Vec::new().into_iter(),
            position: position.unwrap_or(0),
            address: split.address.clone(),
            _connection: connection,
        })
    }

    fn is_bounded(&self) -> bool {
        false
    }
}

/// All lines that a server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketLinesSplit {
    /// The server.
    pub address: String,
}

impl Split for SocketLinesSplit {
    fn id(&self) -> String {
        self.address.clone()
    }
}

/// Gives out lines that its thread has received. Its position is how many it has given out, over all connections.
#[derive(Debug)]
pub struct SocketLinesReader {
    received: Receiver<Received>,
    /// Lines that were received together, as far as they have not been given out.
    lines: vec::IntoIter<Result<String, Box<NotText>>>,
    position: u64,
    address: String,
    /// Closed when it is dropped, which ends the thread.
    _connection: Connection,
}

impl Reader for SocketLinesReader {
    type Item = String;
    type Position = u64;

    fn poll(&mut self, records: &mut Records<'_, String>, limit: usize) -> UserResult<Polled> {
        let mut room = limit;
        loop {
            let lines = self.lines.len().min(room);
            for line in self.lines.by_ref().take(lines) {
                match line {
                    Ok(line) => records.push(line),
                    Err(bad) => records.reject(bad.bytes, bad.error),
                }
            }
            self.position += lines as u64;
            room -= lines;
            if room == 0 {
                return Ok(Polled::Ready);
            }
            match self.received.try_recv() {
                Ok(Received::Lines(lines)) => self.lines = lines.into_iter(),
                Ok(Received::Closed) => return Ok(Polled::End),
                Ok(Received::Failed(error)) => return Err(error.into()),
                Err(TryRecvError::Empty) => return Ok(Polled::Pending(None)),
                Err(TryRecvError::Disconnected) => {
                    return Err(SocketError::ThreadEnded { address: self.address.clone() }.into());
                }
            }
        }
    }

    fn position(&self) -> u64 {
        self.position
    }
}
