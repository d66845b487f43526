//! One channel, at the end of the sender.

use std::collections::VecDeque;
use std::sync::Arc;

use watershed_state::bug::{self, Bug};

use crate::batch::{Batch, Flow};
use crate::clock::MAX_WATERMARK;
use crate::link::Link;
use crate::message::{Barrier, Envelope, Message, Signal};
use crate::task::Counters;

/// Where a channel ends: files an envelope with the receiving task, without waiting.
pub trait Port<T>: Send {
    /// Hands the envelope over. The receiver may be gone; then the envelope is dropped, quietly: a region that loses
    /// an actor is rolled back as a whole.
    fn deliver(&self, envelope: Envelope<T>);
}

/// How large batches get and how long they may wait.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Records in a batch at most.
    pub records: usize,
    /// How long a batch that is not full may wait, in nanoseconds.
    pub linger_nanos: u64,
}

impl BatchLimits {
    /// Bytes of values that a batch should not exceed, so that it stays in the cache of the core.
    pub const BYTES: usize = 32 * 1024;

    /// Records in a batch of `T` at most.
    pub fn records_of<T>(self) -> usize {
        (Self::BYTES / size_of::<T>().max(1)).clamp(1, self.records.max(1))
    }
}

/// One channel: what is being filled, what waits for a credit, what has been sent.
pub struct Sender<T> {
    port: Box<dyn Port<T>>,
    link: Arc<Link<T>>,
    /// Position among the receiver's inputs.
    channel: u32,
    run: u64,
    seq: u64,
    /// Records sent in this run; goes into barriers.
    records: u64,
    pub(super) building: Batch<T>,
    /// Records at which `building` is closed.
    pub(super) limit: usize,
    max_records: usize,
    /// What the sending task counts.
    counters: Arc<Counters>,
    /// Messages for which there was no credit. Holds at most the outputs of one record and the signals behind them.
    pub(super) waiting: VecDeque<Message<T>>,
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("channel", &self.channel)
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

impl<T> Sender<T> {
    /// A channel of run `run` to input `channel` of whoever is behind `port`.
    pub fn new(
        port: Box<dyn Port<T>>,
        link: Arc<Link<T>>,
        channel: u32,
        run: u64,
        limits: BatchLimits,
    ) -> Self {
        Self {
            port,
            link,
            channel,
            run,
            seq: 0,
            records: 0,
            building: Batch::default(),
            limit: 1,
            max_records: limits.records_of::<T>(),
            counters: Arc::default(),
            waiting: VecDeque::new(),
        }
    }

    /// Counts what is sent there.
    pub fn counted_by(mut self, counters: &Arc<Counters>) -> Self {
        self.counters = Arc::clone(counters);
        self
    }

    /// Adds a record; sends the batch when it is full.
    #[inline]
    pub fn push(&mut self, value: T, at: i64) -> Flow {
        self.building.push(value, at);
        self.close_if_full()
    }

    /// Adds a keyed record; sends the batch when it is full.
    #[inline]
    pub fn push_keyed(&mut self, value: T, at: i64, hash: u64) -> Flow {
        self.building.push_keyed(value, at, hash);
        self.close_if_full()
    }

    /// Adds records from the front of `batch` until blocked; a batch that fits is passed on as it is.
    pub(super) fn append(&mut self, batch: &mut Batch<T>) -> Flow {
        if self.building.is_empty() && batch.len() <= self.limit {
            std::mem::swap(&mut self.building, batch);
            return self.close_if_full();
        }
        let mut values = batch.values.drain(..);
        let (mut taken, count) = (0, values.len());
        let mut flow = self.flow();
        while taken < count && flow == Flow::Continue {
            let now = taken..count.min(taken + self.room().max(1));
            if let Some(timestamps) = batch.timestamps.get(now.clone()) {
                self.building.begin_times();
                self.building.timestamps.extend_from_slice(timestamps);
            }
            self.building.hashes.extend_from_slice(batch.hashes.get(now.clone()).unwrap_or(&[]));
            self.building.values.extend(values.by_ref().take(now.len()));
            self.building.fill_up();
            taken = now.end;
            flow = self.close_if_full();
        }
        let rest: Vec<T> = values.collect();
        batch.keep(rest, taken);
        flow
    }

    /// Records that may be added to the batch before it is full; [`Sender::close_if_full`] has to be called afterwards.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.building.len())
    }

    #[inline]
    pub(super) fn close_if_full(&mut self) -> Flow {
        if self.building.len() >= self.limit {
            self.close();
        }
        // Also while there is room in the batch: one that was closed early may be waiting for a credit.
        self.flow()
    }

    pub(super) fn flow(&self) -> Flow {
        if self.waiting.is_empty() { Flow::Continue } else { Flow::Blocked }
    }

    /// Sends what has been gathered.
    pub(super) fn close(&mut self) {
        if self.building.is_empty() {
            return;
        }
        self.limit = self.link.batch_records().clamp(1, self.max_records);
        let next = self.link.take_spare().unwrap_or_else(|| {
            let mut batch = Batch::default();
            batch.values.reserve(self.limit);
            batch
        });
        let batch = std::mem::replace(&mut self.building, next);
        self.records += batch.len() as u64;
        self.counters.sent.add::<T>(batch.len());
        self.queue(Message::Batch(batch));
    }

    /// Sends a signal behind everything before it.
    pub(super) fn signal(&mut self, signal: Signal) {
        if !(matches!(signal, Signal::Barrier(_)) && bug::is(Bug::BarrierOvertakesBatch)) {
            self.close();
        }
        let message = match signal {
            Signal::Watermark(at) => {
                self.counters.watermark_sent.raise(at);
                // A watermark that still waits is overtaken by its successor, but for the one at the end: the last real
                // one is what a later start goes on from.
                if at != MAX_WATERMARK
                    && let Some(Message::Watermark(waiting)) = self.waiting.back_mut()
                {
                    *waiting = at.max(*waiting);
                    return;
                }
                Message::Watermark(at)
            }
            Signal::Status(status) => Message::Status(status),
            Signal::Barrier(checkpoint) => Message::Barrier(Barrier { checkpoint, records: self.records }),
            Signal::End => Message::End,
        };
        self.queue(message);
    }

    fn queue(&mut self, message: Message<T>) {
        self.waiting.push_back(message);
        self.pump();
    }

    /// Sends what waits, as far as credits go.
    pub(super) fn pump(&mut self) {
        while !self.waiting.is_empty() {
            let Some(permit) = self.link.acquire() else { return };
            let Some(message) = self.waiting.pop_front() else { return };
            self.seq += 1;
            self.port.deliver(Envelope {
                run: self.run,
                channel: self.channel,
                seq: self.seq,
                message,
                permit,
            });
        }
    }
}
