//! What is gone since a snapshot, for the next one that holds only changes.

use std::collections::VecDeque;

/// Keys, or timers, with the epoch in which they were removed, in that order. One may be there more than once, and may
/// have come back since.
#[derive(Debug)]
pub(crate) struct Removed<K>(VecDeque<(u32, K)>);

impl<K> Default for Removed<K> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K> Removed<K> {
    pub(crate) fn push(&mut self, epoch: u32, key: K) {
        self.0.push_back((epoch, key));
    }

    /// Whether there are more than of what is there, and more than `at_least`.
    pub(crate) fn are_too_many(&self, there: usize, at_least: usize) -> bool {
        self.0.len() > there.max(at_least)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&K> {
        self.0.get(at).map(|(_, key)| key)
    }

    /// Forgets those removed before this epoch.
    pub(crate) fn forget_before(&mut self, epoch: u32) {
        while self.0.front().is_some_and(|(removed, _)| *removed < epoch) {
            self.0.pop_front();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}
