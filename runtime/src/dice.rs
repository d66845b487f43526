//! Chance, where it has to be the same again.

/// The dice of a simulation: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound.max(1) as u64) as usize
    }

    /// A number from `low` to `high`, log-uniform: small ones come as often as large ones.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        let octaves = (high / low.max(1)).ilog2() as usize + 1;
        let floor = low << self.below(octaves);
        (floor + self.roll() % floor.max(1)).min(high)
    }
}
