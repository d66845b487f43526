//! How many records make a good batch.

/// Finds the number of records that take a task about five milliseconds, the time it was held back included, so that
/// a barrier never waits long behind a batch.
///
/// Starts at one record and doubles at most, so that the first batches for a slow function are small ones.
#[derive(Debug)]
pub(super) struct Pace {
    records: usize,
    max: usize,
}

const TARGET_NANOS: u64 = 5_000_000;

impl Pace {
    /// At most `max` records.
    pub(super) fn new(max: usize) -> Self {
        Self { records: 1, max: max.max(1) }
    }

    /// The number now.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// So many records took so long.
    pub(super) fn observe(&mut self, records: usize, nanos: u64) {
        let fitting = (records as u64).saturating_mul(TARGET_NANOS) / nanos.max(1);
        let doubled = self.records.saturating_mul(2).min(self.max);
        self.records = usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, doubled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_work_reaches_the_largest_batch_by_doubling() {
        let mut pace = Pace::new(1024);
        for _ in 0..10 {
            let records = pace.records();
            pace.observe(records, 10 * records as u64);
        }
        assert_eq!(pace.records(), 1024);
    }

    #[test]
    fn twenty_milliseconds_a_record_means_one_record_a_batch() {
        let mut pace = Pace::new(1024);
        pace.observe(1, 20_000_000);
        assert_eq!(pace.records(), 1);
    }
}
