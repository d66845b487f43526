//! Values to bytes and back.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use serde::{Deserialize, Serialize};
use watershed_state::{decode, encode};

const VALUES: usize = 1024;

/// A value of some size.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reading {
    sensor: String,
    at: i64,
    value: f64,
    valid: bool,
}

fn readings() -> Vec<Reading> {
    let reading = |i: usize| Reading {
        sensor: format!("tower {i}"),
        at: 1_700_000_000_000 + i as i64,
        value: i as f64 / 7.0,
        valid: i.is_multiple_of(2),
    };
    (0..VALUES).map(reading).collect()
}

fn encoded(readings: &[Reading]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for reading in readings {
        encode(reading, &mut bytes).unwrap();
    }
    bytes
}

#[divan::bench]
fn encode_structs(bencher: Bencher<'_, '_>) {
    let readings = readings();
    let mut bytes = encoded(&readings);
    let size = BytesCount::new(bytes.len());
    bencher.counter(ItemsCount::new(VALUES)).counter(size).bench_local(|| {
        bytes.clear();
        for reading in &readings {
            encode(reading, &mut bytes).unwrap();
        }
    });
}

#[divan::bench]
fn decode_structs(bencher: Bencher<'_, '_>) {
    let bytes = encoded(&readings());
    let size = BytesCount::new(bytes.len());
    bencher.counter(ItemsCount::new(VALUES)).counter(size).bench_local(|| {
        let mut input = bytes.as_slice();
        for _ in 0..VALUES {
            divan::black_box(decode::<Reading>(&mut input).unwrap());
        }
    });
}

#[divan::bench]
fn encode_pairs(bencher: Bencher<'_, '_>) {
    let mut bytes = Vec::new();
    bencher.counter(ItemsCount::new(VALUES)).bench_local(|| {
        bytes.clear();
        for i in 0..VALUES as u64 {
            encode(&(i * 1000, i), &mut bytes).unwrap();
        }
    });
}
