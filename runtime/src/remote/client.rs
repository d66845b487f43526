//! Asking a job from another process.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use thiserror::Error;
use watershed_actors::Sample;

use crate::remote::place;
use crate::remote::protocol::{Answer, Ask, KeyState, Refusal, Request};
use crate::rescale::Rescaled;
use crate::tree::Tree;

/// A connection to a running job.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

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
        let path = || socket.to_path_buf();
        let stream = place::connect(socket).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => RemoteError::NoSocket { path: path() },
            io::ErrorKind::ConnectionRefused => RemoteError::NobodyListens { path: path() },
            _ => RemoteError::Unreachable { path: path(), source },
        })?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// The supervision tree as it is.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn tree(&mut self) -> Result<Tree, RemoteError> {
        match self.ask(Ask::Tree)? {
            Answer::Tree(tree) => Ok(*tree),
            _ => Err(RemoteError::Confused),
        }
    }

    /// Lets the job look for dead letters that are to be replayed. Returns the operators with such letters that it does not
    /// have: theirs wait.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn replay_dead_letters(&mut self) -> Result<Vec<String>, RemoteError> {
        match self.ask(Ask::ReplayDeadLetters)? {
            Answer::Replaying { unknown_operators } => Ok(unknown_operators),
            _ => Err(RemoteError::Confused),
        }
    }

    /// The state that an operator has for a key, which is given as JSON; `None` if it has none. It is that of the run at
    /// hand: a failure may take it back to the last checkpoint.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn query(&mut self, operator: &str, key: &str) -> Result<Option<KeyState>, RemoteError> {
        match self.ask(Ask::Query { operator: operator.to_string(), key: key.to_string() })? {
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
        match self.ask(Ask::Rescale { operator: operator.to_string(), parallelism })? {
            Answer::Rescaled(rescaled) => Ok(rescaled),
            _ => Err(RemoteError::Confused),
        }
    }

    /// Some of the records that an operator takes in, or that a source has read: so many, or without end.
    ///
    /// # Errors
    /// Why there is no answer; with an unknown operator, which ones there are.
    pub fn tap(mut self, operator: &str, limit: Option<u64>) -> Result<Samples, RemoteError> {
        self.send(Ask::Tap { operator: operator.to_string(), limit });
        Ok(Samples { client: self, is_over: false })
    }

    /// Asks, and returns the first answer.
    fn ask(&mut self, ask: Ask) -> Result<Answer, RemoteError> {
        self.send(ask);
        self.answer()
    }

    /// Sends a request. If the job is gone, what it said last is still to be read: that says more than the error here.
    fn send(&mut self, ask: Ask) {
        if let Ok(mut line) = serde_json::to_vec(&Request::new(ask)) {
            line.push(b'\n');
            let _ = self.stream.get_mut().write_all(&line);
        }
    }

    fn answer(&mut self) -> Result<Answer, RemoteError> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).map_err(RemoteError::Broken)? == 0 {
            return Err(RemoteError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_str(&line) {
            Ok(Answer::Refused(refusal)) => Err(RemoteError::Refused(refusal)),
            Ok(Answer::Ended(how)) => Err(RemoteError::Ended(how)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(RemoteError::Broken(error.into())),
        }
    }
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
