use proptest::prelude::*;

use super::*;

/// What happens to an aligner, and what it must answer.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A barrier of the checkpoint comes on the channel.
    Barrier(usize, u64, Arrival),
    /// The snapshot point passes.
    Complete,
    Abort(u64),
    /// From here on exactly these channels are blocked.
    Blocked(&'static [usize]),
}

use Arrival::{Blocked as Waits, Complete as Last, Obsolete};
use Event::{Abort, Barrier, Blocked, Complete};

fn check(channels: usize, events: &[Event]) {
    let mut aligner = Aligner::new(channels);
    for (index, event) in events.iter().enumerate() {
        match *event {
            Barrier(channel, checkpoint, expected) => {
                assert_eq!(aligner.arrive(channel, checkpoint), expected, "event {index}: {event:?}");
            }
            Complete => aligner.complete(),
            Abort(checkpoint) => aligner.abort(checkpoint),
            Blocked(expected) => assert_eq!(blocked(&aligner), expected, "event {index}"),
        }
    }
}

fn blocked(aligner: &Aligner) -> Vec<usize> {
    (0..aligner.arrived.len()).filter(|channel| aligner.is_blocked(*channel)).collect()
}

#[test]
fn a_single_channel_is_aligned_by_its_barrier() {
    check(1, &[Barrier(0, 1, Last), Blocked(&[0]), Complete, Blocked(&[]), Barrier(0, 2, Last)]);
}

#[test]
fn channels_are_blocked_from_their_barrier_until_the_snapshot_point() {
    check(
        3,
        &[
            Barrier(1, 1, Waits),
            Blocked(&[1]),
            Barrier(0, 1, Waits),
            Blocked(&[0, 1]),
            Barrier(2, 1, Last),
            Blocked(&[0, 1, 2]),
            Complete,
            Blocked(&[]),
        ],
    );
}

#[test]
fn checkpoints_follow_one_another_though_ids_are_left_out() {
    check(
        2,
        &[Barrier(0, 3, Waits), Barrier(1, 3, Last), Complete, Barrier(1, 9, Waits), Barrier(0, 9, Last)],
    );
}

#[test]
fn a_barrier_of_a_completed_checkpoint_is_obsolete() {
    check(
        2,
        &[
            Barrier(0, 2, Waits),
            Barrier(1, 2, Last),
            Complete,
            Barrier(0, 2, Obsolete),
            Barrier(1, 1, Obsolete),
            Blocked(&[]),
        ],
    );
}

#[test]
fn the_same_barrier_again_on_a_channel_counts_once() {
    check(2, &[Barrier(0, 1, Waits), Barrier(0, 1, Obsolete), Blocked(&[0]), Barrier(1, 1, Last)]);
}

#[test]
fn a_newer_barrier_replaces_the_running_alignment() {
    check(
        3,
        &[
            Barrier(0, 1, Waits),
            Barrier(1, 1, Waits),
            Barrier(2, 2, Waits),
            Blocked(&[2]),
            Barrier(0, 1, Obsolete),
            Barrier(0, 2, Waits),
            Barrier(1, 2, Last),
        ],
    );
}

#[test]
fn an_abort_frees_the_channels() {
    check(2, &[Barrier(0, 1, Waits), Blocked(&[0]), Abort(1), Blocked(&[]), Barrier(0, 2, Waits)]);
}

#[test]
fn a_late_barrier_of_an_aborted_checkpoint_starts_nothing() {
    check(2, &[Barrier(0, 1, Waits), Abort(1), Barrier(1, 1, Obsolete), Blocked(&[])]);
}

#[test]
fn an_abort_that_comes_before_all_its_barriers_makes_them_obsolete() {
    check(
        2,
        &[Abort(4), Barrier(0, 4, Obsolete), Barrier(1, 3, Obsolete), Blocked(&[]), Barrier(1, 5, Waits)],
    );
}

#[test]
fn an_abort_of_an_older_checkpoint_leaves_the_running_alignment_alone() {
    check(2, &[Barrier(0, 2, Waits), Abort(1), Blocked(&[0]), Barrier(1, 2, Last)]);
}

#[test]
fn an_abort_of_a_newer_checkpoint_ends_the_running_alignment_too() {
    check(
        2,
        &[Barrier(0, 1, Waits), Abort(2), Blocked(&[]), Barrier(1, 1, Obsolete), Barrier(0, 2, Obsolete)],
    );
}

#[test]
fn an_abort_between_the_last_barrier_and_the_snapshot_point_frees_the_channels() {
    check(2, &[Barrier(0, 1, Waits), Barrier(1, 1, Last), Abort(1), Blocked(&[]), Complete, Blocked(&[])]);
}

#[test]
fn an_abort_of_a_newer_checkpoint_is_remembered_while_a_snapshot_point_is_due() {
    check(
        2,
        &[
            Barrier(0, 1, Waits),
            Barrier(1, 1, Last),
            Abort(2),
            Complete,
            Barrier(0, 2, Obsolete),
            Blocked(&[]),
        ],
    );
}

#[test]
fn completing_while_barriers_are_missing_changes_nothing() {
    check(2, &[Barrier(0, 1, Waits), Complete, Blocked(&[0]), Barrier(1, 1, Last)]);
}

/// Everything that happened, from which each answer follows without any state of its own.
#[derive(Debug, Default)]
struct History {
    barriers: Vec<(usize, u64)>,
    /// Checkpoints that were completed or given up.
    over: Vec<u64>,
}

