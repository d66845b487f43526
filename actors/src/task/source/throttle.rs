//! How many records a source may read in a time.

/// Holds a source to a number of records per second.
#[derive(Debug)]
pub(super) struct Throttle {
    nanos_per_record: f64,
    /// Since when records are counted.
    since: Option<u64>,
    records: u64,
}

/// A record takes longer than a nanosecond: what is allowed to come faster is not held back at all.
const NO_LIMIT: f64 = 1e9;

impl Throttle {
    /// For an instance that has an equal share, with so many others, in this number of records per second; `None` if
    /// that is no limit.
    pub(super) fn new(records_per_second: f64, instances: usize) -> Option<Self> {
        let limits = records_per_second < NO_LIMIT;
        limits.then(|| Self {
            nanos_per_record: 1e9 * instances.max(1) as f64 / records_per_second,
            since: None,
            records: 0,
        })
    }

    /// Records that may be sent now, or the time when one may.
    pub(super) fn allowance(&mut self, now: u64) -> Result<usize, u64> {
        let since = *self.since.get_or_insert(now);
        // Numbers that are too large for an integer become the largest there is.
        let due = ((now.saturating_sub(since)) as f64 / self.nanos_per_record) as u64;
        let due = due.saturating_add(1);
        if due > self.records {
            Ok(usize::try_from(due - self.records).unwrap_or(usize::MAX))
        } else {
            Err(since.saturating_add((self.records as f64 * self.nanos_per_record).ceil() as u64))
        }
    }

    /// So many were sent.
    pub(super) fn spend(&mut self, records: usize) {
        self.records = self.records.saturating_add(records as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_no_source_can_reach_is_no_limit() {
        assert!(Throttle::new(f64::MAX, 1).is_none());
        assert!(Throttle::new(f64::INFINITY, 3).is_none());
        assert!(Throttle::new(999_999_999.0, 1).is_some());
    }

    #[test]
    fn no_rate_and_no_time_overflows() {
        for rate in [f64::MIN_POSITIVE, 1e-300, 1e-6, 1.0, 999_999_999.0] {
            let mut throttle = Throttle::new(rate, 7).unwrap();
            for now in [5, 6, u64::MAX / 2, u64::MAX] {
                if let Ok(records) = throttle.allowance(now) {
                    assert!(records > 0);
                    throttle.spend(records);
                }
                if let Err(at) = throttle.allowance(now) {
                    assert!(at >= now, "at {rate} a record a second after {now} comes at {at}");
                }
            }
        }
    }
}
