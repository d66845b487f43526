//! A snapshot of the state of all keys, in slices as a job takes them, without the disk; and restoring it.

use divan::Bencher;
use divan::counter::ItemsCount;
use watershed_state::{KeyGroups, KeyedTable, Section, SliceProgress};

use crate::state::table;

/// Slots of one slice.
const SLICE: usize = 8192;

fn snapshot(table: &mut KeyedTable<u64, u64>) -> Vec<Section> {
    table.begin_snapshot(1);
    let mut sections = Vec::new();
    while table.snapshot_slice(SLICE).unwrap() == SliceProgress::More {
        sections.append(&mut table.take_sections());
    }
    sections.append(&mut table.take_sections());
    sections
}

#[divan::bench(args = [1_000, 100_000])]
fn write(bencher: Bencher<'_, '_>, keys: u64) {
    let mut sums = table(keys);
    bencher.counter(ItemsCount::new(keys)).bench_local(|| snapshot(&mut sums));
}

#[divan::bench(args = [1_000, 100_000])]
fn restore(bencher: Bencher<'_, '_>, keys: u64) {
    let sections = snapshot(&mut table(keys));
    bencher.counter(ItemsCount::new(keys)).bench_local(|| {
        let mut restored: KeyedTable<u64, u64> =
            KeyedTable::new(KeyGroups::DEFAULT, 0..KeyGroups::DEFAULT.count());
        // As an instance does, which knows how many there are.
        restored.reserve(keys as usize);
        for section in &sections {
            restored.restore(section).unwrap();
        }
        restored
    });
}
