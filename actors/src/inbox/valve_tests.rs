use proptest::prelude::*;

use super::*;
use crate::message::Status::{Active, Finished, Idle};

const MAX: i64 = MAX_WATERMARK;

/// What comes on a channel.
#[derive(Debug, Clone, Copy)]
enum Event {
    Watermark(usize, i64),
    Status(usize, Status),
}

use Event::{Status as To, Watermark as At};

fn apply(valve: &mut Valve, event: Event) -> Option<ValveChange> {
    match event {
        At(channel, at) => valve.watermark(channel, at),
        To(channel, status) => valve.status(channel, status),
    }
}

fn after(channels: usize, events: &[Event]) -> Valve {
    let mut valve = Valve::new(channels);
    for event in events {
        apply(&mut valve, *event);
    }
    valve
}

/// The combined watermark and status after these events.
fn check(channels: usize, events: &[Event], watermark: i64, status: Status) {
    let valve = after(channels, events);
    assert_eq!((valve.output(), valve.status), (watermark, status), "after {events:?}");
}

fn permutations(items: &[Event]) -> Vec<Vec<Event>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in 0..items.len() {
        let mut rest = items.to_vec();
        let head = rest.remove(first);
        all.extend(permutations(&rest).into_iter().map(|tail| [vec![head], tail].concat()));
    }
    all
}

#[test]
fn the_least_of_all_channels_counts() {
    check(2, &[At(0, 10), At(1, 20)], 10, Active);
    check(3, &[At(0, 30), At(1, 20), At(2, 25)], 20, Active);
}

#[test]
fn nothing_is_known_before_every_channel_has_spoken() {
    check(2, &[At(0, 10)], i64::MIN, Active);
}

#[test]
fn a_watermark_that_falls_is_ignored() {
    check(2, &[At(0, 10), At(1, 20), At(0, 5), At(1, 15)], 10, Active);
}

#[test]
fn only_changes_are_told() {
    let mut valve = after(2, &[At(0, 10), At(1, 20)]);
    assert_eq!(valve.watermark(1, 30), None);
    assert_eq!(valve.watermark(0, 12), Some(ValveChange { watermark: Some(12), status: None }));
    assert_eq!(valve.status(0, Active), None);
    assert_eq!(valve.status(0, Idle), Some(ValveChange { watermark: Some(30), status: None }));
    assert_eq!(valve.status(1, Idle), Some(ValveChange { watermark: None, status: Some(Idle) }));
    assert_eq!(valve.status(0, Active), Some(ValveChange { watermark: None, status: Some(Active) }));
}

#[test]
fn two_channels_at_10_and_20_in_every_pair_of_states() {
    let cases = [
        (Active, Active, 10, Active),
        (Active, Idle, 10, Active),
        (Active, Finished, 10, Active),
        (Idle, Active, 20, Active),
        (Idle, Idle, 20, Idle),
        (Idle, Finished, 10, Idle),
        (Finished, Active, 20, Active),
        (Finished, Idle, 20, Idle),
        (Finished, Finished, MAX, Finished),
    ];
    for (first, second, watermark, status) in cases {
        // Finished first: a channel that ends after the other has gone idle was the only one that counted until then.
        let mut states = [(0, first), (1, second)];
        states.sort_by_key(|(_, status)| *status != Finished);
        let states = states
            .map(|(channel, status)| if status == Finished { At(channel, MAX) } else { To(channel, status) });
        check(2, &[vec![At(0, 10), At(1, 20)], states.to_vec()].concat(), watermark, status);
    }
}

#[test]
fn an_idle_channel_does_not_hold_back_the_others() {
    check(2, &[At(0, 10), At(1, 20), To(0, Idle), At(1, 30)], 30, Active);
}

