//! The record-at-a-time operators.

use std::sync::Arc;

use watershed_state::Data;

use crate::batch::Flow;
use crate::chain::{FusedWatermarks, Push};
use crate::error::UserResult;
use crate::message::Signal;
use crate::supervision::{Place, Rejecter};

/// One fused operator: what it does with a record, given what comes after it.
///
/// Only the record path has to be written; the rest passes through.
pub trait Operation<T>: Send {
    /// What it gives to the next one.
    type Out;

    /// Takes a record.
    fn apply<N: Push<Self::Out>>(&mut self, value: T, at: i64, next: &mut N) -> Flow;

    /// Goes on with a record whose outputs did not fit.
    fn resume<N: Push<Self::Out>>(&mut self, _next: &mut N) -> Flow {
        Flow::Continue
    }

    /// Whether a record is only partly through.
    fn interrupted(&self) -> bool {
        false
    }

    /// Takes a signal.
    fn signal<N: Push<Self::Out>>(&mut self, signal: Signal, next: &mut N) {
        next.signal(signal);
    }

    /// Is told the time; see [`Push::tick`].
    fn tick<N: Push<Self::Out>>(&mut self, _now_nanos: u64, _starved: bool, _next: &mut N) -> u64 {
        u64::MAX
    }

    /// Notes how far event time has come, if it has to know that after a restart.
    fn save(&self, _saved: &mut FusedWatermarks) {}

    /// Takes back what was noted.
    fn load(&mut self, _saved: &mut FusedWatermarks) {}

    /// A record that the closure in this place has rejected before, if this is that closure.
    fn replay(&self, _place: &Place, _record: &[u8]) -> Option<UserResult<T>> {
        None
    }
}

/// One record for one.
#[derive(Debug)]
pub struct Map<F>(pub Arc<F>);

impl<T, U, F: Fn(T) -> U + Send + Sync> Operation<T> for Map<F> {
    type Out = U;

    #[inline]
    fn apply<N: Push<U>>(&mut self, value: T, at: i64, next: &mut N) -> Flow {
        next.push((self.0)(value), at)
    }
}

/// Only the records for which the closure says so.
#[derive(Debug)]
pub struct Filter<F>(pub Arc<F>);

impl<T, F: Fn(&T) -> bool + Send + Sync> Operation<T> for Filter<F> {
    type Out = T;

    #[inline]
    fn apply<N: Push<T>>(&mut self, value: T, at: i64, next: &mut N) -> Flow {
        if (self.0)(&value) { next.push(value, at) } else { Flow::Continue }
    }
}

/// One record or none for one.
#[derive(Debug)]
pub struct FilterMap<F>(pub Arc<F>);

impl<T, U, F: Fn(T) -> Option<U> + Send + Sync> Operation<T> for FilterMap<F> {
    type Out = U;

    #[inline]
    fn apply<N: Push<U>>(&mut self, value: T, at: i64, next: &mut N) -> Flow {
        match (self.0)(value) {
            Some(out) => next.push(out, at),
            None => Flow::Continue,
        }
    }
}

/// Looks at each record.
#[derive(Debug)]
pub struct Inspect<F>(pub Arc<F>);

impl<T, F: Fn(&T) + Send + Sync> Operation<T> for Inspect<F> {
    type Out = T;

    #[inline]
    fn apply<N: Push<T>>(&mut self, value: T, at: i64, next: &mut N) -> Flow {
        (self.0)(&value);
        next.push(value, at)
    }
}

/// One record for one, or an error.
#[derive(Debug)]
pub struct TryMap<F> {
    function: Arc<F>,
    rejecter: Rejecter,
}

impl<F> TryMap<F> {
    /// With the closure, and what becomes of a record that makes it fail.
    pub fn new(function: Arc<F>, rejecter: Rejecter) -> Self {
        Self { function, rejecter }
    }
}

impl<T: Data, U, F: Fn(T) -> UserResult<U> + Send + Sync> Operation<T> for TryMap<F> {
    type Out = U;

    #[inline]
    fn apply<N: Push<U>>(&mut self, value: T, at: i64, next: &mut N) -> Flow {
        let kept = self.rejecter.keep(&value);
        match (self.function)(value) {
            Ok(out) => next.push(out, at),
            Err(error) => self.rejecter.rejected(kept, at, error),
        }
    }

    fn replay(&self, place: &Place, record: &[u8]) -> Option<UserResult<T>> {
        self.rejecter.replay(place, record)
    }
}

/// One record or none for one, or an error.
#[derive(Debug)]
pub struct TryFilterMap<F> {
    function: Arc<F>,
    rejecter: Rejecter,
}

impl<F> TryFilterMap<F> {
    /// With the closure, and what becomes of a record that makes it fail.
    pub fn new(function: Arc<F>, rejecter: Rejecter) -> Self {
        Self { function, rejecter }
    }
}

