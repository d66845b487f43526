//! Records gathered in memory, for tests.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use watershed_state::{Data, Fs};

use crate::error::UserResult;
use crate::sink::{NoClaim, OutputClaim, Owner, Prepare, SinkContext, TwoPhaseSink, TwoPhaseWriter};

/// Gathers records in memory, each **exactly once**, also when the job crashes and is started again with the same
/// collector. Clones are the same collector.
///
/// Records appear when the checkpoint that covers them is complete. Those of one instance appear in their order.
pub struct Collector<T>(Arc<Mutex<Collected<T>>>);

struct Collected<T> {
    records: Vec<T>,
    /// What has been committed, so that committing it again does nothing.
    committed: BTreeSet<Token>,
}

impl<T> Collector<T> {
    /// An empty collector.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Collected { records: Vec::new(), committed: BTreeSet::new() })))
    }

    /// A sink that fills it.
    pub fn sink(&self) -> CollectorSink<T> {
        CollectorSink(self.clone())
    }

    /// Removes and returns what has been gathered so far.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.lock().records)
    }

    /// Returns what has been gathered so far.
    pub fn snapshot(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.lock().records.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Collected<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Collector<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Collector<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Collector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("records", &self.lock().records.len()).finish_non_exhaustive()
    }
}

/// Fills a [`Collector`].
#[derive(Debug)]
pub struct CollectorSink<T>(Collector<T>);

/// Records that wait for their checkpoint. They live in the snapshot, as there is nowhere else to keep them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "T: Data")]
pub struct CollectedPart<T> {
    token: Token,
    records: Vec<T>,
}

/// What tells one part from all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Token {
    lineage: String,
    operator: String,
    instance: usize,
    run: u64,
    checkpoint: u64,
}

impl<T: Data> TwoPhaseSink for CollectorSink<T> {
    type In = T;
    type Writer = CollectorWriter<T>;
    type Committable = CollectedPart<T>;

    fn check(&self, _fs: &Fs) -> UserResult {
        Ok(())
    }

    fn claim(&self, _owner: &Owner, _fs: &Fs) -> UserResult<Box<dyn OutputClaim>> {
        Ok(Box::new(NoClaim))
    }

    fn open(&self, context: &SinkContext) -> UserResult<CollectorWriter<T>> {
        let token = Token {
            lineage: context.lineage.clone(),
            operator: context.instance.operator.to_string(),
            instance: context.instance.index,
            run: context.run,
            checkpoint: 0,
        };
        Ok(CollectorWriter { token, records: Vec::new() })
    }

    fn commit(&self, part: &CollectedPart<T>, _context: &SinkContext) -> UserResult {
        let mut collected = self.0.lock();
        if collected.committed.insert(part.token.clone()) {
            collected.records.extend(part.records.iter().cloned());
        }
        Ok(())
    }

    fn discard_dangling(
        &self,
        _keep: &[CollectedPart<T>],
        _runs: Range<u64>,
        _instance: Option<usize>,
        _context: &SinkContext,
    ) -> UserResult {
        Ok(())
    }

    fn committed_through(&self, lineage: &str, _fs: &Fs) -> UserResult<Option<u64>> {
        let collected = self.0.lock();
        let committed = collected.committed.iter().filter(|token| token.lineage == lineage);
        Ok(committed.map(|token| token.checkpoint).max())
    }

    fn lineages(&self, operator: &str, _fs: &Fs) -> UserResult<BTreeSet<String>> {
        let collected = self.0.lock();
        // What somebody has taken is shown no more.
        let shown = collected.committed.iter().filter(|_| !collected.records.is_empty());
        let committed = shown.filter(|token| token.operator == operator);
        Ok(committed.map(|token| token.lineage.clone()).collect())
    }

    fn visible(&self, _fs: &Fs) -> UserResult<Option<Vec<String>>> {
        let texts = self.0.lock().records.iter().map(serde_json::to_string).collect::<Result<_, _>>();
        // Not every record has JSON.
        Ok(texts.ok())
    }

    fn forget(&self) {
        let mut collected = self.0.lock();
        collected.records.clear();
        collected.committed.clear();
    }
}

/// Gathers the records of one instance until the next checkpoint.
pub struct CollectorWriter<T> {
    /// Whose parts these are; each gets its own checkpoint.
    token: Token,
    records: Vec<T>,
}

impl<T: Data> TwoPhaseWriter for CollectorWriter<T> {
    type In = T;
    type Committable = CollectedPart<T>;

    fn write(&mut self, record: T) -> UserResult {
        self.records.push(record);
        Ok(())
    }

    fn prepare(&mut self, checkpoint: u64) -> UserResult<Option<Prepare<CollectedPart<T>>>> {
        if self.records.is_empty() {
            return Ok(None);
        }
        let token = Token { checkpoint, ..self.token.clone() };
        let part = CollectedPart { token, records: std::mem::take(&mut self.records) };
        Ok(Some(Box::new(move || Ok(part))))
    }
}

impl<T> fmt::Debug for CollectorWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectorWriter").field("records", &self.records.len()).finish_non_exhaustive()
    }
}
