//! Records computed from their number.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use watershed_state::Data;

use crate::error::UserResult;
use crate::source::{Polled, Progress, ProgressUnit, Reader, Records, Source, SourceContext, Split};

/// Gives out `make(0)`, `make(1)`, …: the fastest source there is. `make` must give the same record each time it is
/// called with the same number, as a restart computes records again.
///
/// Each instance reads splits of its own; set [`splits`](Self::splits) to the parallelism, or only one instance has
/// something to do.
pub struct Generator<F> {
    make: Arc<F>,
    /// How many records there are; `None` if they don't end.
    count: Option<u64>,
    splits: u64,
}

impl<F> Generator<F> {
    /// Records 0 to `count` (excluded), or records without end.
    pub fn new<T>(count: Option<u64>, make: F) -> Self
    where
        F: Fn(u64) -> T + Send + Sync + 'static,
    {
        Self { make: Arc::new(make), count, splits: 1 }
    }

    /// Records 0 to `count` (excluded).
    pub fn bounded<T>(count: u64, make: F) -> Self
    where
        F: Fn(u64) -> T + Send + Sync + 'static,
    {
        Self::new(Some(count), make)
    }

    /// Records without end.
    pub fn unbounded<T>(make: F) -> Self
    where
        F: Fn(u64) -> T + Send + Sync + 'static,
    {
        Self::new(None, make)
    }

    /// Sets the number of splits, up to a million: 1 if nothing is said. Of `n` splits, split `s` makes the records
    /// whose number is `s` modulo `n`. It must stay the same for a job that goes on from a snapshot.
    pub fn splits(mut self, splits: usize) -> Self {
        self.splits = splits as u64;
        self
    }
}

/// What an id of a split has room for.
const SPLITS_MAX: u64 = 1_000_000;

impl<F, T> Source for Generator<F>
where
    F: Fn(u64) -> T + Send + Sync + 'static,
    T: Data,
{
    type Item = T;
    type Split = GeneratorSplit;
    type Reader = GeneratorReader<F>;

    fn splits(&self) -> UserResult<Vec<GeneratorSplit>> {
        if self.splits == 0 {
            return Err("a generator with 0 splits makes no record; say Generator::splits(1) or more".into());
        }
        if self.splits > SPLITS_MAX {
            return Err(format!(
                "a generator cannot have {} splits; say Generator::splits with at most {SPLITS_MAX}",
                self.splits
            )
            .into());
        }
        Ok((0..self.splits).map(|index| GeneratorSplit { index, of: self.splits }).collect())
    }

    fn open(
        &self,
        split: &GeneratorSplit,
        position: Option<u64>,
        _context: &SourceContext,
    ) -> UserResult<GeneratorReader<F>> {
        Ok(GeneratorReader {
            make: Arc::clone(&self.make),
            next: position.unwrap_or(split.index),
            step: split.of,
            // Nobody lives to see the end of 2^64 records.
            count: self.count.unwrap_or(u64::MAX),
        })
    }

    fn is_bounded(&self) -> bool {
        self.count.is_some()
    }
}

impl<F> fmt::Debug for Generator<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("count", &self.count)
            .field("splits", &self.splits)
            .finish_non_exhaustive()
    }
}

/// The records whose number is `index` modulo `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratorSplit {
    /// The number of the first record, and of the split.
    pub index: u64,
    /// How many splits there are.
    pub of: u64,
}

impl Split for GeneratorSplit {
    fn id(&self) -> String {
        format!("{:06}/{}", self.index, self.of)
    }
}

/// Makes the records of a split. Its position is the number of the next record.
pub struct GeneratorReader<F> {
    make: Arc<F>,
    next: u64,
    step: u64,
    count: u64,
}

impl<F, T> Reader for GeneratorReader<F>
where
    F: Fn(u64) -> T + Send + Sync,
{
    type Item = T;
    type Position = u64;

    fn poll(&mut self, records: &mut Records<'_, T>, limit: usize) -> UserResult<Polled> {
        let left = self.count.saturating_sub(self.next).div_ceil(self.step);
        let records_now = left.min(limit as u64);
        let (make, next, step) = (&*self.make, self.next, self.step);
        // A mapped range has a known length, so that no record costs a check; with consecutive numbers the compiler
        // makes vector instructions of simple functions.
        if step == 1 {
            records.extend((next..next + records_now).map(make));
        } else {
            records.extend((0..records_now).map(|index| make(next + index * step)));
        }
        self.next = next.saturating_add(records_now.saturating_mul(step));
        Ok(if records_now == left { Polled::End } else { Polled::Ready })
    }

    fn position(&self) -> u64 {
        self.next
    }

    fn progress(&self) -> Option<Progress> {
        // Of all splits, each of which has a record of every round.
        let rounds = |number: u64| number.div_ceil(self.step);
        (self.count < u64::MAX).then(|| Progress {
            done: rounds(self.next),
            total: rounds(self.count),
            unit: ProgressUnit::Records,
        })
    }
}

impl<F> fmt::Debug for GeneratorReader<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratorReader").field("next", &self.next).finish_non_exhaustive()
    }
}
