//! An output that listens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::chain::{Push, Tee};
use crate::edge::{BatchLimits, Edge, Forward, Port, Sender};
use crate::link::{Link, Permit};
use crate::message::{Envelope, Message, Status};

/// The receiving end of a channel: hears what comes and holds on to the credits until it is told to give them back.
#[derive(Debug)]
pub(crate) struct Probe<T>(Arc<Mutex<Received<T>>>);

/// What came on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard<T> {
    Record(T, i64),
    Watermark(i64),
    Status(Status),
    Barrier(u64),
    End,
}

#[derive(Debug)]
struct Received<T> {
    heard: Vec<Heard<T>>,
    permits: Vec<Permit<T>>,
    /// Records it asks the sender to put into a batch.
    wanted: usize,
    seq: u64,
    records: u64,
    watermark: i64,
}

impl<T> Clone for Probe<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Probe<T> {
    /// One that asks for batches of one record.
    pub(crate) fn new() -> Self {
        Self::wanting(1)
    }

    /// One that asks for batches of so many records.
    pub(crate) fn wanting(wanted: usize) -> Self {
        let (heard, permits) = (Vec::new(), Vec::new());
        let received = Received { heard, permits, wanted, seq: 0, records: 0, watermark: i64::MIN };
        Self(Arc::new(Mutex::new(received)))
    }

    fn lock(&self) -> MutexGuard<'_, Received<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has come since the last call.
    pub(crate) fn take(&self) -> Vec<Heard<T>> {
        std::mem::take(&mut self.lock().heard)
    }
}

impl<T: Clone + Send + 'static> Probe<T> {
    /// A channel with so many credits that ends here.
    pub(crate) fn edge(&self, credits: u32, run: u64) -> Edge<T, Forward> {
        let limits = BatchLimits { records: 1024, linger_nanos: 1_000_000 };
        let link = Link::new(credits, Arc::default());
        let sender = Sender::new(Box::new(self.clone()), link, 0, run, limits);
        Edge::new(vec![sender], Forward, limits)
    }

    /// An outlet whose only consumer is such a channel.
    pub(crate) fn outlet(&self, credits: u32, run: u64) -> Tee<T> {
        Tee::new(vec![Box::new(self.edge(credits, run)) as Box<dyn Push<T>>])
    }
}

impl<T: Send> Port<T> for Probe<T> {
    fn deliver(&self, envelope: Envelope<T>) {
        let mut received = self.lock();
        received.seq += 1;
        assert_eq!(envelope.seq, received.seq, "a message is missing or came twice");
        match envelope.message {
            Message::Batch(batch) => {
                assert!(!batch.is_empty(), "an empty batch was sent");
                received.records += batch.len() as u64;
                let times: Vec<i64> = (0..batch.len()).map(|index| batch.timestamp(index)).collect();
                let records = batch.values.into_iter().zip(times);
                received.heard.extend(records.map(|(value, at)| Heard::Record(value, at)));
            }
            Message::Watermark(at) => {
                assert!(at > received.watermark, "watermark {at} does not rise above {}", received.watermark);
                received.watermark = at;
                received.heard.push(Heard::Watermark(at));
            }
            Message::Status(status) => received.heard.push(Heard::Status(status)),
            Message::Barrier(barrier) => {
                assert_eq!(barrier.records, received.records, "the barrier counts other records than came");
                received.heard.push(Heard::Barrier(barrier.checkpoint));
            }
            Message::End => received.heard.push(Heard::End),
        }
        envelope.permit.advise(received.wanted);
        received.permits.push(envelope.permit);
    }
}

/// The credits of an output, whatever it carries.
pub(crate) trait Credits {
    /// Gives them all back; returns whether there were any.
    fn release(&self) -> bool;
    /// Whether there are any to give back.
    fn are_held(&self) -> bool;
}

impl<T> Credits for Probe<T> {
    fn release(&self) -> bool {
        // Not under the lock: a returning credit wakes its sender.
        let permits = std::mem::take(&mut self.lock().permits);
        !permits.is_empty()
    }

    fn are_held(&self) -> bool {
        !self.lock().permits.is_empty()
    }
}