/// FLINK-7728: what was flushed when all had gone idle depended on who did so last.
#[test]
fn all_idle_means_the_highest_whoever_went_idle_last() {
    let idle = [To(0, Idle), To(1, Idle), To(2, Idle)];
    for order in permutations(&idle) {
        check(3, &[vec![At(0, 10), At(1, 30), At(2, 20)], order].concat(), 30, Idle);
    }
}

#[test]
fn a_watermark_on_an_idle_channel_counts_when_all_are_idle() {
    check(2, &[At(0, 10), To(0, Idle), To(1, Idle), At(1, 15)], 15, Idle);
    check(2, &[At(0, 10), At(1, 5), To(1, Idle), At(1, 15)], 10, Active);
}

#[test]
fn a_channel_that_comes_back_behind_the_others_counts_once_it_has_caught_up() {
    let back = [At(0, 10), At(1, 20), To(0, Idle), At(1, 30), To(0, Active)];
    check(2, &back, 30, Active);
    check(2, &[&back[..], &[At(0, 25), At(1, 40)]].concat(), 40, Active);
    check(2, &[&back[..], &[At(0, 35), At(1, 40)]].concat(), 35, Active);
}

/// FLINK-40475: the channel came back, and nobody looked at the minimum again.
#[test]
fn a_channel_that_comes_back_ahead_moves_the_watermark_at_once() {
    // Channel 0 is behind the output and does not count; channel 1 was the only other one.
    let alone = [At(1, 30), To(1, Idle), At(2, 20), To(2, Idle), To(0, Idle), To(0, Active)];
    check(3, &alone, 30, Active);
    let mut valve = after(3, &[&alone[..], &[At(2, 40)]].concat());
    assert_eq!(valve.output(), 30);
    assert_eq!(valve.status(2, Active), Some(ValveChange { watermark: Some(40), status: None }));
}

/// FLINK-38477: the watermark of finished channels pulled the others to the end of time.
#[test]
fn finished_channels_do_not_pull_idle_ones_to_the_end() {
    for order in permutations(&[At(0, MAX), At(1, MAX), To(2, Idle)]) {
        check(3, &[vec![At(0, 10), At(1, 10), At(2, 10)], order].concat(), 10, Idle);
    }
}

#[test]
fn a_finished_channel_holds_nobody_back() {
    check(2, &[At(0, 10), At(1, 5), At(1, MAX)], 10, Active);
    check(2, &[At(0, 10), To(1, Finished)], 10, Active);
}

#[test]
fn the_end_comes_when_all_have_finished() {
    check(2, &[At(0, 10), At(1, MAX)], 10, Active);
    check(2, &[At(0, MAX), At(1, MAX)], MAX, Finished);
    check(2, &[To(0, Idle), At(1, MAX), At(0, MAX)], MAX, Finished);
}

#[test]
fn a_finished_channel_never_comes_back() {
    check(2, &[At(0, MAX), To(0, Active), To(0, Idle), At(0, 3), At(1, 10)], 10, Active);
}

#[test]
fn a_restored_watermark_is_where_it_starts() {
    let mut valve = Valve::new(2);
    valve.restore(100);
    assert_eq!(valve.output(), 100);
    assert_eq!(valve.watermark(0, 50), None);
    assert_eq!(valve.watermark(0, 150), None, "channel 1 has said nothing yet");
    assert_eq!(valve.watermark(1, 120), Some(ValveChange { watermark: Some(120), status: None }));
}

#[test]
fn after_a_restore_each_channel_is_as_far_as_the_snapshot_was() {
    let mut valve = Valve::new(2);
    valve.restore(100);
    // Idle for a while, then back: still at 100, which holds back the other one as it did before the crash.
    valve.status(0, Idle);
    valve.status(0, Active);
    assert_eq!(valve.watermark(1, 150), None);
    assert_eq!(valve.watermark(0, 110), Some(ValveChange { watermark: Some(110), status: None }));
}

