//! Key groups: the unit in which keyed state is distributed, stored and moved when the parallelism changes.

#[cfg(test)]
mod tests;

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Into how many groups an operator's keys are divided. Fixed for the life of its state: a key's group is
/// stored with its state, while the number of instances the groups are dealt to may change at any restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct KeyGroups(u16);

impl KeyGroups {
    /// 128 groups, which let an operator run with up to 128 instances.
    pub const DEFAULT: KeyGroups = KeyGroups(128);

    /// `count` groups, or `None` for 0.
    pub fn new(count: u16) -> Option<KeyGroups> {
        (count > 0).then_some(KeyGroups(count))
    }

    /// The number of groups, at least 1.
    pub fn count(self) -> u16 {
        self.0
    }

    /// The group of a key with this [`hash_key`](crate::hash_key), below `count`. It depends on the 16 high
    /// bits alone, which leaves the others to the tables.
    #[inline]
    pub fn group_of(self, hash: u64) -> u16 {
        (((hash >> 48) as u32 * u32::from(self.0)) >> 16) as u16
    }

    /// The lowest hash of a group; 2^64 for the group after the last.
    pub(crate) fn first_hash(self, group: u16) -> u128 {
        (u128::from(group) << 16).div_ceil(u128::from(self.0)) << 48
    }

    /// Which of `parallelism` instances owns `group`. With more instances than groups, some own none. A
    /// parallelism of 0 counts as 1.
    #[inline]
    pub fn instance_of(self, group: u16, parallelism: usize) -> usize {
        (u64::from(group) * parallelism.max(1) as u64 / u64::from(self.0)) as usize
    }

    /// The groups that `instance` of `parallelism` owns. Together these ranges cover every group once.
    pub fn range(self, instance: usize, parallelism: usize) -> Range<u16> {
        let bound = |instance: usize| {
            let groups = u128::from(self.0);
            // The smallest group whose `instance_of` is at least `instance`.
            (instance as u128 * groups).div_ceil(parallelism.max(1) as u128).min(groups) as u16
        };
        bound(instance)..bound(instance.saturating_add(1))
    }
}

impl Default for KeyGroups {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl From<KeyGroups> for u16 {
    fn from(groups: KeyGroups) -> u16 {
        groups.0
    }
}

impl TryFrom<u16> for KeyGroups {
    type Error = &'static str;

    fn try_from(count: u16) -> Result<Self, Self::Error> {
        Self::new(count).ok_or("the number of key groups must not be 0")
    }
}
