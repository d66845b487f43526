//! Values that are folded into one.

use std::sync::Arc;

use super::{Collections, OpenValue, ValueState};
use crate::{Data, Key, Ttl};

/// Declares what the values of each key of an operator are folded into: a field of the behaviour, opened through the
/// context.
pub struct ReducingState<T> {
    value: ValueState<T>,
    reduce: Arc<dyn Fn(T, T) -> T + Send + Sync>,
}

impl<T> std::fmt::Debug for ReducingState<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReducingState").field("value", &self.value.declared.name).finish_non_exhaustive()
    }
}

impl<T: Data> ReducingState<T> {
    /// One of this name, which is unique among the collections of the operator and stays what it is. `reduce` makes one
    /// value of two.
    pub fn new(name: &str, reduce: impl Fn(T, T) -> T + Send + Sync + 'static) -> Self {
        Self { value: ValueState::new(name), reduce: Arc::new(reduce) }
    }

    /// Lets the value expire.
    pub fn ttl(self, ttl: Ttl) -> Self {
        Self { value: self.value.ttl(ttl), ..self }
    }

    /// That of one key, as [`ValueState::open`] says.
    pub fn open<'c, Of: Key>(
        &'c self,
        collections: &'c mut Collections<Of>,
        key: &'c Of,
        hash: u64,
        now_ms: impl FnOnce() -> i64,
    ) -> OpenReducing<'c, Of, T> {
        OpenReducing { value: self.value.open(collections, key, hash, now_ms), reduce: &*self.reduce }
    }
}

/// What the values of one key amount to.
pub struct OpenReducing<'c, Of, T> {
    value: OpenValue<'c, Of, T>,
    reduce: &'c (dyn Fn(T, T) -> T + Send + Sync),
}

impl<Of: std::fmt::Debug, T> std::fmt::Debug for OpenReducing<'_, Of, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenReducing").finish_non_exhaustive()
    }
}

impl<Of: Key, T: Data> OpenReducing<'_, Of, T> {
    /// Folds a value in.
    pub fn add(&mut self, value: T) {
        let value = match self.value.get() {
            Some(before) => (self.reduce)(before.clone(), value),
            None => value,
        };
        self.value.set(value);
    }

    /// What all values amount to, if there was one.
    pub fn get(&mut self) -> Option<&T> {
        self.value.get()
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.value.clear();
    }
}
