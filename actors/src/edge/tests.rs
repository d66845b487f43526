//! Receivers that keep what they get.

mod flow;
mod routes;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;
use crate::link::{Link, Permit, TaskWaker};
use crate::message::{Envelope, Message, Status};

/// The mailbox of a receiver, and its end of the channel.
struct Receiver<T> {
    mailbox: Mailbox<T>,
    link: Arc<Link<T>>,
    waker: Arc<TaskWaker>,
}

/// Records envelopes.
struct Mailbox<T>(Arc<Mutex<VecDeque<Envelope<T>>>>);

impl<T: Send> Port<T> for Mailbox<T> {
    fn deliver(&self, envelope: Envelope<T>) {
        self.0.lock().unwrap().push_back(envelope);
    }
}

/// What a receiver gets.
#[derive(Debug, Clone, PartialEq)]
enum Got<T> {
    Records(Vec<T>),
    Watermark(i64),
    Status(Status),
    /// Checkpoint and records before it.
    Barrier(u64, u64),
    End,
}

use Got::{Barrier as GotBarrier, Records, Watermark as GotWatermark};

const LIMITS: BatchLimits = BatchLimits { records: 1024, linger_nanos: 5_000 };

const RUN: u64 = 7;

/// An edge to so many receivers.
fn edge<T: Send + 'static, R: Route<T>>(
    receivers: usize,
    credits: u32,
    route: R,
    limits: BatchLimits,
) -> (Edge<T, R>, Vec<Receiver<T>>) {
    let channel = |index: usize| {
        let waker = Arc::<TaskWaker>::default();
        let link = Link::new(credits, Arc::clone(&waker));
        let queue = Arc::default();
        let port = Box::new(Mailbox(Arc::clone(&queue)));
        let sender = Sender::new(port, Arc::clone(&link), 10 + index as u32, RUN, limits);
        (sender, Receiver { mailbox: Mailbox(queue), link, waker })
    };
    let (senders, receivers) = (0..receivers).map(channel).unzip();
    (Edge::new(senders, route, limits), receivers)
}

impl<T> Receiver<T> {
    /// Takes the next message and keeps its credit.
    fn receive(&self) -> Option<(Got<T>, Permit<T>)> {
        let envelope = self.mailbox.0.lock().unwrap().pop_front()?;
        assert_eq!(envelope.run, RUN);
        let got = match envelope.message {
            Message::Batch(batch) => Records(batch.values),
            Message::Watermark(at) => GotWatermark(at),
            Message::Status(status) => Got::Status(status),
            Message::Barrier(barrier) => GotBarrier(barrier.checkpoint, barrier.records),
            Message::End => Got::End,
        };
        Some((got, envelope.permit))
    }

    /// Processes the next message: its credit goes back.
    fn process(&self) -> Option<Got<T>> {
        self.receive().map(|(got, _)| got)
    }

    fn process_all(&self) -> Vec<Got<T>> {
        std::iter::from_fn(|| self.process()).collect()
    }

    fn is_empty(&self) -> bool {
        self.mailbox.0.lock().unwrap().is_empty()
    }
}

/// Processes everything, and what comes after it.
fn process_everything<T: Clone + Send, R: Route<T>>(
    edge: &mut Edge<T, R>,
    receiver: &Receiver<T>,
) -> Vec<Got<T>> {
    let mut all = Vec::new();
    while !receiver.is_empty() {
        all.extend(receiver.process_all());
        let _ = edge.resume();
    }
    all
}

/// Lets the receiver ask for batches of so many records. It takes effect with the batch after the next.
fn ask_for_batches_of<T: Clone + Send, R: Route<T>>(
    records: usize,
    edge: &mut Edge<T, R>,
    receivers: &[Receiver<T>],
    filler: &T,
) {
    for receiver in receivers {
        receiver.link.acquire().unwrap().advise(records);
    }
    while edge.senders.iter().any(|sender| sender.limit == 1) {
        let _ = edge.push(filler.clone(), 0);
    }
    edge.tick(0, true);
    for receiver in receivers {
        process_everything(edge, receiver);
    }
}
