//! Which instance of the next actor gets a record.

use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use watershed_state::{KeyGroups, hash_key};

use crate::batch::{Batch, Flow};
use crate::edge::sender::Sender;

/// Chooses the channel of each record.
pub trait Route<T>: Send {
    /// Puts the record into a channel.
    fn route(&mut self, value: T, at: i64, senders: &mut [Sender<T>]) -> Flow;

    /// Puts records from the front of `batch` into channels until one of them is blocked.
    fn batch(&mut self, batch: &mut Batch<T>, senders: &mut [Sender<T>]) -> Flow {
        batch.drain_while(|value, at, _| self.route(value, at, senders))
    }
}

/// To the one instance with the sender's own number.
#[derive(Debug)]
pub struct Forward;

impl<T: Send> Route<T> for Forward {
    #[inline]
    fn route(&mut self, value: T, at: i64, senders: &mut [Sender<T>]) -> Flow {
        senders[0].push(value, at)
    }

    fn batch(&mut self, batch: &mut Batch<T>, senders: &mut [Sender<T>]) -> Flow {
        batch.hashes.clear();
        senders[0].append(batch)
    }
}

/// To the instance that owns the record's key.
pub struct ByKey<K, F> {
    key_of: Arc<F>,
    groups: KeyGroups,
    /// Instance of each key group: a table, since a division would cost more than the rest.
    owner: Box<[u16]>,
    /// Whether the receiver has a use for the hashes.
    carried: bool,
    /// Hash and owner of each record of the batch at hand.
    hashes: Vec<u64>,
    owners: Vec<u16>,
    key: PhantomData<fn() -> K>,
}

/// Below this many records, to look for the channel with the least room costs more than it saves.
const WORTH_A_LOOK: usize = 16;

impl<K, F> std::fmt::Debug for ByKey<K, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByKey").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl<K, F> ByKey<K, F> {
    /// Routes to `parallelism` instances by the key that `key_of` finds.
    pub fn new(key_of: Arc<F>, groups: KeyGroups, parallelism: usize) -> Self {
        let owner = (0..groups.count()).map(|group| groups.instance_of(group, parallelism) as u16).collect();
        let (hashes, owners) = (Vec::new(), Vec::new());
        Self { key_of, groups, owner, carried: true, hashes, owners, key: PhantomData }
    }

    /// Sends no hashes along: the receiver has no state that is found by them.
    pub fn without_hashes(mut self) -> Self {
        self.carried = false;
        self
    }
}

impl<K: Hash, F> ByKey<K, F> {
    #[inline]
    fn owner_of(&self, hash: u64) -> u16 {
        self.owner[usize::from(self.groups.group_of(hash))]
    }

    /// Deals records out without a look at each channel: as many at a time as fit into every one, a column after the
    /// other.
    fn scatter<T>(&mut self, batch: &mut Batch<T>, senders: &mut [Sender<T>]) -> Flow
    where
        F: Fn(&T) -> K,
    {
        let mut hashes = std::mem::take(&mut self.hashes);
        let mut owners = std::mem::take(&mut self.owners);
        hashes.clear();
        hashes.extend(batch.values.iter().map(|value| hash_key(&(self.key_of)(value))));
        owners.clear();
        owners.extend(hashes.iter().map(|hash| self.owner_of(*hash)));

        let timestamps = std::mem::take(&mut batch.timestamps);
        let mut values = batch.values.drain(..);
        let (mut done, count) = (0, owners.len());
        let mut flow = Flow::Continue;
        while done < count && flow == Flow::Continue {
            let room = senders.iter().map(Sender::room).min().unwrap_or(0);
            let now = done..count.min(done + room.max(1));
            let owners = &owners[now.clone()];
            if let Some(timestamps) = timestamps.get(now.clone()) {
                for sender in &mut *senders {
                    sender.building.begin_times();
                }
                for (owner, at) in owners.iter().zip(timestamps) {
                    senders[usize::from(*owner)].building.timestamps.push(*at);
                }
            }
            if self.carried {
                for (owner, hash) in owners.iter().zip(&hashes[now.clone()]) {
                    senders[usize::from(*owner)].building.hashes.push(*hash);
                }
            }
            // Owners first: where they end, no value has been taken out.
            for (owner, value) in owners.iter().zip(values.by_ref()) {
                senders[usize::from(*owner)].building.values.push(value);
            }
            for sender in &mut *senders {
                sender.building.fill_up();
                flow = flow.and(sender.close_if_full());
            }
            done = now.end;
        }
        let rest: Vec<T> = values.collect();
        batch.timestamps = timestamps;
        batch.keep(rest, done);
        (self.hashes, self.owners) = (hashes, owners);
        flow
    }
}

impl<T: Send, K: Hash, F: Fn(&T) -> K + Send + Sync> Route<T> for ByKey<K, F> {
    #[inline]
    fn route(&mut self, value: T, at: i64, senders: &mut [Sender<T>]) -> Flow {
        let hash = hash_key(&(self.key_of)(&value));
        let sender = &mut senders[usize::from(self.owner_of(hash))];
        if self.carried { sender.push_keyed(value, at, hash) } else { sender.push(value, at) }
    }

    fn batch(&mut self, batch: &mut Batch<T>, senders: &mut [Sender<T>]) -> Flow {
        batch.hashes.clear();
        if let [sender] = senders {
            if self.carried {
                batch.hashes.extend(batch.values.iter().map(|value| hash_key(&(self.key_of)(value))));
            }
            return sender.append(batch);
        }
        if senders.iter().all(|sender| sender.limit >= WORTH_A_LOOK) {
            self.scatter(batch, senders)
        } else {
            batch.drain_while(|value, at, _| self.route(value, at, senders))
        }
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
