//! Asking a running job for the state of a key.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};

use watershed_actors::{Found, QueryKey, chain_of};
use watershed_state::{Key, State, decode, encode, hash_key};

use crate::answer::{ANSWER, late};
use crate::error::{Error, Result};
use crate::event::Command;
use crate::job::Job;

impl Job {
    /// The state that an operator has for a key at this moment; `None` if it has none. `K` and `S` are the
    /// [`Process::Key`](watershed_actors::Process::Key) and [`Process::State`](watershed_actors::Process::State) of the
    /// operator, or types that are encoded in the same way.
    ///
    /// The instance that has the key answers between two batches, whether there is room in its outputs or not; asking
    /// changes nothing, and a job that nobody asks pays nothing for it. What it says is the state of *this run*:
    /// records since the last checkpoint are in it, and a failure may take them back.
    ///
    /// # Errors
    /// If there is no such operator, it has no state by key, its keys or states are of other types, it is restarting,
    /// it does not come to answer within ten seconds, too many ask it at once, its disk refuses, or the job has ended.
    pub fn query<K: Key, S: State>(&self, operator: &str, key: &K) -> Result<Option<S>> {
        let mut bytes = Vec::new();
        encode(key, &mut bytes).map_err(|error| Error::config(chain_of(&error)))?;
        let (hash, type_name) = (hash_key(key), std::any::type_name::<K>());
        let (reply, answer) = sync_channel(1);
        // Whoever asked may have gone.
        let reply = Box::new(move |answered| drop(reply.try_send(answered)));
        let key = QueryKey::Encoded { bytes, hash, type_name };
        self.command(Command::Query { operator: operator.to_string(), key, reply })?;
        let found = answer.recv_timeout(ANSWER).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => late(operator),
                RecvTimeoutError::Disconnected => Error::config("the job has ended"),
            })
        })?;
        found.map(|found| decoded(operator, &found)).transpose()
    }
}

fn decoded<S: State>(operator: &str, found: &Found) -> Result<S> {
    let mut input = found.state.as_slice();
    let state = decode(&mut input).map_err(|error| {
        let (has, wanted) = (found.state_type, std::any::type_name::<S>());
        let why = chain_of(&error);
        Error::config(format!("the states of `{operator}` are of type `{has}`, not `{wanted}`: {why}"))
    })?;
    Ok(state)
}