impl History {
    fn is_over(&self, checkpoint: u64) -> bool {
        self.over.iter().any(|over| *over >= checkpoint)
    }

    fn newest(&self) -> Option<u64> {
        self.barriers.iter().map(|(_, checkpoint)| *checkpoint).max()
    }

    fn brought(&self, channel: usize, checkpoint: u64) -> bool {
        self.barriers.contains(&(channel, checkpoint))
    }

    fn is_blocked(&self, channel: usize) -> bool {
        self.newest().is_some_and(|newest| !self.is_over(newest) && self.brought(channel, newest))
    }

    fn arrive(&mut self, channels: usize, channel: usize, checkpoint: u64) -> Arrival {
        let obsolete = self.is_over(checkpoint)
            || self.newest().is_some_and(|newest| newest > checkpoint)
            || self.brought(channel, checkpoint);
        if obsolete {
            return Obsolete;
        }
        self.barriers.push((channel, checkpoint));
        if (0..channels).all(|channel| self.brought(channel, checkpoint)) { Last } else { Waits }
    }
}

#[derive(Debug, Clone)]
enum Move {
    Barrier(usize, u64),
    Abort(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => (0..4_usize, 1..8_u64).prop_map(|(channel, checkpoint)| Move::Barrier(channel, checkpoint)),
        1 => (1..8_u64).prop_map(Move::Abort),
    ];
    proptest::collection::vec(one, 0..80)
}

/// What the channels of one run carry, and in which order they are read.
#[derive(Debug, Clone)]
struct Run {
    /// Per checkpoint, the channels that bring its barrier. It is given up if not all do, or if the flag says so.
    checkpoints: Vec<(Vec<bool>, bool)>,
    /// Who moves next: a channel, or the control plane with its aborts.
    turns: Vec<usize>,
}

fn runs() -> impl Strategy<Value = Run> {
    let checkpoint =
        (proptest::collection::vec(proptest::bool::weighted(0.9), 3), proptest::bool::weighted(0.2));
    let checkpoints = proptest::collection::vec(checkpoint, 1..8);
    (checkpoints, proptest::collection::vec(0..4_usize, 0..120))
        .prop_map(|(checkpoints, turns)| Run { checkpoints, turns })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_answer_follows_from_what_happened_before(channels in 1..5_usize, moves in moves()) {
        let mut aligner = Aligner::new(channels);
        let mut history = History::default();
        for next in moves {
            match next {
                Move::Barrier(channel, checkpoint) => {
                    let channel = channel % channels;
                    let expected = history.arrive(channels, channel, checkpoint);
                    prop_assert_eq!(aligner.arrive(channel, checkpoint), expected);
                    if expected == Last {
                        aligner.complete();
                        history.over.push(checkpoint);
                    }
                }
                Move::Abort(checkpoint) => {
                    aligner.abort(checkpoint);
                    history.over.push(checkpoint);
                }
            }
            for channel in 0..channels {
                prop_assert_eq!(aligner.is_blocked(channel), history.is_blocked(channel), "channel {}", channel);
            }
        }
    }

    /// Barriers come in order on each channel, a blocked channel is not read, and every checkpoint that cannot
    /// complete is given up sooner or later.
    #[test]
    fn no_interleaving_leaves_a_channel_blocked_or_completes_a_checkpoint_early(run in runs()) {
        let ids = |channel: usize| {
            let brought = run.checkpoints.iter().zip(1_u64..).filter(move |((brings, _), _)| brings[channel]);
            brought.map(|(_, id)| id).collect::<Vec<_>>()
        };
        let mut queues: Vec<Vec<u64>> = (0..3).map(|channel| ids(channel).into_iter().rev().collect()).collect();
        let doomed = run.checkpoints.iter().zip(1_u64..).filter(|((brings, abort), _)| *abort || brings.contains(&false));
        let mut aborts: Vec<u64> = doomed.map(|(_, id)| id).collect();
        let aborted = aborts.clone();
        aborts.reverse();

        let mut aligner = Aligner::new(3);
        let mut completed = Vec::new();
        // The turns that were drawn, then everybody in turn until nothing is left.
        let rest = (0..4).cycle().take(200);
        for turn in run.turns.iter().copied().chain(rest) {
            if turn == 3 {
                if let Some(checkpoint) = aborts.pop() {
                    aligner.abort(checkpoint);
                }
            } else if !aligner.is_blocked(turn)
                && let Some(checkpoint) = queues[turn].pop()
                && aligner.arrive(turn, checkpoint) == Last
            {
                let behind = queues.iter().flatten().any(|left| *left <= checkpoint);
                prop_assert!(!behind, "{} completed before all channels brought it", checkpoint);
                completed.push(checkpoint);
                aligner.complete();
            }
        }
        prop_assert!(queues.iter().all(Vec::is_empty), "left in the channels: {:?}", queues);
        prop_assert_eq!(blocked(&aligner), Vec::<usize>::new());
        prop_assert!(completed.is_sorted());
        for (_, checkpoint) in run.checkpoints.iter().zip(1_u64..) {
            let wanted = !aborted.contains(&checkpoint);
            // One that was given up may still complete if its barriers were quicker than the abort, or be replaced.
            prop_assert!(!wanted || completed.contains(&checkpoint) || aborted.iter().any(|id| *id > checkpoint));
        }
    }
}
