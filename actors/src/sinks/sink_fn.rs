//! A closure as sink.

#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;

use watershed_state::Data;

use crate::error::UserResult;
use crate::sink::{Sink, SinkContext, SinkWriter};

/// Hands each record to a closure that is made anew for each instance, so that it can own a connection or a buffer:
/// **at least once**.
///
/// A record counts as written when the closure returns. What gathers records before it writes them needs a [`Sink`]
/// of its own, whose writer is told when to flush.
pub struct SinkFn<T, F> {
    make: F,
    record: PhantomData<fn(T)>,
}

impl<T, F, G> SinkFn<T, F>
where
    F: Fn(&SinkContext) -> G + Send + Sync + 'static,
    G: FnMut(T) -> UserResult + Send + 'static,
{
    /// Hands records to the closures that `make` returns: `SinkFn::new(|context| move |record: String| …)`.
    pub fn new(make: F) -> Self {
        Self { make, record: PhantomData }
    }
}

impl<T, F, G> Sink for SinkFn<T, F>
where
    T: Data,
    F: Fn(&SinkContext) -> G + Send + Sync + 'static,
    G: FnMut(T) -> UserResult + Send + 'static,
{
    type In = T;
    type Writer = SinkFnWriter<T, G>;

    fn open(&self, context: &SinkContext) -> UserResult<SinkFnWriter<T, G>> {
        Ok(SinkFnWriter { write: (self.make)(context), record: PhantomData })
    }
}

impl<T, F> fmt::Debug for SinkFn<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkFn").finish_non_exhaustive()
    }
}

/// Hands records to the closure of an instance.
pub struct SinkFnWriter<T, G> {
    write: G,
    record: PhantomData<fn(T)>,
}

impl<T, G> SinkWriter for SinkFnWriter<T, G>
where
    G: FnMut(T) -> UserResult + Send,
{
    type In = T;

    fn write(&mut self, record: T) -> UserResult {
        (self.write)(record)
    }

    fn flush(&mut self) -> UserResult {
        Ok(())
    }
}

impl<T, G> fmt::Debug for SinkFnWriter<T, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkFnWriter").finish_non_exhaustive()
    }
}
