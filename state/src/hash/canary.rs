//! One number that changes when the hash of any kind of key changes.

use std::hash::Hash;

use super::hash_key;

/// A number derived from the hashes of fixed values of many types.
///
/// It is stored in every manifest. If a restore finds another value, keys would be looked for in the wrong
/// key groups (another platform, a standard library that hashes differently), and must be refused.
pub fn hash_canary() -> u64 {
    let hashes = [
        hash_key(""),
        hash_key("a"),
        hash_key("watershed"),
        hash_key("a string that is longer than two words"),
        hash_key(&String::from("owned")),
        hash_key(&0_u8),
        hash_key(&1_u16),
        hash_key(&2_u32),
        hash_key(&3_u64),
        hash_key(&(4_u128 << 64)),
        hash_key(&5_usize),
        hash_key(&-1_i8),
        hash_key(&-2_i16),
        hash_key(&-3_i32),
        hash_key(&-4_i64),
        hash_key(&-5_i128),
        hash_key(&-6_isize),
        hash_key(&true),
        hash_key(&'ß'),
        hash_key(&()),
        hash_key(&(7_u32, "tuple", -8_i64)),
        hash_key(&vec![9_u8, 10, 11]),
        hash_key(&vec![12_u32, 13]),
        hash_key(&[14_u64, 15]),
        hash_key(&vec![String::from("x"), String::from("y")]),
        hash_key(&Some(16_u64)),
        hash_key(&None::<u64>),
        hash_key(&Shape::Point),
        hash_key(&Shape::Circle(17)),
        hash_key(&Shape::Named { name: "n", sides: 18 }),
        hash_key(&Card { issuer: "bank", number: 19, tags: vec![20, 21] }),
    ];
    hash_key(hashes.as_slice())
}

#[derive(Hash)]
enum Shape {
    Point,
    Circle(u32),
    Named { name: &'static str, sides: u8 },
}

#[derive(Hash)]
struct Card {
    issuer: &'static str,
    number: u64,
    tags: Vec<u16>,
}
