//! The keys that are gone since a snapshot, for the next one that holds only changes.

use std::collections::VecDeque;

/// Keys with the epoch in which they were removed, in that order. A key may be there more than once, and may have come
/// back since.
#[derive(Debug)]
pub(super) struct Removed<K>(VecDeque<(u32, K)>);

impl<K> Default for Removed<K> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K> Removed<K> {
    pub(super) fn push(&mut self, epoch: u32, key: K) {
        self.0.push_back((epoch, key));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&K> {
        self.0.get(at).map(|(_, key)| key)
    }

    /// Forgets those removed before this epoch.
    pub(super) fn forget_before(&mut self, epoch: u32) {
        while self.0.front().is_some_and(|(removed, _)| *removed < epoch) {
            self.0.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}
