//! A batch: records as columns, the unit in which everything moves.

#[cfg(test)]
mod tests;

use crate::clock::NO_TIMESTAMP;

/// Records on their way from one actor to the next, as columns.
///
/// `timestamps` and `hashes` are either empty (no event time, not keyed) or as long as `values`.
#[derive(Debug, Clone)]
pub struct Batch<T> {
    /// The records.
    pub values: Vec<T>,
    /// Event time of each record in milliseconds; [`NO_TIMESTAMP`] where one record has none.
    pub timestamps: Vec<i64>,
    /// Frozen hash of each record's key, computed once by the sender.
    pub hashes: Vec<u64>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { values: Vec::new(), timestamps: Vec::new(), hashes: Vec::new() }
    }
}

impl<T> Batch<T> {
    /// Number of records.
    #[inline]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it holds no record.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Appends a record with its event time, or [`NO_TIMESTAMP`].
    #[inline]
    pub fn push(&mut self, value: T, at: i64) {
        if at != NO_TIMESTAMP || !self.timestamps.is_empty() {
            // Columns are whole or absent: the records before the first with a time get "none".
            if self.timestamps.len() != self.values.len() {
                self.catch_up();
            }
            self.timestamps.push(at);
        }
        self.values.push(value);
    }

    /// Appends a keyed record.
    #[inline]
    pub fn push_keyed(&mut self, value: T, at: i64, hash: u64) {
        self.push(value, at);
        self.hashes.push(hash);
    }

    /// Begins or goes on with the column of times, before some are added to it and as many values after them.
    pub(crate) fn begin_times(&mut self) {
        self.timestamps.resize(self.values.len(), NO_TIMESTAMP);
    }

    /// [`Batch::begin_times`] for the first record with a time. Apart, so that [`Batch::push`] is small enough for
    /// whoever emits a record to become a part of the loop that calls it.
    #[cold]
    #[inline(never)]
    fn catch_up(&mut self) {
        self.begin_times();
    }

    /// Makes the column of times whole after values were added without.
    pub(crate) fn fill_up(&mut self) {
        if !self.timestamps.is_empty() {
            self.timestamps.resize(self.values.len(), NO_TIMESTAMP);
        }
    }

    /// Event time of record `index`.
    #[inline]
    pub fn timestamp(&self, index: usize) -> i64 {
        self.timestamps.get(index).copied().unwrap_or(NO_TIMESTAMP)
    }

    /// Moves all records of `batch` to the end of this one.
    pub(crate) fn append(&mut self, batch: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, batch);
            return;
        }
        if !batch.timestamps.is_empty() {
            self.begin_times();
        }
        self.timestamps.append(&mut batch.timestamps);
        self.hashes.append(&mut batch.hashes);
        self.values.append(&mut batch.values);
        self.fill_up();
    }

    /// Adds a copy of the values of `batch` and of their times; keys end here.
    pub(crate) fn extend_from(&mut self, batch: &Self)
    where
        T: Clone,
    {
        if !batch.timestamps.is_empty() {
            self.begin_times();
        }
        self.timestamps.extend_from_slice(&batch.timestamps);
        self.values.extend_from_slice(&batch.values);
        self.fill_up();
    }

    /// Keeps the first `records` and removes the others.
    pub(crate) fn truncate(&mut self, records: usize) {
        self.values.truncate(records);
        self.timestamps.truncate(records);
        self.hashes.truncate(records);
    }

    /// Removes all records and keeps the memory.
    pub fn clear(&mut self) {
        self.values.clear();
        self.timestamps.clear();
        self.hashes.clear();
    }

    /// Hands each record to `consume` in order until it says [`Flow::Blocked`]; what was not handed over stays.
    #[inline]
    pub fn drain_while(&mut self, mut consume: impl FnMut(T, i64, u64) -> Flow) -> Flow {
        let mut records = self.values.drain(..);
        let mut handed = 0;
        let mut flow = Flow::Continue;
        if self.timestamps.is_empty() && self.hashes.is_empty() {
            // Apart, so that a fused chain without time and keys compiles to a loop over the values alone.
            for value in records.by_ref() {
                handed += 1;
                if consume(value, NO_TIMESTAMP, 0) == Flow::Blocked {
                    flow = Flow::Blocked;
                    break;
                }
            }
        } else {
            for value in records.by_ref() {
                let at = self.timestamps.get(handed).copied().unwrap_or(NO_TIMESTAMP);
                let hash = self.hashes.get(handed).copied().unwrap_or(0);
                handed += 1;
                if consume(value, at, hash) == Flow::Blocked {
                    flow = Flow::Blocked;
                    break;
                }
            }
        }
        if flow == Flow::Continue {
            drop(records);
            self.timestamps.clear();
            self.hashes.clear();
        } else {
            let rest: Vec<T> = records.collect();
            self.keep(rest, handed);
        }
        flow
    }

    /// Puts back what is left of the values after so many have been taken, and drops the rest of what belonged to
    /// those.
    pub(crate) fn keep(&mut self, rest: Vec<T>, taken: usize) {
        self.values.extend(rest);
        self.timestamps.drain(..taken.min(self.timestamps.len()));
        self.hashes.drain(..taken.min(self.hashes.len()));
    }
}

/// Whether whoever takes records has room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// More may follow.
    Continue,
    /// What was given is taken, but nothing more may be given until `resume` says [`Flow::Continue`].
    Blocked,
}

impl Flow {
    /// [`Flow::Blocked`] if either is.
    #[inline]
    pub fn and(self, other: Flow) -> Flow {
        if self == Flow::Blocked { self } else { other }
    }
}
