//! The queue of timers.

use divan::Bencher;
use divan::counter::ItemsCount;
use watershed_bench::generate::mix;
use watershed_state::{KeyGroups, SectionKind, TimerQueue, hash_key};

const STEPS: u64 = 1024;

/// A timer fires and one is set, with so many in the queue.
#[divan::bench(args = [1_000, 100_000])]
fn fire_and_register(bencher: Bencher<'_, '_>, timers: u64) {
    let mut queue = TimerQueue::new(SectionKind::EventTimers, KeyGroups::DEFAULT);
    let register = |queue: &mut TimerQueue<u64>, i: u64| {
        let key = mix(i);
        queue.register((i + key % timers) as i64, hash_key(&key), &key)
    };
    for i in 0..timers {
        register(&mut queue, i);
    }
    let mut next = timers;
    bencher.counter(ItemsCount::new(STEPS)).bench_local(|| {
        for i in next..next + STEPS {
            divan::black_box(queue.pop_due(i64::MAX));
            register(&mut queue, i);
        }
        next += STEPS;
    });
}

/// A timer is set and taken back, with so many in the queue.
#[divan::bench(args = [1_000, 100_000])]
fn register_and_delete(bencher: Bencher<'_, '_>, timers: u64) {
    let mut queue = TimerQueue::new(SectionKind::EventTimers, KeyGroups::DEFAULT);
    for key in 0..timers {
        queue.register(mix(key) as i64, hash_key(&key), &key);
    }
    bencher.counter(ItemsCount::new(STEPS)).bench_local(|| {
        for key in timers..timers + STEPS {
            queue.register(mix(key) as i64, hash_key(&key), &key);
            queue.delete(mix(key) as i64, hash_key(&key), &key);
        }
    });
}
