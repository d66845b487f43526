//! Asking a job from another process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use watershed_actors::Sample;

use crate::attempts::CheckpointHistory;
use crate::remote::connect::connect;
use crate::remote::protocol::{Answer, Ask, KeyState, Refusal, Request};
use crate::rescale::Rescaled;
use crate::savepoint::{Drain, Savepoint};
use crate::tree::Tree;

/// A connection to a running job.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
    timeout: Duration,
}

/// How long to wait for a job that says nothing, if nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer at most: a tree of a hundred thousand instances.
const ANSWER_BYTES: u64 = 64 << 20;

/// Why a job does not answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// There is no socket.
    #[error("no job is running there: there is no socket {}", path.display())]
    NoSocket {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is a socket, but nobody behind it.
    #[error("no job is running there: nobody listens on {} any more", path.display())]
    NobodyListens {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be used.
    #[error("cannot connect to {}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The job refuses to answer.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The job has ended, in this way.
    #[error("the job has ended: {0}")]
    Ended(String),
    /// The connection broke: the process of the job is gone.
    #[error("the job is gone: the connection broke")]
    Broken(#[source] io::Error),
    /// The job says nothing, not even that it is at work.
    #[error(
        "the job has said nothing for {timeout:?}: its process may be suspended, or its machine be busy; ask again, or wait longer"
    )]
    Silent {
        /// For so long.
        timeout: Duration,
    },
    /// What came is much too long.
    #[error("the answer of the job is longer than {} MiB", ANSWER_BYTES >> 20)]
    TooLong,
    /// What came is no answer to what was asked.
    #[error("the job answers something else than was asked")]
    Confused,
}

