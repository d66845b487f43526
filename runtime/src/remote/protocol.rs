//! What goes over the socket.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use watershed_actors::Sample;

use crate::attempts::CheckpointHistory;
use crate::rescale::Rescaled;
use crate::savepoint::Savepoint;
use crate::tree::Tree;

/// The version of the protocol. A job answers only those who speak its own.
pub const VERSION: u32 = 2;

/// A line to the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`] of whoever asks.
    pub version: u32,
    /// What is wanted.
    pub ask: Ask,
}

/// What can be asked of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// The supervision tree as it is: answered with one [`Answer::Tree`].
    Tree,
    /// To look for dead letters that are to be replayed: answered with [`Answer::Replaying`].
    ReplayDeadLetters,
    /// Some of the records that an operator takes in, or that a source has read: answered with [`Answer::Sample`]s,
    /// until there were as many as wanted, the asker hangs up, or the job ends.
    Tap {
        /// Name of the operator.
        operator: String,
        /// How many are wanted; without it, until the asker hangs up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// The state that an operator has for a key: answered with [`Answer::State`].
    Query {
        /// Name of the operator.
        operator: String,
        /// The key, as JSON; the quotes of a text may be left out.
        key: String,
    },
    /// To give an operator another number of instances: answered with [`Answer::Rescaled`] when all are at work again.
    Rescale {
        /// Name of the operator.
        operator: String,
        /// How many it is to have.
        parallelism: usize,
    },
    /// What has become of the last checkpoints: answered with [`Answer::Checkpoints`].
    Checkpoints,
    /// To make a savepoint: answered with [`Answer::Savepoint`] when it is complete.
    Savepoint {
        /// Where. A relative path is taken as the process of the job sees it.
        uri: String,
    },
    /// To end with a last checkpoint: answered with [`Answer::Stopping`], or with [`Answer::Savepoint`] if there is to
    /// be one, and then with [`Answer::Ended`] when the job is over.
    Stop {
        /// Where a savepoint is to be made of the last checkpoint, if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        savepoint: Option<String>,
        /// Whether event time goes to its end first.
        #[serde(default)]
        drain: bool,
    },
    /// To end at once, without a checkpoint: answered with [`Answer::Stopping`], and then with [`Answer::Ended`].
    Cancel,
}

/// A line from the job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The tree.
    Tree(Box<Tree>),
    /// A record that was seen.
    Sample(Box<Sample>),
    /// Letters that are to be replayed have been handed to their operators.
    #[serde(rename_all = "kebab-case")]
    Replaying {
        /// Operators with such letters that the job does not have.
        unknown_operators: Vec<String>,
    },
    /// What an operator has for a key, in the run at hand: a failure may take it back to the last checkpoint.
    State {
        /// The state, if there is one.
        found: Option<KeyState>,
    },
    /// An operator has another number of instances.
    Rescaled(Rescaled),
    /// The last checkpoints.
    Checkpoints(Box<CheckpointHistory>),
    /// A savepoint is complete.
    Savepoint(Savepoint),
    /// The job is about to end.
    Stopping,
    /// What was asked for takes its time: said every few seconds, so that a job that is suspended can be told from one
    /// that is at work. Another answer follows.
    Working,
    /// The last of several answers has been given.
    Done,
    /// There is no answer to what was asked.
    Refused(Refusal),
    /// The job has ended, in this way; nothing more can be asked.
    Ended(String),
}

/// The state of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyState {
    /// The key.
    pub key: Value,
    /// Its state. Bytes are an array of numbers, and keys of maps that are no text their JSON.
    pub state: Value,
}

/// Why something is not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The asker speaks another version.
    #[error("the job speaks version {spoken} of the protocol: use the tool of its version of Watershed")]
    Version {
        /// The version that the job speaks.
        spoken: u32,
    },
    /// The line is no request.
    #[error("the job does not understand what is asked: {why}")]
    NotUnderstood {
        /// What is wrong with it.
        why: String,
    },
    /// There is no such operator.
    #[error("there is no operator `{operator}`; there are {}", .operators.join(", "))]
    UnknownOperator {
        /// What was asked for.
        operator: String,
        /// What there is.
        operators: Vec<String>,
    },
    /// The state of a key cannot be told.
    #[error("{why}")]
    NoState {
        /// Why not.
        why: String,
    },
    /// An operator is not rescaled.
    #[error("{why}")]
    NotRescaled {
        /// Why.
        why: String,
    },
    /// No savepoint is made.
    #[error("{why}")]
    NoSavepoint {
        /// Why.
        why: String,
    },
    /// Nothing was asked for so long that others need the place, or for a minute.
    #[error("the job has closed the connection, as nothing was asked on it for a while: connect again")]
    Idle,
    /// Too many are connected.
    #[error("too many ask the job at once")]
    Busy,
    /// The control plane says nothing.
    #[error("the control plane of the job does not answer")]
    NoAnswer,
}

impl Request {
    /// A request in this version.
    pub fn new(ask: Ask) -> Self {
        Self { version: VERSION, ask }
    }

    /// From a line.
    ///
    /// # Errors
    /// Why there is no answer to it.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, Refusal> {
        /// What requests of all versions have in common.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let not_understood = |error: serde_json::Error| Refusal::NotUnderstood { why: error.to_string() };
        let Versioned { version } = serde_json::from_slice(line).map_err(not_understood)?;
        if version != VERSION {
            return Err(Refusal::Version { spoken: VERSION });
        }
        serde_json::from_slice(line).map_err(not_understood)
    }
}
