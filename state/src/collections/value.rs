//! Single values.

use std::marker::PhantomData;

use super::{At, CollectionKind, Collections, Declared};
use crate::{Data, Key, Ttl};

/// Declares a value that each key of an operator may have, besides its state: a field of the behaviour, opened through
/// the context. It is for what is rarely used, or expires; what is used with each record belongs into the state.
#[derive(Debug)]
pub struct ValueState<T> {
    pub(super) declared: Declared,
    value: PhantomData<fn() -> T>,
}

impl<T: Data> ValueState<T> {
    /// A value of this name, which is unique among the collections of the operator and stays what it is: by it a
    /// restored job finds what was saved.
    pub fn new(name: &str) -> Self {
        Self { declared: Declared::new(name, CollectionKind::Value), value: PhantomData }
    }

    /// Lets the value expire.
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.declared.ttl = Some(ttl);
        self
    }

    /// The value of one key, whose [`hash_key`](crate::hash_key) this is. The time, in milliseconds, is only asked for
    /// if it expires.
    pub fn open<'c, Of: Key>(
        &self,
        collections: &'c mut Collections<Of>,
        key: &'c Of,
        hash: u64,
        now_ms: impl FnOnce() -> i64,
    ) -> OpenValue<'c, Of, T> {
        OpenValue { at: collections.at::<T>(&self.declared, (key, hash), now_ms), value: PhantomData }
    }
}

/// The value of one key, or its absence.
#[derive(Debug)]
pub struct OpenValue<'c, Of, T> {
    at: At<'c, Of>,
    value: PhantomData<fn() -> T>,
}

impl<Of: Key, T: Data> OpenValue<'_, Of, T> {
    /// The value, if there is one.
    pub fn get(&mut self) -> Option<&T> {
        let (expired, now_ms) = (self.at.expired(), self.at.now_ms);
        let leaf = self.at.leaf::<T>(0)?;
        if leaf.times.first().is_some_and(|time| expired(*time)) {
            return None;
        }
        if self.at.is_renewed_by_reading() {
            self.at.change::<T>(0).times.fill(now_ms);
        }
        self.at.leaf::<T>(0)?.items.first()
    }

    /// Gives it another value.
    pub fn set(&mut self, value: T) {
        let (now_ms, expires) = (self.at.now_ms, self.at.ttl.is_some());
        let leaf = self.at.change::<T>(0);
        leaf.items.clear();
        leaf.items.push(value);
        leaf.len = 1;
        leaf.times.clear();
        if expires {
            leaf.times.push(now_ms);
        }
    }

    /// Takes the value away.
    pub fn take(&mut self) -> Option<T> {
        let value = self.get().cloned();
        self.clear();
        value
    }

    /// Has no value from now on.
    pub fn clear(&mut self) {
        self.at.clear();
    }
}
