//! The hashes that an instance owns, and the place of one among them.

use std::any::type_name;
use std::ops::Range;

use super::{Entry, TableKey};
use crate::table::ordered::TAGS;
use crate::{CodecError, KeyGroups};

/// Where a table has the entries of which hashes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) groups: KeyGroups,
    pub(super) span: Span,
}

impl Places {
    /// The tag of a hash that is owned.
    #[inline]
    pub(super) fn tag<K: TableKey>(&self, hash: u64) -> u32 {
        if K::IS_SPREAD { self.span.tag(hash) } else { hash as u32 }
    }

    /// Checks that an entry is where its key, which hashes to this, would be looked for: else a restore would find it
    /// in the key group of another instance, or twice.
    #[inline]
    pub(super) fn check<K: TableKey, S>(&self, entry: &Entry<K, S>, hash: u64) -> Result<(), CodecError> {
        if self.span.contains(hash) && self.tag::<K>(hash) == entry.tag {
            Ok(())
        } else {
            Err(CodecError::UnstableKey { type_name: type_name::<K>() })
        }
    }
}

/// The hashes of consecutive key groups, scaled to tags of 32 bits that keep their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The lowest hash.
    first: u64,
    /// The highest one, counted from there.
    last: u64,
    /// Tags for each hash, times 2^64.
    scale: u64,
}

impl Span {
    pub(super) fn new(groups: KeyGroups, owned: &Range<u16>) -> Self {
        let (first, end) = (groups.first_hash(owned.start), groups.first_hash(owned.end));
        let hashes = end - first;
        if hashes == 0 {
            // Owns nothing but, as something has to stand here, one hash that no record is routed here for.
            return Self { first: u64::MAX, last: 0, scale: 0 };
        }
        // A group has 2^48 hashes at least, so that this fits.
        Self { first: first as u64, last: (hashes - 1) as u64, scale: ((1 << 96) / hashes) as u64 }
    }

    #[inline]
    pub(super) fn contains(&self, hash: u64) -> bool {
        hash.wrapping_sub(self.first) <= self.last
    }

    /// The tag of a hash that is owned.
    #[inline]
    pub(super) fn tag(&self, hash: u64) -> u32 {
        ((u128::from(hash.wrapping_sub(self.first)) * u128::from(self.scale)) >> 64) as u32
    }

    /// The tag at which a group begins; [`TAGS`] if it lies behind all that are owned.
    pub(super) fn first_tag(&self, groups: KeyGroups, group: u16) -> u64 {
        let hash = groups.first_hash(group.min(groups.count()));
        let from_first = hash.saturating_sub(u128::from(self.first));
        if from_first > u128::from(self.last) { TAGS } else { u64::from(self.tag(hash as u64)) }
    }
}
