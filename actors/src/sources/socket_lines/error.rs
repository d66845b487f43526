//! What can go wrong with a connection.

use std::io;

#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    #[error("`{address}` is not an address to connect to; it must be host:port, like localhost:9999")]
    Address { address: String },
    #[error("cannot connect to {address}; is the server running there?")]
    Connect { address: String, source: io::Error },
    #[error("the connection to {address} broke")]
    Broken { address: String, source: io::Error },
    #[error("cannot start a thread to read from {address}")]
    Thread { address: String, source: io::Error },
    #[error("the thread that reads from {address} has ended")]
    ThreadEnded { address: String },
    #[error(
        "{address} sent a line of {length} bytes, at byte {offset} of the connection, which is more than {longest}; allow \
         longer ones with SocketLines::longest_line, or leave the line out with Supervision::quarantine, which keeps the \
         beginning of it"
    )]
    TooLong { address: String, longest: usize, length: u64, offset: u64 },
    #[error(
        "{address} sent a line that is not UTF-8, at byte {offset} of the connection; leave such lines out with \
         SocketLines::invalid_utf8(InvalidUtf8::SkipAndCount)"
    )]
    NotUtf8 { address: String, offset: u64 },
}

impl SocketError {
    /// Whether it is about the connection, not about what came over it.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Broken { .. })
    }
}
