//! How far a source that ends has come.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::source::{Progress, ProgressUnit};

/// Written by the source once per batch, read by anybody. What is read may be of two moments.
#[derive(Debug, Default)]
pub struct ProgressGauge {
    finished: AtomicU64,
    splits: AtomicU64,
    done: AtomicU64,
    /// 0 if it is not known.
    total: AtomicU64,
    in_bytes: AtomicBool,
}

impl ProgressGauge {
    pub(super) fn set(&self, (finished, splits): (u64, u64), at_hand: Option<Progress>) {
        let Progress { done, total, unit } = at_hand.unwrap_or_default();
        self.finished.store(finished, Ordering::Relaxed);
        self.splits.store(splits, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.in_bytes.store(unit == ProgressUnit::Bytes, Ordering::Relaxed);
    }

    /// Splits that were read to their end, and all of them; `None` for what is no source, or one without end.
    pub fn splits(&self) -> Option<(u64, u64)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Some((read(&self.finished), read(&self.splits))).filter(|(_, splits)| *splits > 0)
    }

    /// How far the split at hand has been read, if there is one and that is known.
    pub fn at_hand(&self) -> Option<Progress> {
        let unit =
            if self.in_bytes.load(Ordering::Relaxed) { ProgressUnit::Bytes } else { ProgressUnit::Records };
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        (total > 0).then_some(Progress { done, total, unit })
    }
}
