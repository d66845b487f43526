//! Which instance of the next actor gets a record.

use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use watershed_state::{KeyGroups, hash_key};

use crate::batch::Flow;
use crate::edge::Sender;

/// Chooses the channel of each record.
pub trait Route<T>: Send {
    /// Puts the record into a channel.
    fn route(&mut self, value: T, at: i64, senders: &mut [Sender<T>]) -> Flow;
}

/// To the one instance with the sender's own number.
#[derive(Debug)]
pub struct Forward;

impl<T: Send> Route<T> for Forward {
    #[inline]
    fn route(&mut self, value: T, at: i64, senders: &mut [Sender<T>]) -> Flow {
        senders[0].push(value, at)
    }
}

/// To the instance that owns the record's key.
pub struct ByKey<K, F> {
    key_of: Arc<F>,
    groups: KeyGroups,
    /// Instance of each key group: a table, since a division would cost more than the rest.
    owner: Box<[u16]>,
    key: PhantomData<fn() -> K>,
}

impl<K, F> std::fmt::Debug for ByKey<K, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByKey").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl<K, F> ByKey<K, F> {
    /// Routes to `parallelism` instances by the key that `key_of` finds.
    pub fn new(key_of: Arc<F>, groups: KeyGroups, parallelism: usize) -> Self {
        let owner = (0..groups.count()).map(|group| groups.instance_of(group, parallelism) as u16).collect();
        Self { key_of, groups, owner, key: PhantomData }
    }
}

impl<T: Send, K: Hash, F: Fn(&T) -> K + Send + Sync> Route<T> for ByKey<K, F> {
    #[inline]
    fn route(&mut self, value: T, at: i64, senders: &mut [Sender<T>]) -> Flow {
        let hash = hash_key(&(self.key_of)(&value));
        let owner = self.owner[usize::from(self.groups.group_of(hash))];
        senders[usize::from(owner)].push_keyed(value, at, hash)
    }
}

/// To all instances in turn.
#[derive(Debug)]
pub struct Rebalance {
    next: usize,
}

impl Rebalance {
    /// Starts with the instance of this number, so that senders do not all begin with the same one.
    pub fn starting_at(next: usize) -> Self {
        Self { next }
    }
}

impl<T: Send> Route<T> for Rebalance {
    #[inline]
    fn route(&mut self, value: T, at: i64, senders: &mut [Sender<T>]) -> Flow {
        self.next = if self.next + 1 >= senders.len() { 0 } else { self.next + 1 };
        senders[self.next].push(value, at)
    }
}

/// To every instance.
#[derive(Debug)]
pub struct Broadcast;

impl<T: Clone + Send> Route<T> for Broadcast {
    #[inline]
    fn route(&mut self, value: T, at: i64, senders: &mut [Sender<T>]) -> Flow {
        let mut flow = Flow::Continue;
        if let Some((last, others)) = senders.split_last_mut() {
            for sender in others {
                flow = flow.and(sender.push(value.clone(), at));
            }
            flow = flow.and(last.push(value, at));
        }
        flow
    }
}
