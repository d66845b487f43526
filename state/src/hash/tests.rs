use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[derive(Hash)]
struct Card {
    issuer: String,
    number: u64,
}

#[derive(Hash)]
enum Shape {
    Point,
    Circle(u32),
    Named { name: String, sides: u8 },
}

/// These never change: every snapshot ever written depends on them.
#[test]
fn hashes_are_those_of_the_committed_vectors() {
    let vectors = [
        ("empty string", hash_key(""), 0x5bab_f475_0060_9067),
        ("one byte", hash_key("a"), 0xe159_74f2_3054_3b8b),
        ("three bytes", hash_key("abc"), 0x5339_557a_4a27_ba2e),
        ("five bytes", hash_key("water"), 0x039c_27d2_96fc_c027),
        ("nine bytes", hash_key("watershed"), 0x8033_2742_9a25_9468),
        ("sixteen bytes", hash_key("0123456789abcdef"), 0xf257_4075_4794_c663),
        ("seventeen bytes", hash_key("0123456789abcdefg"), 0xd573_4535_3dff_7ee7),
        ("forty bytes", hash_key("0123456789abcdefghij0123456789abcdefghij"), 0xb674_8e18_642b_9533),
        ("u8", hash_key(&200_u8), 0x691a_8683_32c2_e19f),
        ("u16", hash_key(&60_000_u16), 0xcbb2_fa5d_3912_6cb9),
        ("u32", hash_key(&4_000_000_000_u32), 0x0616_d230_305b_90d9),
        ("u64 0", hash_key(&0_u64), 0xcc5f_3216_40e8_0eb9),
        ("u64 1", hash_key(&1_u64), 0xdd3d_6e69_4b9b_01bd),
        ("u64 max", hash_key(&u64::MAX), 0x59cd_eab4_833d_9d17),
        ("i32 -1", hash_key(&-1_i32), 0xbbf3_1323_9529_3e75),
        ("i64 -1", hash_key(&-1_i64), 0x59cd_eab4_833d_9d17),
        ("u128", hash_key(&(1_u128 << 100)), 0x06f6_7607_b290_d8a4),
        ("usize", hash_key(&7_usize), 0x1e9f_d7f7_027c_fb8e),
        ("bool", hash_key(&true), 0xdd3d_6e69_4b9b_01bd),
        ("char", hash_key(&'é'), 0x4ca6_5876_bdb6_37f5),
        ("unit", hash_key(&()), 0x238f_9c9b_4974_a058),
        ("tuple", hash_key(&(1_u64, "one", -1_i16)), 0x8910_ce4d_e164_86b3),
        ("bytes", hash_key(&vec![1_u8, 2, 3]), 0x2e59_8c06_21c3_b5c5),
        ("vec of u32", hash_key(&vec![1_u32, 2, 3]), 0x823b_66a9_9a83_b7bd),
        ("vec of strings", hash_key(&vec!["x", "yz"]), 0x42a5_ccf1_08d2_fff1),
        ("some", hash_key(&Some(5_u64)), 0xa46b_9e8a_ac25_3e8a),
        ("none", hash_key(&None::<u64>), 0xcc5f_3216_40e8_0eb9),
        ("struct", hash_key(&Card { issuer: "bank".into(), number: 4711 }), 0x8343_21eb_6080_60bb),
        ("unit variant", hash_key(&Shape::Point), 0xcc5f_3216_40e8_0eb9),
        ("tuple variant", hash_key(&Shape::Circle(3)), 0x0d45_7e8a_868d_d127),
        (
            "struct variant",
            hash_key(&Shape::Named { name: "square".into(), sides: 4 }),
            0x8e14_a70a_d17a_17d5,
        ),
        ("the canary", hash_canary(), 0x2664_68e5_3f70_3d9c),
    ];
    let wrong: Vec<String> = vectors
        .iter()
        .filter(|(_, found, expected)| found != expected)
        .map(|(what, found, _)| format!("{what}: {found:#018x}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_string_and_its_slice_hash_equally() {
    assert_eq!(hash_key(&String::from("key")), hash_key("key"));
}

#[test]
fn usize_and_u64_hash_equally_so_that_the_pointer_width_does_not_matter() {
    assert_eq!(hash_key(&77_usize), hash_key(&77_u64));
    assert_eq!(hash_key(&-77_isize), hash_key(&-77_i64));
}

#[test]
fn strings_that_differ_in_length_or_one_byte_only_hash_differently() {
    let mut seen = HashSet::new();
    for length in 0..64 {
        let zeros = vec![0_u8; length];
        assert!(seen.insert(hash_key(zeros.as_slice())), "zeros of length {length}");
        for at in 0..length {
            let mut changed = zeros.clone();
            changed[at] = 1;
            assert!(seen.insert(hash_key(changed.as_slice())), "length {length}, byte {at}");
        }
    }
}

#[test]
fn every_input_bit_flips_every_output_bit_about_half_the_time() {
    let samples = 4_000_u64;
    for input_bit in 0..64 {
        let mut flips = [0_u64; 64];
        for sample in 0..samples {
            let changed = hash_key(&sample) ^ hash_key(&(sample ^ (1 << input_bit)));
            for (bit, flips) in flips.iter_mut().enumerate() {
                *flips += changed >> bit & 1;
            }
        }
        for (bit, &flips) in flips.iter().enumerate() {
            // Eight standard deviations of a fair coin.
            assert!(
                flips.abs_diff(samples / 2) < 253,
                "bit {input_bit} flips bit {bit} {flips} times of {samples}"
            );
        }
    }
}

#[test]
fn regular_keys_spread_evenly_over_high_bits_and_low_bits() {
    for step in [1_u64, 2, 10, 64, 1_000, 60_000, 1 << 16, 1 << 32, 1 << 48] {
        let (mut high, mut low) = ([0_u32; 128], [0_u32; 128]);
        for number in 0..12_800_u64 {
            let hash = hash_key(&number.wrapping_mul(step));
            high[(hash >> 57) as usize] += 1;
            low[(hash & 127) as usize] += 1;
        }
        for counts in [high, low] {
            // 100 are expected in each; a Poisson distribution leaves this range once in a hundred million.
            assert!(counts.iter().all(|&count| (45..=170).contains(&count)), "step {step}: {counts:?}");
        }
    }
}

proptest! {
    #[test]
    fn equal_keys_hash_equally_and_a_changed_byte_changes_the_hash(
        bytes in proptest::collection::vec(any::<u8>(), 1..100), at: prop::sample::Index, with in 1_u8..
    ) {
        let mut changed = bytes.clone();
        *at.get_mut(&mut changed) ^= with;
        prop_assert_eq!(hash_key(&bytes), hash_key(bytes.as_slice()));
        prop_assert_ne!(hash_key(&bytes), hash_key(&changed));
    }
}
