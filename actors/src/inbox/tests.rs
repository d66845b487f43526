use std::sync::Arc;

use super::*;
use crate::clock::MAX_WATERMARK;
use crate::failure::FailureKind;
use crate::link::Link;
use crate::message::{Barrier, Status};

const RUN: u64 = 3;

/// The senders of all channels of an inbox, and the inbox.
struct Channels {
    inbox: Inbox<u64>,
    links: Vec<Arc<Link<u64>>>,
    sent: Vec<(u64, u64)>,
}

/// What the inbox gives, without the permits.
#[derive(Debug, PartialEq)]
enum Given {
    Records(Vec<u64>),
    Watermark(i64),
    Status(Status),
    /// Both at once.
    Ended(i64, Status),
    Barrier(u64),
    End,
}

use Given::{Records, Watermark};

impl Channels {
    fn new(channels: usize) -> Self {
        Self {
            inbox: Inbox::new(channels, RUN),
            links: (0..channels).map(|_| Link::new(8, Arc::default())).collect(),
            sent: vec![(0, 0); channels],
        }
    }

    fn envelope(&mut self, channel: usize, message: Message<u64>) -> Envelope<u64> {
        let (seq, records) = &mut self.sent[channel];
        *seq += 1;
        if let Message::Batch(batch) = &message {
            *records += batch.len() as u64;
        }
        let permit = self.links[channel].acquire().unwrap();
        Envelope { run: RUN, channel: channel as u32, seq: *seq, message, permit }
    }

    fn send(&mut self, channel: usize, message: Message<u64>) {
        let envelope = self.envelope(channel, message);
        self.inbox.file(envelope).unwrap();
    }

    fn records(&mut self, channel: usize, values: &[u64]) {
        self.send(channel, Message::Batch(Batch { values: values.to_vec(), ..Batch::default() }));
    }

    fn barrier(&mut self, channel: usize, checkpoint: u64) {
        let records = self.sent[channel].1;
        self.send(channel, Message::Barrier(Barrier { checkpoint, records }));
    }

    fn pop(&mut self) -> Option<Given> {
        Some(match self.inbox.pop().unwrap()? {
            Input::Batch(batch, _permit) => Records(batch.values),
            Input::Change(ValveChange { watermark: Some(at), status: None }) => Watermark(at),
            Input::Change(ValveChange { watermark: None, status: Some(status) }) => Given::Status(status),
            Input::Change(ValveChange { watermark: Some(at), status: Some(status) }) => {
                Given::Ended(at, status)
            }
            Input::Change(change) => panic!("{change:?}"),
            Input::Barrier(checkpoint) => Given::Barrier(checkpoint),
            Input::End => Given::End,
        })
    }

