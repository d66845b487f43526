//! An open-addressing hash table with linear probing, whose entries say their own hash.
//!
//! Entries lie in the slots themselves, so that finding one touches a single place in memory: measured with a
//! million keys this beats tables that keep hash bits apart from the entries. Removing shifts the following
//! entries back; there are no tombstones, and the order of the slots is a function of the inserts and
//! removals alone.

use crate::prefetch::prefetch;

/// An entry that carries the 32 bits of its hash that place it.
pub(crate) trait Tagged {
    /// Those bits; equal entries have equal tags.
    fn tag(&self) -> u32;
}

/// A power of two of slots, or none at all while it is empty. The home of an entry is its tag modulo the slots.
#[derive(Debug)]
pub(crate) struct SlotTable<E> {
    slots: Vec<Option<E>>,
    len: usize,
}

impl<E> Default for SlotTable<E> {
    fn default() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }
}

/// The smallest table that is not empty.
const FIRST_SLOTS: usize = 8;

impl<E: Tagged> SlotTable<E> {
    /// The slot of the entry that `matches`, or else the slot where it would be inserted.
    #[inline]
    pub(crate) fn find(&self, tag: u32, matches: impl Fn(&E) -> bool) -> Result<usize, usize> {
        let mask = self.mask();
        let mut at = tag as usize & mask;
        loop {
            // An empty table has no slot at all, which `get` reports like a vacant one.
            match self.slots.get(at) {
                Some(Some(entry)) => {
                    if entry.tag() == tag && matches(entry) {
                        return Ok(at);
                    }
                }
                _ => return Err(at),
            }
            at = (at + 1) & mask;
        }
    }

    /// Begins to load the slot where an entry with this tag would be.
    #[inline]
    pub(crate) fn prefetch(&self, tag: u32) {
        if let Some(slot) = self.slots.get(tag as usize & self.mask()) {
            prefetch(slot);
        }
    }

    /// The entry in a slot that [`find`](Self::find) has found.
    #[inline]
    pub(crate) fn at(&self, slot: usize) -> &E {
        self.slots[slot].as_ref().expect("find returns slots that are occupied")
    }

    /// The entry in a slot that [`find`](Self::find) has found, to be changed.
    #[inline]
    pub(crate) fn at_mut(&mut self, slot: usize) -> &mut E {
        self.slots[slot].as_mut().expect("find returns slots that are occupied")
    }

    /// Puts an entry where [`find`](Self::find) has found it missing. Returns its slot, and whether the table has
    /// grown and so moved its entries.
    pub(crate) fn insert(&mut self, vacant: usize, entry: E) -> (usize, bool) {
        self.len += 1;
        // At most five eighths are occupied: fuller tables cost more in mispredicted branches than they save in memory.
        let grown = self.len * 8 > self.slots.len() * 5;
        let slot = if grown {
            self.resize((self.slots.len() * 2).max(FIRST_SLOTS));
            self.vacant_for(entry.tag())
        } else {
            vacant
        };
        self.slots[slot] = Some(entry);
        (slot, grown)
    }

    /// Takes out the entry of an occupied slot and closes the gap. `moving` sees each entry that is about to move,
    /// and the slot it moves to.
    pub(crate) fn remove(&mut self, slot: usize, mut moving: impl FnMut(&mut E, usize)) -> E {
        let mask = self.mask();
        let removed = self.slots[slot].take().expect("find returns slots that are occupied");
        self.len -= 1;
        let (mut gap, mut at) = (slot, slot);
        loop {
            at = (at + 1) & mask;
            let Some(entry) = &mut self.slots[at] else {
                return removed;
            };
            // An entry may move back to the gap unless that lies before its home.
            let from_home = at.wrapping_sub(entry.tag() as usize) & mask;
            let from_gap = at.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                moving(entry, gap);
                self.slots.swap(gap, at);
                gap = at;
            }
        }
    }

    /// Halves the table if it is nearly empty, and tells whether it did and so moved its entries.
    pub(crate) fn shrink(&mut self) -> bool {
        let half = self.slots.len() / 2;
        let shrinks = half >= FIRST_SLOTS && self.len * 8 < self.slots.len();
        if shrinks {
            self.resize(half);
        }
        shrinks
    }

    /// The number of slots, occupied or not.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The slots from `start` on.
    pub(crate) fn slots_from(&mut self, start: usize) -> &mut [Option<E>] {
        &mut self.slots[start..]
    }

    /// The entries in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        self.slots.iter().flatten()
    }

    #[inline]
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    fn vacant_for(&self, tag: u32) -> usize {
        let mask = self.mask();
        let mut at = tag as usize & mask;
        while self.slots[at].is_some() {
            at = (at + 1) & mask;
        }
        at
    }

    fn resize(&mut self, slots: usize) {
        let empty = std::iter::repeat_with(|| None).take(slots).collect();
        for entry in std::mem::replace(&mut self.slots, empty).into_iter().flatten() {
            let at = self.vacant_for(entry.tag());
            self.slots[at] = Some(entry);
        }
    }
}
