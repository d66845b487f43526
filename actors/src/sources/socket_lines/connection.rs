//! The thread that waits for a server.

use std::io;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use super::error::SocketError;
use crate::sources::InvalidUtf8;
use crate::sources::cutter::{BadLine, Cutter, Line};
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
    Lines(Vec<Result<String, Box<NotText>>>),
    /// The server has closed the connection in good order.
    Closed,
    Failed(SocketError),
}

/// A line that is not UTF-8.
#[derive(Debug)]
pub(super) struct NotText {
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
        let mut cutter = Cutter::new(self.terms.invalid_utf8, &self.terms.skipped, self.terms.longest);
        let mut window = Window::new(input, 0, READ_BYTES);
        while self.fill(&mut window)? {
            let mut lines = Vec::new();
            if window.line_end().is_some() {
                let from = window.position();
                let cut = cutter.cut(window.bytes(), usize::MAX, usize::MAX, |line| {
                    lines.push(self.text_of(line, from));
                });
                let cut = cut.map_err(|bad| self.bad_line(bad, &window))?;
                window.consume(cut.bytes);
            }
            if window.bytes().len() > self.terms.longest && window.line_end().is_none() {
                return Err(self.bad_line(BadLine::TooLong(0), &window));
            }
            if !lines.is_empty() && !self.say(Received::Lines(lines)) {
                return Ok(());
            }
        }
        if !window.bytes().is_empty() {
            let mut lines = Vec::new();
            let from = window.position();
            let last = cutter.last(window.bytes(), |line| lines.push(self.text_of(line, from)));
            last.map_err(|bad| self.bad_line(bad, &window))?;
            self.say(Received::Lines(lines));
        }
        cutter.finish(&self.terms.address);
        Ok(())
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

    fn bad_line(&self, bad: BadLine, window: &Window<TcpStream>) -> SocketError {
        let address = self.terms.address.clone();
        let longest = self.terms.longest;
        let BadLine::TooLong(at) = bad;
        SocketError::TooLong { address, longest, offset: window.position() + at as u64 }
    }

    /// A line that was cut off behind byte `from`.
    fn text_of(&self, line: Line<'_>, from: u64) -> Result<String, Box<NotText>> {
        match line {
            Line::Text(line) => Ok(line),
            Line::NotUtf8 { line, at } => {
                let address = self.terms.address.clone();
                let error = SocketError::NotUtf8 { address, offset: from + at as u64 };
                Err(Box::new(NotText { bytes: line.to_vec(), error }))
            }
        }
    }
}

/// Tries all addresses that the name stands for.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the name stands for no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
