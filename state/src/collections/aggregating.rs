//! Values that go into an accumulator.

use super::{Collections, OpenValue, ValueState};
use crate::{Data, Key, State, Ttl};

/// An aggregate: an accumulator per key, and what it says.
pub trait Aggregate: Send + Sync + 'static {
    /// A record.
    type In: Data;
    /// What is kept for a key.
    type Accumulator: State;
    /// The result.
    type Out: Data;

    /// Takes a record in.
    fn add(&self, accumulator: &mut Self::Accumulator, record: Self::In);

    /// What the accumulator amounts to.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Out;
}

/// Declares an accumulator that each key of an operator has: a field of the behaviour, opened through the context.
#[derive(Debug)]
pub struct AggregatingState<A: Aggregate> {
    value: ValueState<A::Accumulator>,
    aggregate: A,
}

impl<A: Aggregate> AggregatingState<A> {
    /// One of this name, which is unique among the collections of the operator and stays what it is.
    pub fn new(name: &str, aggregate: A) -> Self {
        Self { value: ValueState::new(name), aggregate }
    }

    /// Lets the accumulator expire.
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
    ) -> OpenAggregating<'c, Of, A> {
        OpenAggregating { value: self.value.open(collections, key, hash, now_ms), aggregate: &self.aggregate }
    }
}

/// The accumulator of one key.
#[derive(Debug)]
pub struct OpenAggregating<'c, Of, A: Aggregate> {
    value: OpenValue<'c, Of, A::Accumulator>,
    aggregate: &'c A,
}

impl<Of: Key, A: Aggregate> OpenAggregating<'_, Of, A> {
    /// Takes a record in.
    pub fn add(&mut self, record: A::In) {
        let mut accumulator = self.value.get().cloned().unwrap_or_default();
        self.aggregate.add(&mut accumulator, record);
        self.value.set(accumulator);
    }

    /// What the accumulator amounts to, if a record was taken in.
    pub fn get(&mut self) -> Option<A::Out> {
        let aggregate = self.aggregate;
        self.value.get().map(|accumulator| aggregate.result(accumulator))
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.value.clear();
    }
}