    fn pop_all(&mut self) -> Vec<Given> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

fn check_broken(channels: &mut Channels, envelope: Envelope<u64>, cause: &str) {
    let filed = channels.inbox.file(envelope);
    let failure = filed.and_then(|()| channels.inbox.pop().map(|_| ())).unwrap_err();
    assert_eq!((failure.kind, &*failure.cause), (FailureKind::Internal, cause));
}

#[test]
fn channels_take_turns() {
    let mut channels = Channels::new(3);
    for channel in [0, 0, 0, 2, 1, 1] {
        channels.records(channel, &[channel as u64]);
    }
    let expected = [0, 1, 2, 0, 1, 0].map(|channel| Records(vec![channel]));
    assert_eq!(channels.pop_all(), expected);
}

#[test]
fn a_channel_is_not_read_between_its_barrier_and_the_snapshot_point() {
    let mut channels = Channels::new(2);
    channels.barrier(0, 1);
    channels.records(0, &[10]);
    channels.records(1, &[20]);
    assert_eq!(channels.pop_all(), [Records(vec![20])]);
    assert!(!channels.inbox.is_ready());
    assert_eq!(channels.inbox.depth(), 1);
    channels.barrier(1, 1);
    channels.records(1, &[21]);
    assert_eq!(channels.pop_all(), [Given::Barrier(1)]);
    channels.inbox.unblock();
    assert!(channels.inbox.is_ready());
    let mut rest = channels.pop_all();
    rest.sort_by_key(|given| if let Records(records) = given { records[0] } else { 0 });
    assert_eq!(rest, [Records(vec![10]), Records(vec![21])]);
}

#[test]
fn an_abort_lets_the_blocked_channels_flow() {
    let mut channels = Channels::new(2);
    channels.barrier(0, 1);
    channels.records(0, &[10]);
    assert_eq!(channels.pop_all(), []);
    channels.inbox.abort(1);
    assert_eq!(channels.pop_all(), [Records(vec![10])]);
    channels.barrier(1, 1);
    channels.records(1, &[20]);
    assert_eq!(channels.pop_all(), [Records(vec![20])], "the late barrier is dropped");
}

#[test]
fn a_channel_that_has_ended_still_takes_part_in_checkpoints() {
    let mut channels = Channels::new(2);
    channels.send(0, Message::Watermark(MAX_WATERMARK));
    channels.send(0, Message::End);
    channels.barrier(1, 1);
    channels.records(1, &[20]);
    assert_eq!(channels.pop_all(), []);
    channels.barrier(0, 1);
    assert_eq!(channels.pop_all(), [Given::Barrier(1)]);
}

#[test]
fn the_end_comes_when_all_channels_have_ended() {
    let mut channels = Channels::new(2);
    for channel in [0, 1] {
        channels.send(channel, Message::Watermark(MAX_WATERMARK));
        channels.send(channel, Message::End);
    }
    assert_eq!(channels.pop_all(), [Given::Ended(MAX_WATERMARK, Status::Finished), Given::End]);
}

#[test]
fn watermarks_and_statuses_are_combined() {
    let mut channels = Channels::new(2);
    channels.inbox.restore_watermark(5);
    channels.send(0, Message::Watermark(10));
    channels.send(1, Message::Watermark(20));
    assert_eq!(channels.pop_all(), [Watermark(10)]);
    assert_eq!(channels.inbox.watermark(), 10);
    channels.send(0, Message::Status(Status::Idle));
    channels.send(1, Message::Status(Status::Idle));
    assert_eq!(channels.pop_all(), [Watermark(20), Given::Status(Status::Idle)]);
}

#[test]
fn what_stands_between_records_gives_its_credit_back_at_once() {
    let mut channels = Channels::new(2);
    channels.send(0, Message::Watermark(10));
    channels.barrier(0, 1);
    channels.records(1, &[1]);
    assert_eq!((channels.links[0].credits(), channels.links[1].credits()), (6, 7));
    let Some(Input::Batch(_, permit)) = channels.inbox.pop().unwrap() else { panic!("there is a batch") };
    assert_eq!(
        (channels.links[0].credits(), channels.links[1].credits()),
        (7, 7),
        "the watermark is through"
    );
    drop(permit);
    assert_eq!(channels.pop(), None);
    assert_eq!((channels.links[0].credits(), channels.links[1].credits()), (8, 8), "and so is the barrier");
}

#[test]
fn messages_of_another_run_are_dropped_and_give_their_credit_back() {
    for run in [RUN - 1, RUN + 1] {
        let mut channels = Channels::new(1);
        let mut envelope = channels.envelope(0, Message::Watermark(10));
        envelope.run = run;
        channels.inbox.file(envelope).unwrap();
        assert_eq!((channels.inbox.depth(), channels.links[0].credits()), (0, 8));
    }
}

#[test]
fn a_gap_in_the_sequence_is_a_failure() {
    let mut channels = Channels::new(1);
    drop(channels.envelope(0, Message::Watermark(10)));
    let second = channels.envelope(0, Message::Watermark(20));
    check_broken(&mut channels, second, "channel 0: message 2 follows 0");
}

#[test]
fn a_message_that_comes_twice_is_a_failure() {
    let mut channels = Channels::new(1);
    channels.send(0, Message::Watermark(10));
    channels.sent[0].0 = 0;
    let again = channels.envelope(0, Message::Watermark(10));
    check_broken(&mut channels, again, "channel 0: message 1 follows 1");
}

#[test]
fn a_channel_that_does_not_exist_is_a_failure() {
    let mut channels = Channels::new(1);
    let mut envelope = channels.envelope(0, Message::Watermark(10));
    envelope.channel = 1;
    check_broken(&mut channels, envelope, "a message for channel 1 that does not exist");
}

#[test]
fn other_records_before_a_barrier_than_were_sent_are_a_failure() {
    let mut channels = Channels::new(1);
    channels.records(0, &[1, 2]);
    assert_eq!(channels.pop(), Some(Records(vec![1, 2])));
    let barrier = channels.envelope(0, Message::Barrier(Barrier { checkpoint: 4, records: 3 }));
    check_broken(&mut channels, barrier, "channel 0: 2 records before barrier 4 where 3 were sent");
}
