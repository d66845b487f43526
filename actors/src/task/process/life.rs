//! How long the states of keys live.

use std::sync::Arc;

use watershed_state::{Expiry, Key, KeyedTable, State, Sweep, TableState, Timed, Ttl};

use crate::clock::Clock;

/// How long the states of an operator's keys live, and how they are kept for that.
pub trait Life: Send + 'static {
    /// A state as the table has it.
    type Stored<S: State>: TableState;

    /// The state of a key that is in use.
    fn state<'s, S: State>(&self, stored: &'s mut Self::Stored<S>) -> &'s mut S;

    /// The state of a key for somebody who looks, if it has not expired.
    fn peek<'s, S: State>(&self, stored: &'s Self::Stored<S>) -> Option<&'s S>;

    /// A table over a database begins.
    fn begin(&mut self, expiry: &Arc<Expiry>);

    /// Removes what has expired, as far as it is found in so many slots.
    fn work_on<K: Key, S: State>(&mut self, table: &mut KeyedTable<K, Self::Stored<S>>, slots: usize);
}

/// States live until somebody removes them.
#[derive(Debug, Clone, Copy)]
pub struct Forever;

impl Life for Forever {
    type Stored<S: State> = S;

    #[inline]
    fn state<'s, S: State>(&self, stored: &'s mut S) -> &'s mut S {
        stored
    }

    fn peek<'s, S: State>(&self, stored: &'s S) -> Option<&'s S> {
        Some(stored)
    }

    fn begin(&mut self, _expiry: &Arc<Expiry>) {}

    fn work_on<K: Key, S: State>(&mut self, _table: &mut KeyedTable<K, S>, _slots: usize) {}
}

/// States live for some time after they were used last.
pub struct Expiring {
    ttl: Ttl,
    clock: Arc<dyn Clock>,
    sweep: Sweep,
    expiry: Arc<Expiry>,
}

impl std::fmt::Debug for Expiring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expiring").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Expiring {
    /// For so long, by this clock.
    pub fn new(ttl: Ttl, clock: Arc<dyn Clock>) -> Self {
        Self { ttl, clock, sweep: Sweep::default(), expiry: Arc::default() }
    }
}

impl Life for Expiring {
    type Stored<S: State> = Timed<S>;

    fn state<'s, S: State>(&self, stored: &'s mut Timed<S>) -> &'s mut S {
        stored.at(self.ttl, self.clock.wall_ms())
    }

    fn peek<'s, S: State>(&self, stored: &'s Timed<S>) -> Option<&'s S> {
        (!stored.has_expired(self.ttl, self.clock.wall_ms())).then_some(stored.state())
    }

    fn begin(&mut self, expiry: &Arc<Expiry>) {
        expiry.set_state(self.ttl);
        self.expiry = Arc::clone(expiry);
    }

    fn work_on<K: Key, S: State>(&mut self, table: &mut KeyedTable<K, Timed<S>>, slots: usize) {
        let (ttl, now_ms) = (self.ttl, self.clock.wall_ms());
        self.expiry.set_now(now_ms);
        // A round for each quarter of a life keeps a quarter more than there has to be.
        let expired = |_: &K, stored: &Timed<S>| stored.has_expired(ttl, now_ms);
        for key in table.sweep(&mut self.sweep, slots, (now_ms, ttl.after_ms() / 4), expired) {
            table.remove(watershed_state::hash_key(&key), &key);
        }
    }
}
