//! What is known of an entry besides its key and state, in 32 bits.

use std::num::NonZeroU32;

use crate::history::RESTORED;

/// The epoch in which an entry was changed last, and what its table knows of the copy in the database below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(NonZeroU32);

/// The entry was asked for since the hand of the cache came by.
const USED: u32 = 1;
/// The database below has another state for the key, or none.
const DIRTY: u32 = 2;
const FLAG_BITS: u32 = 2;

impl Stamp {
    /// An entry that is changed in this epoch (at least [`RESTORED`]).
    pub(super) fn changed(epoch: u32) -> Self {
        Self(NonZeroU32::MIN | (epoch << FLAG_BITS) | USED | DIRTY)
    }

    /// An entry that was just read from the database below.
    pub(super) fn loaded() -> Self {
        Self(NonZeroU32::MIN | (RESTORED << FLAG_BITS) | USED)
    }

    /// The epoch of the last change.
    #[inline]
    pub(super) fn epoch(self) -> u32 {
        self.0.get() >> FLAG_BITS
    }

    pub(super) fn is_dirty(self) -> bool {
        self.0.get() & DIRTY != 0
    }

    pub(super) fn is_used(self) -> bool {
        self.0.get() & USED != 0
    }

    /// The hand has come by.
    pub(super) fn unused(self) -> Self {
        self.without(USED)
    }

    /// The database has it now.
    pub(super) fn written(self) -> Self {
        self.without(DIRTY)
    }

    fn without(self, flag: u32) -> Self {
        // The epoch is never 0, so neither is what is left.
        NonZeroU32::new(self.0.get() & !flag).map_or(self, Self)
    }
}
