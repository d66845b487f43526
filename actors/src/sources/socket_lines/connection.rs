//! The thread that waits for a server.

use std::io;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::error::SocketError;
use crate::sources::InvalidUtf8;
use crate::sources::cutter::{Cutter, Line, LongLine};
use crate::sources::window::Window;

/// A connection with a thread of its own, as waiting for a server blocks. Dropping it closes the connection, and
/// the thread ends.
#[derive(Debug)]
pub(super) struct Connection(Arc<Mutex<Link>>);

/// How the thread stands to the connection.
#[derive(Debug)]
enum Link {
    Connecting,
    Connected(TcpStream),
    /// Nobody wants the lines any more.
    Dropped,
}

/// What the thread has to say.
#[derive(Debug)]
pub(super) enum Received {
    Connected,
    Lines(Vec<Result<String, Box<NoRecord>>>),
    /// The server has closed the connection in good order.
    Closed,
    Failed(SocketError),
}

/// A line that is not UTF-8 or too long, of which there is only the beginning then.
#[derive(Debug)]
pub(super) struct NoRecord {
    pub(super) bytes: Vec<u8>,
    pub(super) error: SocketError,
}

/// What the thread is told.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) address: String,
    pub(super) longest: usize,
    pub(super) invalid_utf8: InvalidUtf8,
    pub(super) skipped: Arc<AtomicU64>,
}

/// Groups of lines that may wait to be taken, each of about one read; then TCP holds the server back.
const WAITING: usize = 16;
const READ_BYTES: usize = 64 << 10;
/// A server that doesn't answer is given up after this time; so long a thread may outlive its reader.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes is asked after this time, and given up if so many questions are not answered.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

impl Connection {
    /// Starts a thread that connects and receives, and wakes `waker` whenever it has something to say.
    pub(super) fn start(terms: Terms, waker: Waker) -> Result<(Self, Receiver<Received>), SocketError> {
        let (queue, received) = sync_channel(WAITING);
        let link = Arc::new(Mutex::new(Link::Connecting));
        let address = terms.address.clone();
        let thread = Thread { terms, queue, waker, link: Arc::clone(&link) };
        let spawned = thread::Builder::new().name(format!("lines of {address}")).spawn(move || thread.run());
        spawned.map_err(|source| SocketError::Thread { address, source })?;
        Ok((Self(link), received))
    }
}

#[cfg(test)]
impl Connection {
    /// Whether the server is asked now and then if it is still there.
    pub(super) fn keeps_alive(&self) -> bool {
        matches!(&*lock(&self.0), Link::Connected(stream) if SockRef::from(stream).keepalive().unwrap())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Link::Connected(stream) = std::mem::replace(&mut *lock(&self.0), Link::Dropped) {
            // It fails only if the connection is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Thread {
    terms: Terms,
    queue: SyncSender<Received>,
    waker: Waker,
    link: Arc<Mutex<Link>>,
}

impl Thread {
    fn run(self) {
        let last = match self.receive() {
            Ok(()) => Received::Closed,
            Err(error) => Received::Failed(error),
        };
        self.say(last);
    }

    /// Receives until the server closes the connection or nobody wants the lines any more.
    fn receive(&self) -> Result<(), SocketError> {
        let connected = connect(&self.terms.address).and_then(|stream| Ok((stream.try_clone()?, stream)));
        let (stream, input) = connected
            .map_err(|source| SocketError::Connect { address: self.terms.address.clone(), source })?;
        {
            let mut link = lock(&self.link);
            if matches!(*link, Link::Dropped) {
                return Ok(());
            }
            *link = Link::Connected(stream);
        }
        if !self.say(Received::Connected) {
            return Ok(());
        }
        let mut cutter = Cutter::new(self.terms.invalid_utf8, &self.terms.skipped, self.terms.longest);
        let mut window = Window::new(input, 0, READ_BYTES);
        let mut long: Option<LongLine> = None;
        while self.fill(&mut window).inspect_err(|_| self.leave_out(window.bytes()))? {
            let mut lines = Vec::new();
            if let Some(line) = long.take_if(|long| long.skip(&mut window)) {
                lines.push(Err(Box::new(self.too_long(line.head, line.length, line.from))));
            }
            if long.is_none() && window.line_end().is_some() {
                let from = window.position();
                let cut = cutter.cut(window.bytes(), usize::MAX, usize::MAX, |line| {
                    lines.push(self.text_of(line, from));
                });
                window.consume(cut.bytes);
            }
            if window.line_end().is_none() && window.bytes().len() > cutter.longest() {
                let mut line = LongLine::begin(&window);
                line.skip(&mut window);
                long = Some(line);
            }
            if !lines.is_empty() && !self.say(Received::Lines(lines)) {
                return Ok(());
            }
        }
        let mut lines = Vec::new();
        if let Some(line) = long {
            lines.push(Err(Box::new(self.too_long(line.head, line.length, line.from))));
        } else if !window.bytes().is_empty() {
            let from = window.position();
            cutter.last(window.bytes(), |line| lines.push(self.text_of(line, from)));
        }
        if !lines.is_empty() {
            self.say(Received::Lines(lines));
        }
        cutter.finish(&self.terms.address);
        Ok(())
    }

    /// The connection has broken in the middle of a line.
    fn leave_out(&self, begun: &[u8]) {
        if !begun.is_empty() {
            let (address, bytes) = (&self.terms.address, begun.len());
            tracing::warn!(address, bytes, "the connection broke within a line, which is left out");
        }
    }

    fn fill(&self, window: &mut Window<TcpStream>) -> Result<bool, SocketError> {
        let filled = window.fill();
        filled.map_err(|source| SocketError::Broken { address: self.terms.address.clone(), source })
    }

    /// Waits for room in the queue; `false` if nobody listens any more.
    fn say(&self, received: Received) -> bool {
        let heard = self.queue.send(received).is_ok();
        self.waker.wake_by_ref();
        heard
    }

    /// A line that was cut off behind byte `from`.
    fn text_of(&self, line: Line<'_>, from: u64) -> Result<String, Box<NoRecord>> {
        match line {
            Line::Text(line) => Ok(line),
            Line::NotUtf8 { line, at } => {
                let address = self.terms.address.clone();
                let error = SocketError::NotUtf8 { address, offset: from + at as u64 };
                Err(Box::new(NoRecord { bytes: line.to_vec(), error }))
            }
            Line::TooLong { head, length, at } => {
                Err(Box::new(self.too_long(head.to_vec(), length, from + at as u64)))
            }
        }
    }

    fn too_long(&self, head: Vec<u8>, length: u64, offset: u64) -> NoRecord {
        let (address, longest) = (self.terms.address.clone(), self.terms.longest);
        NoRecord { bytes: head, error: SocketError::TooLong { address, longest, length, offset } }
    }
}

/// Tries all addresses that the name stands for.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the name stands for no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                let keepalive = TcpKeepalive::new()
                    .with_time(KEEPALIVE_IDLE)
                    .with_interval(KEEPALIVE_INTERVAL)
                    .with_retries(KEEPALIVE_RETRIES);
                SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
