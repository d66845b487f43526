//! Which values are read back after they were written.

/// The first ones, and then one in so many, each time another one of them, so that no entry of a table that is saved
/// again and again is always passed over: a type that can be written and not be read is found with the first of its
/// values that is of that kind, as far as that comes in time, and costs nothing that could be measured.
///
/// Once one could not be read back, all are due until all that a snapshot holds could: else a later snapshot, whose
/// turn comes at other values, would count with it.
#[derive(Clone, Debug, Default)]
pub struct Sampler {
    number: u32,
    alarmed: bool,
}

const FIRST: u32 = if cfg!(debug_assertions) { 64 } else { 4 };
const EVERY: u32 = if cfg!(debug_assertions) { 16 } else { 1024 };

impl Sampler {
    /// Whether the value that comes now is one of them.
    #[inline]
    pub fn is_due(&mut self) -> bool {
        let number = self.number;
        self.number = number.wrapping_add(1);
        number < FIRST || number % EVERY == turn(number / EVERY) || self.alarmed
    }

    /// One could not be written or read back.
    pub fn failed(&mut self) {
        self.alarmed = true;
    }

    /// All that a snapshot holds is written, and could be read back where it was due.
    pub fn passed(&mut self) {
        self.alarmed = false;
    }
}

/// Which one of so many it is the `nth` time. Multiples of the golden ratio are far apart from each other in the upper
/// bits, also those of which all lower bits are the same (Knuth, The Art of Computer Programming, volume 3, 6.4).
#[inline]
fn turn(nth: u32) -> u32 {
    nth.wrapping_mul(0x9E37_79B9) >> (u32::BITS - EVERY.ilog2())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_entry_of_a_table_that_is_saved_again_and_again_has_its_turn() {
        for entries in (1..=40).chain([64, 100, 128, 256]) {
            let mut sampler = Sampler::default();
            (0..FIRST).for_each(|_| assert!(sampler.is_due()));
            let due = (0..entries * EVERY * 64).filter(|_| sampler.is_due());
            let read: BTreeSet<u32> = due.map(|number| number % entries).collect();
            assert_eq!(read.len(), entries as usize, "of {entries}");
        }
    }

    #[test]
    fn one_in_so_many_is_due() {
        let mut sampler = Sampler::default();
        let due = (0..EVERY * 1_000).filter(|_| sampler.is_due()).count() as u32;
        assert!((1_000..=1_000 + FIRST).contains(&due), "{due}");
    }
}
