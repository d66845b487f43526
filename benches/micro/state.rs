//! Access to the state of keys, in memory.

use divan::Bencher;
use divan::counter::ItemsCount;
use watershed_bench::generate::mix;
use watershed_state::{KeyGroups, KeyedTable, hash_key};

const ACCESSES: u64 = 16 * 1024;
/// How far ahead memory is asked for.
const AHEAD: u64 = 16;

/// Sums of so many keys.
pub(crate) fn table(keys: u64) -> KeyedTable<u64, u64> {
    let mut table = KeyedTable::new(KeyGroups::DEFAULT, 0..KeyGroups::DEFAULT.count());
    for key in 0..keys {
        *table.entry(hash_key(&key), key).1 = mix(key);
    }
    table
}

#[divan::bench(args = [1_000, 100_000, 1_000_000])]
fn change(bencher: Bencher<'_, '_>, keys: u64) {
    let mut sums = table(keys);
    let mut begin = 0;
    bencher.counter(ItemsCount::new(ACCESSES)).bench_local(|| {
        for i in begin..begin + ACCESSES {
            let key = mix(i) % keys;
            *sums.entry(hash_key(&key), key).1 += 1;
        }
        begin += ACCESSES;
    });
}

/// As a batch does it, whose hashes are known in advance.
#[divan::bench(args = [1_000, 100_000, 1_000_000])]
fn change_prefetched(bencher: Bencher<'_, '_>, keys: u64) {
    let mut sums = table(keys);
    let mut begin = 0;
    bencher.counter(ItemsCount::new(ACCESSES)).bench_local(|| {
        for i in begin..begin + ACCESSES {
            sums.prefetch(hash_key(&(mix(i + AHEAD) % keys)));
            let key = mix(i) % keys;
            *sums.entry(hash_key(&key), key).1 += 1;
        }
        begin += ACCESSES;
    });
}

#[divan::bench(args = [1_000, 100_000])]
fn insert_and_remove(bencher: Bencher<'_, '_>, keys: u64) {
    bencher.counter(ItemsCount::new(keys)).bench_local(|| {
        let mut sums = table(keys);
        for key in 0..keys {
            sums.remove(hash_key(&key), &key);
        }
        sums
    });
}
