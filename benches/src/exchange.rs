//! A keyed exchange with both ends on one thread: an edge, its channels, and the inboxes behind them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use watershed_actors::{
    Batch, BatchLimits, ByKey, Edge, Envelope, Failure, Flow, Inbox, Input, Link, Port, Push, Sender,
};
use watershed_state::KeyGroups;

/// Records with key and value.
pub type Pair = (u64, u64);

/// One sender and some receivers.
pub struct Exchange {
    edge: Box<dyn Push<Pair>>,
    receivers: Vec<Receiver>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("receivers", &self.receivers.len()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Receiver {
    mailbox: Mailbox,
    inbox: Inbox<Pair>,
}

/// Where a channel ends.
#[derive(Debug, Clone, Default)]
struct Mailbox(Arc<Mutex<VecDeque<Envelope<Pair>>>>);

impl Port<Pair> for Mailbox {
    fn deliver(&self, envelope: Envelope<Pair>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(envelope);
    }
}

impl Mailbox {
    fn take(&self) -> Option<Envelope<Pair>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// As in a job that says nothing else.
const LIMITS: BatchLimits = BatchLimits { records: 1024, linger_nanos: 5_000_000 };
const CREDITS: u32 = 8;
const RUN: u64 = 1;

impl Exchange {
    /// To so many receivers, all of which want the largest batches.
    pub fn new(receivers: usize) -> Self {
        let mailboxes: Vec<Mailbox> = (0..receivers).map(|_| Mailbox::default()).collect();
        let senders = mailboxes.iter().map(|mailbox| {
            let link = Link::new(CREDITS, Arc::default());
            Sender::new(Box::new(mailbox.clone()), link, 0, RUN, LIMITS)
        });
        let route = ByKey::new(Arc::new(|pair: &Pair| pair.0), KeyGroups::DEFAULT, receivers);
        let edge = Box::new(Edge::new(senders.collect(), route, LIMITS));
        let receiver = |mailbox| Receiver { mailbox, inbox: Inbox::new(1, RUN) };
        Self { edge, receivers: mailboxes.into_iter().map(receiver).collect() }
    }

    /// Sends all of the batch, and gives what the receivers take out to `consume`. Up to a batch for each of them may
    /// stay on the way.
    ///
    /// # Errors
    /// A broken protocol.
    pub fn send(
        &mut self,
        batch: &mut Batch<Pair>,
        mut consume: impl FnMut(&Batch<Pair>),
    ) -> Result<(), Failure> {
        let mut flow = self.edge.batch(batch);
        loop {
            for receiver in &mut self.receivers {
                receiver.receive(&mut consume)?;
            }
            if flow == Flow::Continue && batch.is_empty() {
                return Ok(());
            }
            flow = match self.edge.resume() {
                Flow::Continue => self.edge.batch(batch),
                Flow::Blocked => Flow::Blocked,
            };
        }
    }
}

impl Receiver {
    fn receive(&mut self, consume: &mut impl FnMut(&Batch<Pair>)) -> Result<(), Failure> {
        while let Some(envelope) = self.mailbox.take() {
            self.inbox.file(envelope)?;
            while let Some(input) = self.inbox.pop()? {
                if let Input::Batch(batch, permit) = input {
                    consume(&batch);
                    permit.advise(LIMITS.records);
                    permit.recycle(batch);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_records_get_through_and_none_twice() {
        let mut exchange = Exchange::new(2);
        let mut sum = 0;
        for begin in (0..100 * 1024).step_by(1024) {
            let mut batch =
                Batch { values: (begin..begin + 1024).map(|i| (i, 1)).collect(), ..Batch::default() };
            exchange.send(&mut batch, |batch| sum += batch.len()).unwrap();
        }
        assert!((98 * 1024..=100 * 1024).contains(&sum), "{sum}");
    }
}
