//! The records that every engine is given: a function of their number alone.

/// splitmix64 (Steele, Lea, Flood 2014).
#[inline]
pub(crate) const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Value of record `i`.
#[inline]
pub(crate) const fn value(i: u64) -> u64 {
    i % 1000
}
