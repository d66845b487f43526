//! Questions from outside about the state of a key, answered by the instance that has it, between two batches.
//!
//! Whoever asks has no types in common with the instance: keys come encoded or as JSON, states go encoded.

#[cfg(test)]
mod tests;

use std::any::type_name;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use watershed_state::{Key, chain_of, decode, hash_key};

/// A question about the state of a key. It is answered exactly once: if nobody does, with [`QueryError::Gone`].
pub struct Query {
    /// The key.
    key: QueryKey,
    reply: Option<Reply>,
}

/// Takes the answer.
type Reply = Box<dyn FnOnce(Result<Reading, QueryError>) + Send>;

/// The key that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryKey {
    /// Encoded as in snapshots.
    Encoded {
        /// The bytes.
        bytes: Vec<u8>,
        /// The frozen hash of the key, which proves that it is the same in the type of the operator.
        hash: u64,
        /// The type it has for whoever asks.
        type_name: &'static str,
    },
    /// As JSON; the quotes of a text may be left out.
    Json(String),
}

/// What an instance knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The key is another instance's.
    Elsewhere,
    /// The key has no state.
    Nothing,
    /// The key has this state.
    State(Found),
}

/// The state of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The key, encoded as in snapshots.
    pub key: Vec<u8>,
    /// The state, likewise.
    pub state: Vec<u8>,
    /// The type of the state.
    pub state_type: &'static str,
}

/// Why an instance does not say what the state of a key is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// It has no state for each key.
    #[error("it keeps no state by key")]
    NoState,
    /// What was given is no key of the operator.
    #[error("its keys are of type `{expected}`, which {given} is not: {why}")]
    WrongKey {
        /// The type of the keys.
        expected: &'static str,
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// The state cannot be read or encoded. The job goes on.
    #[error("the state cannot be read: {0}")]
    Fault(String),
    /// Too many wait for an answer of this instance.
    #[error("too many questions wait for an answer of it: ask again later")]
    Busy,
    /// The instance went away before it answered.
    #[error("it restarts, or the job ends: ask again")]
    Gone,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Query {
    /// A question about this key, whose answer goes to `reply`.
    pub fn new(key: QueryKey, reply: impl FnOnce(Result<Reading, QueryError>) + Send + 'static) -> Self {
        Self { key, reply: Some(Box::new(reply)) }
    }

    /// The key that is asked for.
    pub fn key(&self) -> &QueryKey {
        &self.key
    }

    /// Answers it.
    pub fn answer(mut self, answer: Result<Reading, QueryError>) {
        self.say(answer);
    }

    fn say(&mut self, answer: Result<Reading, QueryError>) {
        if let Some(reply) = self.reply.take() {
            reply(answer);
        }
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        self.say(Err(QueryError::Gone));
    }
}

impl QueryKey {
    /// The key, as the operator has it.
    ///
    /// # Errors
    /// If it is none of this type.
    pub fn parse<K: Key>(&self) -> Result<K, QueryError> {
        match self {
            Self::Json(text) => from_json(text),
            Self::Encoded { bytes, hash, type_name: given } => {
                let wrong = |why: String| QueryError::WrongKey {
                    expected: type_name::<K>(),
                    given: format!("a `{given}`"),
                    why,
                };
                let mut input = bytes.as_slice();
                let key: K = decode(&mut input).map_err(|error| wrong(chain_of(&error)))?;
                if input.is_empty() && hash_key(&key) == *hash {
                    Ok(key)
                } else {
                    Err(wrong("it would be found under another hash".to_string()))
                }
            }
        }
    }
}

/// A key from its JSON, or from a text without the quotes.
fn from_json<K: Key>(text: &str) -> Result<K, QueryError> {
    serde_json::from_str(text).or_else(|error| {
        let quoted = serde_json::Value::String(text.to_string());
        serde_json::from_value(quoted).map_err(|_| QueryError::WrongKey {
            expected: type_name::<K>(),
            given: format!("the JSON `{text}`"),
            why: error.to_string(),
        })
    })
}

/// The questions that wait for one instance.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    waiting: Mutex<Waiting>,
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    queries: VecDeque<Query>,
    /// Nobody will answer any more.
    is_closed: bool,
}

/// Questions that may wait for one instance.
const WAITING_MAX: usize = 128;

impl Queries {
    /// Files a question, unless it is refused at once.
    pub(crate) fn ask(&self, query: Query) {
        let mut waiting = self.lock();
        let refusal = match &*waiting {
            Waiting { is_closed: true, .. } => QueryError::Gone,
            Waiting { queries, .. } if queries.len() >= WAITING_MAX => QueryError::Busy,
            _ => {
                waiting.queries.push_back(query);
                self.any.store(true, Ordering::Release);
                return;
            }
        };
        drop(waiting);
        query.answer(Err(refusal));
    }

    /// Whether somebody asks.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// What is asked.
    #[cold]
    pub(crate) fn take(&self) -> VecDeque<Query> {
        let mut waiting = self.lock();
        self.any.store(false, Ordering::Release);
        std::mem::take(&mut waiting.queries)
    }

    /// Refuses what waits and what is still to come.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        // Answered without the lock, as whoever hears it may ask again.
        drop(self.take());
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
