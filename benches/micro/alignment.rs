//! Aligning the barriers of all channels of an inbox.

use std::sync::Arc;

use divan::{Bencher, black_box};
use watershed_actors::{Barrier, Envelope, Inbox, Link, Message};

const RUN: u64 = 1;

#[divan::bench(args = [2, 16, 128])]
fn align(bencher: Bencher<'_, '_>, channels: u32) {
    let mut inbox: Inbox<u64> = Inbox::new(channels as usize, RUN);
    let links: Vec<_> = (0..channels).map(|_| Link::new(1, Arc::default())).collect();
    let mut checkpoint = 0;
    bencher.bench_local(|| {
        checkpoint += 1;
        for (channel, link) in (0..channels).zip(&links) {
            let message = Message::Barrier(Barrier { checkpoint, records: 0 });
            let permit = link.acquire().unwrap();
            inbox.file(Envelope { run: RUN, channel, seq: checkpoint, message, permit }).unwrap();
        }
        while let Some(input) = inbox.pop().unwrap() {
            black_box(input);
        }
        inbox.unblock();
    });
}
