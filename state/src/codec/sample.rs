//! Which values are read back after they were written.

/// The first ones, and then one in so many: a type that can be written and not be read is found with the first of its values
/// that is of that kind, as far as that comes in time, and costs nothing that could be measured.
///
/// Once one could not be read back, all are due until all that a snapshot holds could: else a later snapshot, whose turn comes
/// at other values, would count with it.
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
        number < FIRST || number.is_multiple_of(EVERY) || self.alarmed
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
