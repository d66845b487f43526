//! A source that tells when a checkpoint begins.

use std::sync::Arc;

use watershed::{Polled, Reader, Records, Source, SourceContext, UserResult};

/// Calls a closure when a reader is asked for its position, which is when it sends a barrier.
pub(crate) struct Marked<S, F> {
    source: S,
    at_barrier: Arc<F>,
}

impl<S, F: Fn()> Marked<S, F> {
    pub(crate) fn new(source: S, at_barrier: F) -> Self {
        Self { source, at_barrier: Arc::new(at_barrier) }
    }
}

pub(crate) struct MarkedReader<R, F> {
    reader: R,
    at_barrier: Arc<F>,
}

impl<S: Source, F: Fn() + Send + Sync + 'static> Source for Marked<S, F> {
    type Item = S::Item;
    type Split = S::Split;
    type Reader = MarkedReader<S::Reader, F>;

    fn splits(&self) -> UserResult<Vec<S::Split>> {
        self.source.splits()
    }

    fn open(
        &self,
        split: &S::Split,
        position: Option<<S::Reader as Reader>::Position>,
        context: &SourceContext,
    ) -> UserResult<Self::Reader> {
        let reader = self.source.open(split, position, context)?;
        Ok(MarkedReader { reader, at_barrier: Arc::clone(&self.at_barrier) })
    }

    fn is_bounded(&self) -> bool {
        self.source.is_bounded()
    }
}

impl<R: Reader, F: Fn() + Send + Sync> Reader for MarkedReader<R, F> {
    type Item = R::Item;
    type Position = R::Position;

    fn poll(&mut self, records: &mut Records<'_, R::Item>, limit: usize) -> UserResult<Polled> {
        self.reader.poll(records, limit)
    }

    fn position(&self) -> R::Position {
        (self.at_barrier)();
        self.reader.position()
    }
}
