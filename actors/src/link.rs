//! Flow control of one channel: credits that ride in the messages and come back when they are processed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};

use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;

use crate::batch::Batch;

/// Wakes a task from anywhere: when a credit comes back, when a reader's thread has data.
#[derive(Debug, Default)]
pub struct TaskWaker(AtomicWaker);

impl TaskWaker {
    /// Remembers whom to wake. To be called before the last look at what is waited for.
    pub fn register(&self, waker: &Waker) {
        self.0.register(waker);
    }

    /// Wakes the task if it is waiting.
    pub fn wake_task(&self) {
        self.0.wake();
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }
}

/// The credits of a channel, whatever its type, for those who only look.
pub trait Credits: Send + Sync {
    /// Messages that may still be sent before one has to be processed.
    fn free(&self) -> u32;

    /// Messages that may be on their way at once.
    fn total(&self) -> u32;
}

/// What sender and receiver of one channel share.
#[derive(Debug)]
pub struct Link<T> {
    /// Messages that may still be sent before one has to be processed.
    credits: AtomicU32,
    /// Credits there are.
    total: u32,
    /// Records a batch should have, as the receiver found from its time per record.
    batch_records: AtomicU32,
    /// Emptied batches on their way back to the sender.
    spare: ArrayQueue<Batch<T>>,
    /// The sending task.
    sender: Arc<TaskWaker>,
}

impl<T> Link<T> {
    /// A channel with so many credits, whose sender is woken when one returns.
    pub fn new(credits: u32, sender: Arc<TaskWaker>) -> Arc<Self> {
        Arc::new(Self {
            credits: AtomicU32::new(credits),
            total: credits,
            batch_records: AtomicU32::new(1),
            spare: ArrayQueue::new(credits.max(1) as usize),
            sender,
        })
    }

    /// Takes a credit, if there is one. Only the one sender of the channel may call it.
    pub fn acquire(self: &Arc<Self>) -> Option<Permit<T>> {
        // Only the sender takes credits, so what it saw can only have grown.
        if self.credits.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.credits.fetch_sub(1, Ordering::AcqRel);
        Some(Permit(Arc::clone(self)))
    }

    /// Credits at hand.
    pub fn credits(&self) -> u32 {
        self.credits.load(Ordering::Acquire)
    }

    /// Records the receiver wants in a batch.
    pub fn batch_records(&self) -> usize {
        self.batch_records.load(Ordering::Relaxed) as usize
    }

    /// An emptied batch to fill again.
    pub fn take_spare(&self) -> Option<Batch<T>> {
        self.spare.pop()
    }
}

impl<T: Send> Credits for Link<T> {
    fn free(&self) -> u32 {
        self.credits()
    }

    fn total(&self) -> u32 {
        self.total
    }
}

/// The right to send one message. It rides in the message; dropping it gives the credit back and wakes the sender.
#[derive(Debug)]
pub struct Permit<T>(Arc<Link<T>>);

impl<T> Permit<T> {
    /// Tells the sender how many records a batch should have.
    pub fn advise(&self, records: usize) {
        self.0.batch_records.store(records as u32, Ordering::Relaxed);
    }

    /// Sends the emptied batch back with the credit.
    pub fn recycle(self, mut batch: Batch<T>) {
        batch.clear();
        // A full queue only means that the sender has enough of them.
        let _ = self.0.spare.push(batch);
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        self.0.credits.fetch_add(1, Ordering::AcqRel);
        self.0.sender.wake_task();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credit_returns_when_its_permit_is_dropped() {
        let link: Arc<Link<u64>> = Link::new(1, Arc::default());
        let permit = link.acquire().unwrap();
        assert!(link.acquire().is_none());
        drop(permit);
        assert!(link.acquire().is_some());
    }

    #[test]
    fn an_emptied_batch_comes_back_with_its_memory() {
        let link: Arc<Link<u64>> = Link::new(1, Arc::default());
        let mut batch = Batch::default();
        batch.push(7, 3);
        link.acquire().unwrap().recycle(batch);
        let spare = link.take_spare().unwrap();
        assert!(spare.is_empty() && spare.timestamps.is_empty());
        assert!(spare.values.capacity() > 0);
    }
}
