//! The frozen hash of keys.
//!
//! A key's hash decides which instance owns its state, and it is stored implicitly in every snapshot. So this
//! function never changes: its vectors are tests, and each manifest carries [`hash_canary`]. High bits pick
//! the key group, low bits the slot in a table, and the finish makes both depend on every input bit.
//!
//! The result is the same on all little-endian platforms. (Slices of integers reach a `Hasher` as memory, so
//! a big-endian machine would see other bytes; its canary differs and a restore there is refused.)

mod canary;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hash, Hasher};

pub use canary::hash_canary;

/// Hashes a key for routing, key groups and state tables.
#[inline]
pub fn hash_key<K: Hash + ?Sized>(key: &K) -> u64 {
    let mut hasher = FixedHasher::default();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The hasher behind [`hash_key`]: one folded 64×64→128 multiplication per word, and one to finish.
#[derive(Clone, Copy, Debug)]
pub struct FixedHasher {
    state: u64,
}

// Odd constants with about as many ones as zeros: the fractional digits of pi.
const SEED: u64 = 0x243f_6a88_85a3_08d3;
const WORD: u64 = 0x1319_8a2e_0370_7345;
const PAIR: u64 = 0xa409_3822_299f_31d1;
const LENGTH: u64 = 0x082e_fa98_ec4e_6c89;
const FINISH: u64 = 0x4528_21e6_38d0_1377;
const FINISH_WITH: u64 = 0xbe54_66cf_34e9_0c6d;

impl Default for FixedHasher {
    #[inline]
    fn default() -> Self {
        Self { state: SEED }
    }
}

impl FixedHasher {
    #[inline]
    fn word(&mut self, word: u64) {
        self.state = folded(self.state ^ word, WORD);
    }

    #[inline]
    fn pair(&mut self, low: u64, high: u64) {
        self.state = folded(self.state ^ low, high ^ PAIR);
    }
}

impl Hasher for FixedHasher {
    #[inline]
    fn finish(&self) -> u64 {
        folded(self.state ^ FINISH, FINISH_WITH)
    }

    /// Two words per multiplication. The last step covers the 0 to 16 bytes that are left, with overlapping
    /// reads where they are no whole words; the length, mixed in first, tells such inputs apart.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.state = self.state.wrapping_add((bytes.len() as u64).wrapping_mul(LENGTH));
        let mut rest = bytes;
        while rest.len() > 16 {
            self.pair(u64_at(rest, 0), u64_at(rest, 8));
            rest = &rest[16..];
        }
        let length = rest.len();
        if length >= 8 {
            self.pair(u64_at(rest, 0), u64_at(rest, length - 8));
        } else if length >= 4 {
            self.pair(u32_at(rest, 0), u32_at(rest, length - 4));
        } else if length > 0 {
            let (first, middle, last) = (rest[0], rest[length / 2], rest[length - 1]);
            self.pair(u64::from(first) << 16 | u64::from(middle) << 8 | u64::from(last), 0);
        } else {
            self.pair(0, 0);
        }
    }

    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.word(u64::from(value));
    }

    #[inline]
    fn write_u16(&mut self, value: u16) {
        self.word(u64::from(value));
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.word(u64::from(value));
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.word(value);
    }

    #[inline]
    fn write_u128(&mut self, value: u128) {
        self.word(value as u64);
        self.word((value >> 64) as u64);
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.word(value as u64);
    }

    #[inline]
    fn write_i8(&mut self, value: i8) {
        self.word(u64::from(value as u8));
    }

    #[inline]
    fn write_i16(&mut self, value: i16) {
        self.word(u64::from(value as u16));
    }

    #[inline]
    fn write_i32(&mut self, value: i32) {
        self.word(u64::from(value as u32));
    }

    #[inline]
    fn write_i64(&mut self, value: i64) {
        self.word(value as u64);
    }

    #[inline]
    fn write_i128(&mut self, value: i128) {
        self.write_u128(value as u128);
    }

    #[inline]
    fn write_isize(&mut self, value: isize) {
        self.word(value as i64 as u64);
    }
}

/// Builds [`FixedHasher`]s, so that std's maps can be used without a random seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedState;

impl BuildHasher for FixedState {
    type Hasher = FixedHasher;

    #[inline]
    fn build_hasher(&self) -> FixedHasher {
        FixedHasher::default()
    }
}

/// The place of a timer in its hash table, from its timestamp and the hash of its key.
#[inline]
pub(crate) fn mix(at: i64, hash: u64) -> u32 {
    folded(at as u64 ^ hash, WORD) as u32
}

#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u64::from(u32::from_le_bytes(word))
}
