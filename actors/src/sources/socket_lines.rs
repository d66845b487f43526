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

use self::connection::{Connection, NoRecord, Received, Terms};
use self::error::SocketError;
use crate::error::{UserResult, chain_of};
use crate::source::{Polled, Reader, Records, Source, SourceContext, Split};
use crate::sources::InvalidUtf8;
use crate::sources::cutter::LONGEST_LINE_BYTES;

/// Connects to a TCP server and reads what it sends line by line. A record is a line without its `\n` or `\r\n`.
///
/// The input does not end: when the server closes the connection, when the connection breaks, and when it can't be
/// made, the source connects again, first after 0.1 s and then more and more rarely: up to every 30 s where no line
/// comes, up to every second where some do and the connection is closed at once. The log has a line for each connection
/// that is made, closed or broken. What comes after the last line end counts as a line if the server closes the
/// connection, and is left out, with a warning, if the connection breaks. A server that has vanished without a word is
/// found out by TCP keepalive after about a minute. [`SocketLines::until_closed`] makes it a bounded source instead.
///
/// A connection can't be read again: **after a crash each line comes at most once**. The source connects anew and
/// goes on with what the server sends then; lines that were read but not yet covered by a checkpoint are lost.
///
/// There is one split, so one instance reads.
#[derive(Debug)]
pub struct SocketLines {
    address: String,
    longest: usize,
    invalid_utf8: InvalidUtf8,
    until_closed: bool,
    skipped: Arc<AtomicU64>,
}

impl SocketLines {
    /// Reads from this address, like `localhost:9999`.
    pub fn connect(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            longest: LONGEST_LINE_BYTES,
            invalid_utf8: InvalidUtf8::default(),
            until_closed: false,
            skipped: Arc::default(),
        }
    }

    /// Takes the end of the connection for the end of the input: when the server closes it, everything has been read,
    /// for this start of the job and those after it. Where the connection can't be made or breaks, the instance fails,
    /// and its supervisor tries again.
    pub fn until_closed(mut self) -> Self {
        self.until_closed = true;
        self
    }

    /// Sets how many bytes a line may have: 1 MiB if nothing is said. A longer one is no record, as one that is not
    /// UTF-8: what becomes of it is up to the policy of the source for [`Stage::Decode`](crate::Stage::Decode). A dead
    /// letter has its beginning and its length; the source fails without such a policy.
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
            until_closed: self.until_closed,
            connection,
        })
    }

    fn is_bounded(&self) -> bool {
        self.until_closed
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
    lines: vec::IntoIter<Result<String, Box<NoRecord>>>,
    position: u64,
    address: String,
    /// Whether a connection that breaks is an error.
    until_closed: bool,
    /// Closed when it is dropped, which ends the thread.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is there to be dropped"))]
    connection: Connection,
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
                Ok(Received::Connected) => tracing::info!(address = self.address, "connected"),
                Ok(Received::Closed) => {
                    tracing::info!(address = self.address, "the server has closed the connection");
                    return Ok(Polled::End);
                }
                Ok(Received::Failed(error)) if self.until_closed || !error.is_of_connection() => {
                    return Err(error.into());
                }
                Ok(Received::Failed(error)) => {
                    let why = chain_of(&error);
                    tracing::warn!(address = self.address, why, "there is no connection");
                    return Ok(Polled::End);
                }
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
