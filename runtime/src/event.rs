//! What the control plane hears, from tasks, from the pool and from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use watershed_actors::{Found, QueryKey, Report, Restored, Tap, chain_of};
use watershed_state::{SavedInstance, StoreError};

use crate::attempts::CheckpointHistory;
use crate::error::Error;
use crate::rescale::Rescaled;
use crate::savepoint::Savepoint;
use crate::tree::Tree;

/// What the control plane hears.
pub(crate) enum Event {
    /// A task has something to say.
    Report(Report),
    /// A manifest was written, or could not be.
    Stored { checkpoint: u64, stored: Stored },
    /// The files of a savepoint were copied, or could not be; their bytes.
    Copied { checkpoint: u64, bytes: Result<u64, Unread> },
    /// What a region needs to restart was read, or could not be.
    Loaded { region: usize, run: u64, result: Result<BTreeMap<usize, Arc<Restored>>, String> },
    /// What a checkpoint holds was read for a rescaling, or could not be, or does not fit.
    ReadForRescale { checkpoint: u64, saved: Result<BTreeMap<usize, Vec<SavedInstance>>, Unread> },
    /// Somebody outside wants something.
    Command(Command),
}

/// What became of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is there for good.
    Complete,
    /// It is not there, and will not be.
    Failed(String),
    /// The same, as a file that it refers to is gone or not whole.
    Broken(String),
    /// The same, as the folder is not the job's any more.
    TakenAway(String),
    /// The disk does not say.
    Unknown(String),
}

/// Takes an answer of the control plane, without holding it up.
pub(crate) type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What can be asked of a running job.
pub(crate) enum Command {
    /// The tree as it is.
    Tree(Reply<Tree>),
    /// What has become of the last checkpoints.
    Checkpoints(Reply<CheckpointHistory>),
    /// Where the records of the operator of this name can be looked at; else the names there are.
    Tap(String, Reply<Result<Arc<Tap>, Vec<String>>>),
    /// The state that an operator has for a key.
    Query { operator: String, key: QueryKey, reply: Reply<Answered> },
    /// The tree into the log.
    LogTree,
    /// Look for requests to replay dead letters. The answer is the operators of such letters that do not exist.
    ReplayDeadLetters(Reply<Vec<String>>),
    /// End at once, without a checkpoint.
    Cancel,
    /// End with a last checkpoint.
    Stop,
    /// End with a last checkpoint, after everything that waits for event time has come.
    Drain,
    /// A signal of this name: the first one is [`Command::Stop`], and the next one [`Command::Cancel`].
    Signal(&'static str),
    /// Make a savepoint.
    Savepoint(Wanted),
    /// Give an operator another number of instances.
    Rescale(WantedRescale),
}

/// What becomes of the job once a savepoint is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on.
    GoOn,
    /// It ends, and reads nothing behind the savepoint.
    Stop,
    /// It ends, after everything that waits for event time has come.
    Drain,
}

/// A savepoint that somebody waits for.
pub(crate) struct Wanted {
    pub(crate) uri: String,
    pub(crate) then: Then,
    pub(crate) reply: Reply<Result<Savepoint, Error>>,
}

/// Somebody wants an operator to have so many instances.
pub(crate) struct WantedRescale {
    pub(crate) operator: String,
    pub(crate) parallelism: usize,
    pub(crate) reply: Reply<Result<Rescaled, Error>>,
}

/// What comes of a question: the state, or `None` if the key has none.
pub(crate) type Answered = Result<Option<Found>, Error>;

/// Why what a checkpoint holds could not be read.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) reason: String,
    /// A file is gone, or is not what was written.
    pub(crate) is_damaged: bool,
}

impl Unread {
    /// Something else is wrong.
    pub(crate) fn other(reason: String) -> Self {
        Self { reason, is_damaged: false }
    }
}

impl From<&StoreError> for Unread {
    fn from(error: &StoreError) -> Self {
        Self { reason: chain_of(error), is_damaged: matches!(error, StoreError::Damaged { .. }) }
    }
}