#[test]
fn a_restored_valve_whose_channels_go_idle_stays_where_it_was() {
    let mut valve = Valve::new(2);
    valve.restore(100);
    valve.status(0, Idle);
    assert_eq!(valve.status(1, Idle), Some(ValveChange { watermark: None, status: Some(Idle) }));
    assert_eq!(valve.output(), 100);
}

/// The valve as a function of what is known of the channels and of what was sent on, and nothing else.
#[derive(Debug, Clone)]
struct Model {
    channels: Vec<(i64, Status)>,
    output: i64,
}

impl Model {
    fn apply(&mut self, event: Event) {
        match event {
            At(channel, at) => {
                let (watermark, status) = &mut self.channels[channel];
                *watermark = at.max(*watermark);
                if at == MAX {
                    *status = Finished;
                }
            }
            To(channel, status) => {
                if self.channels[channel].1 != Finished {
                    self.channels[channel].1 = status;
                }
            }
        }
        let of = |wanted: Status| {
            self.channels.iter().filter(move |(_, status)| *status == wanted).map(|(at, _)| *at)
        };
        let next = match self.status() {
            Active => of(Active).filter(|at| *at >= self.output).min(),
            Idle => of(Idle).max(),
            Finished => Some(MAX),
        };
        self.output = next.unwrap_or(self.output).max(self.output);
    }

    fn status(&self) -> Status {
        let is = |wanted: Status| self.channels.iter().any(|(_, status)| *status == wanted);
        if is(Active) {
            Active
        } else if is(Idle) {
            Idle
        } else {
            Finished
        }
    }
}

fn events(channels: usize) -> impl Strategy<Value = Vec<Event>> {
    let one = prop_oneof![
        12 => (0..channels, -20..20_i64).prop_map(|(channel, at)| At(channel, at)),
        1 => (0..channels).prop_map(|channel| At(channel, MAX)),
        8 => (0..channels, prop_oneof![Just(Active), Just(Idle)]).prop_map(|(channel, status)| To(channel, status)),
        1 => (0..channels).prop_map(|channel| To(channel, Finished)),
    ];
    proptest::collection::vec(one, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_result_follows_from_the_channels_and_from_what_was_sent(
        restored in proptest::option::of(-10..10_i64), events in events(4)
    ) {
        let mut valve = Valve::new(4);
        let start = restored.unwrap_or(i64::MIN);
        valve.restore(start);
        let mut model = Model { channels: vec![(start, Active); 4], output: start };
        let mut told = (start, Active);
        for event in events {
            let before = told;
            if let Some(change) = apply(&mut valve, event) {
                told = (change.watermark.unwrap_or(told.0), change.status.unwrap_or(told.1));
                prop_assert!(change.watermark.is_none_or(|at| at > before.0), "{:?} after {:?}", change, before);
                prop_assert!(change.status.is_none_or(|status| status != before.1), "{:?} after {:?}", change, before);
            }
            model.apply(event);
            prop_assert_eq!(told, (model.output, model.status()), "after {:?}", event);
            prop_assert_eq!(told, (valve.output(), valve.status));
        }
    }

    /// As long as no channel comes back, who says something first makes no difference.
    #[test]
    fn the_order_in_which_channels_rise_and_go_idle_makes_no_difference(
        watermarks in proptest::collection::vec(-20..20_i64, 5),
        idle in proptest::collection::vec(any::<bool>(), 5),
        order in Just((0..10_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut valve = Valve::new(5);
        for place in order {
            let channel = place % 5;
            // A channel has one watermark and then, perhaps, falls silent.
            let spoken = valve.inputs[channel].watermark > i64::MIN;
            if !spoken {
                valve.watermark(channel, watermarks[channel]);
            } else if idle[channel] {
                valve.status(channel, Idle);
            }
        }
        let of = |wanted: bool| watermarks.iter().zip(&idle).filter(move |(_, idle)| **idle == wanted).map(|(at, _)| *at);
        let expected = of(false).min().or(of(true).max());
        prop_assert_eq!(Some(valve.output()), expected);
    }
}