impl<T: Data, U, F: Fn(T) -> UserResult<Option<U>> + Send + Sync> Operation<T> for TryFilterMap<F> {
    type Out = U;

    #[inline]
    fn apply<N: Push<U>>(&mut self, value: T, at: i64, next: &mut N) -> Flow {
        let kept = self.rejecter.keep(&value);
        match (self.function)(value) {
            Ok(Some(out)) => next.push(out, at),
            Ok(None) => Flow::Continue,
            Err(error) => self.rejecter.rejected(kept, at, error),
        }
    }

    fn replay(&self, place: &Place, record: &[u8]) -> Option<UserResult<T>> {
        self.rejecter.replay(place, record)
    }
}

/// Any number of records for one. Its iterator is kept where an output has no room, so one record may become millions
/// in a fixed amount of memory.
#[derive(Debug)]
pub struct FlatMap<F, I: IntoIterator> {
    function: Arc<F>,
    rest: Option<(I::IntoIter, i64)>,
}

impl<F, I: IntoIterator> FlatMap<F, I> {
    /// With the closure that makes the records.
    pub fn new(function: Arc<F>) -> Self {
        Self { function, rest: None }
    }
}

/// Pushes what an iterator gives; keeps it in `rest` when blocked.
#[inline]
fn push_all<I: Iterator>(
    mut items: I,
    at: i64,
    rest: &mut Option<(I, i64)>,
    next: &mut impl Push<I::Item>,
) -> Flow {
    while let Some(item) = items.next() {
        if next.push(item, at) == Flow::Blocked {
            *rest = Some((items, at));
            return Flow::Blocked;
        }
    }
    Flow::Continue
}

impl<T, I, F> Operation<T> for FlatMap<F, I>
where
    I: IntoIterator,
    I::IntoIter: Send,
    F: Fn(T) -> I + Send + Sync,
{
    type Out = I::Item;

    #[inline]
    fn apply<N: Push<I::Item>>(&mut self, value: T, at: i64, next: &mut N) -> Flow {
        push_all((self.function)(value).into_iter(), at, &mut self.rest, next)
    }

    fn resume<N: Push<I::Item>>(&mut self, next: &mut N) -> Flow {
        match self.rest.take() {
            Some((items, at)) => push_all(items, at, &mut self.rest, next),
            None => Flow::Continue,
        }
    }

    fn interrupted(&self) -> bool {
        self.rest.is_some()
    }
}

/// [`FlatMap`] whose closure may fail.
#[derive(Debug)]
pub struct TryFlatMap<F, I: IntoIterator> {
    function: Arc<F>,
    rejecter: Rejecter,
    rest: Option<(I::IntoIter, i64)>,
}

impl<F, I: IntoIterator> TryFlatMap<F, I> {
    /// With the closure that makes the records, and what becomes of a record that makes it fail.
    pub fn new(function: Arc<F>, rejecter: Rejecter) -> Self {
        Self { function, rejecter, rest: None }
    }
}

impl<T, I, F> Operation<T> for TryFlatMap<F, I>
where
    T: Data,
    I: IntoIterator,
    I::IntoIter: Send,
    F: Fn(T) -> UserResult<I> + Send + Sync,
{
    type Out = I::Item;

    #[inline]
    fn apply<N: Push<I::Item>>(&mut self, value: T, at: i64, next: &mut N) -> Flow {
        let kept = self.rejecter.keep(&value);
        match (self.function)(value) {
            Ok(items) => push_all(items.into_iter(), at, &mut self.rest, next),
            Err(error) => self.rejecter.rejected(kept, at, error),
        }
    }

    fn replay(&self, place: &Place, record: &[u8]) -> Option<UserResult<T>> {
        self.rejecter.replay(place, record)
    }

    fn resume<N: Push<I::Item>>(&mut self, next: &mut N) -> Flow {
        match self.rest.take() {
            Some((items, at)) => push_all(items, at, &mut self.rest, next),
            None => Flow::Continue,
        }
    }

    fn interrupted(&self) -> bool {
        self.rest.is_some()
    }
}

/// The end of a chain in a closure of its own for each instance.
pub struct ForEach<F>(pub F);

impl<F> std::fmt::Debug for ForEach<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForEach")
    }
}

impl<T, F: FnMut(T) + Send> Push<T> for ForEach<F> {
    #[inline]
    fn push(&mut self, value: T, _at: i64) -> Flow {
        (self.0)(value);
        Flow::Continue
    }
    fn resume(&mut self) -> Flow {
        Flow::Continue
    }
    fn interrupted(&self) -> bool {
        false
    }
    fn signal(&mut self, _signal: Signal) {}
    fn tick(&mut self, _now_nanos: u64, _starved: bool) -> u64 {
        u64::MAX
    }
    fn save(&self, _saved: &mut FusedWatermarks) {}
    fn load(&mut self, _saved: &mut FusedWatermarks) {}
}
