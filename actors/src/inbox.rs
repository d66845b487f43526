//! The way into an actor: one queue per channel, so that aligning is not popping a channel.

mod aligner;
#[cfg(test)]
mod tests;
mod valve;

pub use aligner::{Aligner, Arrival};
pub use valve::{Valve, ValveChange};

use std::collections::VecDeque;

use watershed_state::bug::{self, Bug};

use crate::batch::Batch;
use crate::failure::Failure;
use crate::link::Permit;
use crate::message::{Envelope, Message};

/// Queues of all input channels, with what stands between the records resolved: a task sees one combined watermark
/// and one barrier.
#[derive(Debug)]
pub struct Inbox<T> {
    channels: Vec<Channel<T>>,
    aligner: Aligner,
    valve: Valve,
    run: u64,
    /// Channel to look at first, so that none is starved.
    turn: usize,
    /// Channel of what was popped last.
    popped: usize,
    ended: usize,
}

#[derive(Debug)]
struct Channel<T> {
    queue: VecDeque<Envelope<T>>,
    seq: u64,
    /// Records taken out in this run, compared with what the sender's barrier says.
    records: u64,
}

/// What the task has to do next.
#[derive(Debug)]
pub enum Input<T> {
    /// Process these records.
    Batch(Batch<T>, Permit<T>),
    /// The combined watermark or status of the inputs changed.
    Change(ValveChange),
    /// The barrier has come on all channels: snapshot, pass it on, then [`Inbox::unblock`].
    Barrier(u64),
    /// All inputs have ended.
    End,
}

impl<T> Inbox<T> {
    /// For so many channels; messages of another run than `run` are dropped.
    pub fn new(channels: usize, run: u64) -> Self {
        let queues = || Channel { queue: VecDeque::new(), seq: 0, records: 0 };
        Self {
            channels: (0..channels).map(|_| queues()).collect(),
            aligner: Aligner::new(channels),
            valve: Valve::new(channels),
            run,
            turn: 0,
            popped: 0,
            ended: 0,
        }
    }

    /// Starts the watermark where the snapshot left it.
    pub fn restore_watermark(&mut self, watermark: i64) {
        self.valve.restore(watermark);
    }

    /// Puts an envelope into the queue of its channel.
    ///
    /// # Errors
    /// A gap in the sequence, or more messages than credits: our bug.
    pub fn file(&mut self, envelope: Envelope<T>) -> Result<(), Failure> {
        if envelope.run != self.run {
            return Ok(());
        }
        let Some(channel) = self.channels.get_mut(envelope.channel as usize) else {
            return Err(Failure::internal(format!(
                "a message for channel {} that does not exist",
                envelope.channel
            )));
        };
        if envelope.seq != channel.seq + 1 {
            return Err(Failure::internal(format!(
                "channel {}: message {} follows {}",
                envelope.channel, envelope.seq, channel.seq
            )));
        }
        channel.seq = envelope.seq;
        channel.queue.push_back(envelope);
        Ok(())
    }

    /// The next thing to do, from any channel that is not blocked.
    ///
    /// # Errors
    /// A channel that holds other records before its barrier than were sent: our bug.
    pub fn pop(&mut self) -> Result<Option<Input<T>>, Failure> {
        let count = self.channels.len();
        let mut looked = 0;
        while looked < count {
            let index = self.turn;
            self.turn = if index + 1 == count { 0 } else { index + 1 };
            if self.aligner.is_blocked(index) {
                looked += 1;
                continue;
            }
            let Some(envelope) = self.channels[index].queue.pop_front() else {
                looked += 1;
                continue;
            };
            looked = 0;
            self.popped = index;
            if let Some(input) = self.resolve(index, envelope.message, envelope.permit)? {
                return Ok(Some(input));
            }
        }
        Ok(None)
    }

    fn resolve(
        &mut self,
        index: usize,
        message: Message<T>,
        permit: Permit<T>,
    ) -> Result<Option<Input<T>>, Failure> {
        match message {
            Message::Batch(batch) => {
                self.channels[index].records += batch.len() as u64;
                Ok(Some(Input::Batch(batch, permit)))
            }
            Message::Watermark(at) => Ok(self.valve.watermark(index, at).map(Input::Change)),
            Message::Status(status) => Ok(self.valve.status(index, status).map(Input::Change)),
            Message::Barrier(barrier) => {
                let records = self.channels[index].records;
                if barrier.records != records {
                    return Err(Failure::internal(format!(
                        "channel {index}: {records} records before barrier {} where {} were sent",
                        barrier.checkpoint, barrier.records
                    )));
                }
                match self.aligner.arrive(index, barrier.checkpoint) {
                    Arrival::Complete => Ok(Some(Input::Barrier(barrier.checkpoint))),
                    Arrival::Obsolete if bug::is(Bug::CreditOfObsoleteBarrierLost) => {
                        std::mem::forget(permit);
                        Ok(None)
                    }
                    Arrival::Blocked | Arrival::Obsolete => Ok(None),
                }
            }
            Message::End => {
                self.ended += 1;
                // The last watermark of an ended channel is the maximum, sent before the end.
                Ok((self.ended == self.channels.len()).then_some(Input::End))
            }
        }
    }

    /// Ends the alignment after the snapshot point.
    pub fn unblock(&mut self) {
        self.aligner.complete();
    }

    /// Gives a checkpoint up: its channels flow again, its late barriers are ignored.
    pub fn abort(&mut self, checkpoint: u64) {
        self.aligner.abort(checkpoint);
    }

    /// The channel that the last input came on.
    pub fn popped(&self) -> u32 {
        self.popped as u32
    }

    /// Whether something can be popped.
    pub fn is_ready(&self) -> bool {
        let mut channels = self.channels.iter().enumerate();
        channels.any(|(index, channel)| !channel.queue.is_empty() && !self.aligner.is_blocked(index))
    }

    /// Whether nothing but barriers and the end of channels can be popped next.
    pub fn has_only_barriers(&self) -> bool {
        let mut channels = self.channels.iter().enumerate();
        channels.all(|(index, channel)| {
            let next = channel.queue.front().map(|envelope| &envelope.message);
            self.aligner.is_blocked(index) || matches!(next, None | Some(Message::Barrier(_) | Message::End))
        })
    }

    /// Messages in all queues.
    pub fn depth(&self) -> usize {
        self.channels.iter().map(|channel| channel.queue.len()).sum()
    }

    /// The combined watermark.
    pub fn watermark(&self) -> i64 {
        self.valve.output()
    }
}