impl Client {
    /// Connects to the job that listens on this socket.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn connect(socket: &Path) -> Result<Self, RemoteError> {
        let (socket, timeout) = (socket.to_path_buf(), TIMEOUT);
        Ok(Self { stream: connected(&socket, timeout)?, socket, timeout })
    }

    /// Waits so long for a job that says nothing (30 s). One that is at work on what was asked says so, and is waited
    /// for.
    ///
    /// # Errors
    /// If the connection broke.
    pub fn with_timeout(mut self, timeout: Duration) -> Result<Self, RemoteError> {
        self.timeout = timeout;
        limit(self.stream.get_ref(), timeout).map_err(RemoteError::Broken)?;
        Ok(self)
    }

    /// The socket that the job listens on.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The supervision tree as it is.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn tree(&mut self) -> Result<Tree, RemoteError> {
        match self.ask(&Ask::Tree)? {
            Answer::Tree(tree) => Ok(*tree),
            _ => Err(RemoteError::Confused),
        }
    }

    /// Lets the job look for dead letters that are to be replayed. Returns the operators with such letters that it does
    /// not have: theirs wait.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn replay_dead_letters(&mut self) -> Result<Vec<String>, RemoteError> {
        match self.ask(&Ask::ReplayDeadLetters)? {
            Answer::Replaying { unknown_operators } => Ok(unknown_operators),
            _ => Err(RemoteError::Confused),
        }
    }

    /// The state that an operator has for a key, which is given as JSON; `None` if it has none. It is that of the run
    /// at hand: a failure may take it back to the last checkpoint.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn query(&mut self, operator: &str, key: &str) -> Result<Option<KeyState>, RemoteError> {
        match self.ask(&Ask::Query { operator: operator.to_string(), key: key.to_string() })? {
            Answer::State { found } => Ok(found),
            _ => Err(RemoteError::Confused),
        }
    }

    /// Gives an operator another number of instances, and waits until they are all at work, as
    /// [`Job::rescale`](crate::Job::rescale) does.
    ///
    /// # Errors
    /// Why it cannot be done, or why there is no answer.
    pub fn rescale(&mut self, operator: &str, parallelism: usize) -> Result<Rescaled, RemoteError> {
        match self.ask(&Ask::Rescale { operator: operator.to_string(), parallelism })? {
            Answer::Rescaled(rescaled) => Ok(rescaled),
            _ => Err(RemoteError::Confused),
        }
    }

    /// What has become of the last checkpoints, as [`Job::checkpoints`](crate::Job::checkpoints) says it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn checkpoints(&mut self) -> Result<CheckpointHistory, RemoteError> {
        match self.ask(&Ask::Checkpoints)? {
            Answer::Checkpoints(history) => Ok(*history),
            _ => Err(RemoteError::Confused),
        }
    }

    /// Makes a savepoint, and waits until it is complete, as [`Job::savepoint`](crate::Job::savepoint) does. A relative
    /// path is taken as the process of the job sees it.
    ///
    /// # Errors
    /// Why it cannot be made, or why there is no answer.
    pub fn savepoint(&mut self, uri: &str) -> Result<Savepoint, RemoteError> {
        match self.ask(&Ask::Savepoint { uri: uri.to_string() })? {
            Answer::Savepoint(savepoint) => Ok(savepoint),
            _ => Err(RemoteError::Confused),
        }
    }

    /// Ends the job with a last checkpoint, of which a savepoint is made if there is a place for it, after draining it
    /// or not. Waits until the job is over: returns the savepoint, and how it has ended.
    ///
    /// # Errors
    /// Why it does not stop, or why there is no answer.
    pub fn stop(
        mut self,
        savepoint: Option<&str>,
        drain: Drain,
    ) -> Result<(Option<Savepoint>, String), RemoteError> {
        let savepoint = savepoint.map(str::to_string);
        match self.ask(&Ask::Stop { savepoint, drain: drain == Drain::Yes })? {
            Answer::Stopping => Ok((None, self.ended()?)),
            Answer::Savepoint(savepoint) => Ok((Some(savepoint), self.ended()?)),
            _ => Err(RemoteError::Confused),
        }
    }

    /// Ends the job without a checkpoint: what came after the last one is dropped. Waits until it is over, and returns
    /// how it has ended.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn cancel(mut self) -> Result<String, RemoteError> {
        match self.ask(&Ask::Cancel)? {
            Answer::Stopping => self.ended(),
            _ => Err(RemoteError::Confused),
        }
    }

    /// Waits for the end of the job.
    fn ended(&mut self) -> Result<String, RemoteError> {
        match self.answer() {
            Err(RemoteError::Ended(how)) => Ok(how),
            Err(error) => Err(error),
            Ok(_) => Err(RemoteError::Confused),
        }
    }

    /// Some of the records that an operator takes in, or that a source has read: so many, or without end.
    ///
    /// # Errors
    /// Why there is no answer; with an unknown operator, which ones there are.
    pub fn tap(mut self, operator: &str, limit: Option<u64>) -> Result<Samples, RemoteError> {
        self.send(&Ask::Tap { operator: operator.to_string(), limit });
        Ok(Samples { client: self, is_over: false })
    }

    /// Asks, and returns the first answer. A connection that was closed as nothing was asked for long is made again.
    fn ask(&mut self, ask: &Ask) -> Result<Answer, RemoteError> {
        self.send(ask);
        match self.answer() {
            Err(RemoteError::Refused(Refusal::Idle)) => {
                self.stream = connected(&self.socket, self.timeout)?;
                self.send(ask);
                self.answer()
            }
            answer => answer,
        }
    }

    /// Sends a request. If the job is gone, what it said last is still to be read: that says more than the error here.
    fn send(&mut self, ask: &Ask) {
        if let Ok(mut line) = serde_json::to_vec(&Request::new(ask.clone())) {
            line.push(b'\n');
            let _ = self.stream.get_mut().write_all(&line);
        }
    }

    fn answer(&mut self) -> Result<Answer, RemoteError> {
        loop {
            match self.next_answer()? {
                Answer::Working => {}
                answer => return Ok(answer),
            }
        }
    }

    fn next_answer(&mut self) -> Result<Answer, RemoteError> {
        let mut line = Vec::new();
        let read = self.stream.by_ref().take(ANSWER_BYTES).read_until(b'\n', &mut line);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                RemoteError::Silent { timeout: self.timeout }
            }
            _ => RemoteError::Broken(error),
        })?;
        if line.last() != Some(&b'\n') {
            let is_long = line.len() as u64 == ANSWER_BYTES;
            let gone = || RemoteError::Broken(io::ErrorKind::UnexpectedEof.into());
            return Err(if is_long { RemoteError::TooLong } else { gone() });
        }
        match serde_json::from_slice(&line) {
            Ok(Answer::Refused(refusal)) => Err(RemoteError::Refused(refusal)),
            Ok(Answer::Ended(how)) => Err(RemoteError::Ended(how)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(RemoteError::Broken(error.into())),
        }
    }
}

/// A connection on which nothing is waited for longer than so long.
fn connected(socket: &Path, timeout: Duration) -> Result<BufReader<UnixStream>, RemoteError> {
    let path = || socket.to_path_buf();
    let connected = connect(socket).and_then(|stream| limit(&stream, timeout).map(|()| stream));
    let stream = connected.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => RemoteError::NoSocket { path: path() },
        io::ErrorKind::ConnectionRefused => RemoteError::NobodyListens { path: path() },
        _ => RemoteError::Unreachable { path: path(), source },
    })?;
    Ok(BufReader::new(stream))
}

fn limit(stream: &UnixStream, timeout: Duration) -> io::Result<()> {
    // None at all would be zero.
    let timeout = Some(timeout.max(Duration::from_millis(1)));
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)
}

/// Samples as they come. Dropping it ends the sampling.
#[derive(Debug)]
pub struct Samples {
    client: Client,
    is_over: bool,
}

impl Iterator for Samples {
    type Item = Result<Sample, RemoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let sample = match self.client.answer() {
            Ok(Answer::Sample(sample)) => return Some(Ok(*sample)),
            Ok(Answer::Done) => None,
            Ok(_) => Some(Err(RemoteError::Confused)),
            Err(error) => Some(Err(error)),
        };
        self.is_over = true;
        sample
    }
}
