//! A hop: hashing, routing, a channel, an inbox; with both ends on one thread, so that it is the work and not the wait.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use watershed_actors::Batch;
use watershed_bench::exchange::{Exchange, Pair};
use watershed_bench::generate::{key, value};

const RECORDS: u64 = 16 * 1024;
const KEYS: u64 = 1_000_000;

#[divan::bench(args = [1, 2, 16])]
fn hop(bencher: Bencher<'_, '_>, receivers: usize) {
    let mut exchange = Exchange::new(receivers);
    let pairs: Vec<Pair> = (0..RECORDS).map(|i| (key::<KEYS>(i), value(i))).collect();
    let mut batch = Batch::default();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        for pairs in pairs.chunks(1024) {
            batch.values.extend_from_slice(pairs);
            exchange.send(&mut batch, |batch| _ = black_box(batch.len())).unwrap();
        }
    });
}
