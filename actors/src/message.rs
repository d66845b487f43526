//! What travels between actors.

use crate::batch::Batch;
use crate::link::Permit;

/// What one channel carries, in order. Control stands between batches, never among records.
#[derive(Debug)]
pub enum Message<T> {
    /// Records.
    Batch(Batch<T>),
    /// No record with an event time at or below this (milliseconds) will follow on this channel.
    Watermark(i64),
    /// Whether the channel takes part in the watermark.
    Status(Status),
    /// Everything before belongs to the checkpoint, everything after does not.
    Barrier(Barrier),
    /// No records will follow; barriers still do.
    End,
}

/// Whether a channel takes part in the watermark of its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Records may come at any moment: its watermark counts.
    Active,
    /// Nothing comes for now: its watermark does not hold back the others.
    Idle,
    /// Nothing will come any more.
    Finished,
}

/// A checkpoint barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// Id of the checkpoint; never reused.
    pub checkpoint: u64,
    /// Records sent on this channel before the barrier since the run began; the receiver compares it with its own
    /// count, which proves that the cut is consistent.
    pub records: u64,
}

/// A message with what identifies it.
#[derive(Debug)]
pub struct Envelope<T> {
    /// Run of the region that sent it; another run's messages are never applied.
    pub run: u64,
    /// Position of the channel among the receiver's inputs.
    pub channel: u32,
    /// One more than the message before it on this channel.
    pub seq: u64,
    /// The content.
    pub message: Message<T>,
    /// Returns to the sender when the message has been processed.
    pub permit: Permit<T>,
}

/// What passes down a chain of fused operators beside records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// See [`Message::Watermark`].
    Watermark(i64),
    /// See [`Message::Status`].
    Status(Status),
    /// See [`Message::Barrier`]; the channel adds its count.
    Barrier(u64),
    /// See [`Message::End`].
    End,
}
