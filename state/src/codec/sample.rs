//! Which values are read back after they were written.

/// The first ones of a snapshot, and then one in so many: a type that can be written and not be read is found with the first
/// of its values that is of that kind, as far as that comes in time, and costs nothing that could be measured.
#[derive(Clone, Debug, Default)]
pub struct Sampler(u32);

const FIRST: u32 = if cfg!(debug_assertions) { 64 } else { 4 };
const EVERY: u32 = if cfg!(debug_assertions) { 16 } else { 1024 };

impl Sampler {
    /// Whether the value that comes now is one of them.
    #[inline]
    pub fn is_due(&mut self) -> bool {
        let number = self.0;
        self.0 = number.wrapping_add(1);
        number < FIRST || number.is_multiple_of(EVERY)
    }
}
