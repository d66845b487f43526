//! Checksums: what the sinks of all instances add up to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sum over all instances.
#[derive(Clone, Default)]
pub(crate) struct Total(Arc<AtomicU64>);

impl Total {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The share of one instance; it is added when the instance ends.
    pub(crate) fn share(&self) -> Share {
        Share { total: self.clone(), sum: 0 }
    }
}

/// What one instance adds up.
pub(crate) struct Share {
    total: Total,
    sum: u64,
}

impl Share {
    #[inline]
    pub(crate) fn add(&mut self, number: u64) {
        self.sum = self.sum.wrapping_add(number);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.0.fetch_add(self.sum, Ordering::Relaxed);
    }
}

/// The last output of each key, whichever instance made it: a restart changes none of them in the end.
#[derive(Clone)]
pub(crate) struct LastPerKey(Arc<[AtomicU64]>);

impl LastPerKey {
    pub(crate) fn new(keys: u64) -> Self {
        Self((0..keys).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline]
    pub(crate) fn set(&self, key: u64, number: u64) {
        self.0[key as usize].store(number, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, number| sum.wrapping_add(number.load(Ordering::Relaxed)))
    }
}
