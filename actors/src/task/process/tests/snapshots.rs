use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::rig::{KeyedRig, keyed, lone};
use super::*;
use crate::clock::MAX_WATERMARK;
use crate::harness::world::World;
use crate::message::Message;
use crate::task::{Control, Step, TaskEvent, TaskId};

/// Counts and timers of all keys.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    counts: BTreeMap<u32, u64>,
    timers: BTreeSet<(u32, i64)>,
}

impl Model {
    fn apply(&mut self, key: u32, what: &Do) {
        match what {
            Do::Count => *self.counts.entry(key).or_default() += 1,
            Do::Clear => *self.counts.entry(key).or_default() = 0,
            Do::Timer(at) => {
                self.timers.insert((key, *at));
            }
            Do::DeleteTimer(at) => {
                self.timers.remove(&(key, *at));
            }
            _ => unreachable!("the model knows no {what:?}"),
        }
    }

    /// What an actor remembers, as far as it can be asked.
    fn of(rig: &mut KeyedRig, keys: u32) -> Self {
        let mut model = Self::default();
        for key in 0..keys {
            let answer = rig.ask(key, Do::Count).concat();
            let (_, count) = answer.split_once(": ").unwrap();
            model.counts.insert(key, count.parse::<u64>().unwrap() - 1);
        }
        rig.watermark(MAX_WATERMARK);
        for fired in rig.records() {
            let (key, at) = fired.split_once(": timer ").unwrap();
            assert!(model.timers.insert((key.parse().unwrap(), at.parse().unwrap())), "{fired} fired twice");
        }
        model
    }
}

const KEYS: u32 = 6_000;

fn action() -> impl Strategy<Value = (u32, Do)> {
    let what = prop_oneof![
        4 => Just(Do::Count),
        3 => Just(Do::Clear),
        2 => (0..50_i64).prop_map(Do::Timer),
        1 => (0..50_i64).prop_map(Do::DeleteTimer),
    ];
    (0..KEYS, what)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_file_holds_the_state_at_the_barrier_whatever_changes_while_it_is_written(
        before in proptest::collection::vec(action(), 0..2_000),
        during in proptest::collection::vec(proptest::collection::vec(action(), 1..60), 40),
    ) {
        let mut world = World::new();
        let mut rig = keyed(&world, 0, 1, &[]);
        let mut model = Model::default();
        let all = (0..KEYS / 2).flat_map(|key| [(key, Do::Count), (key, Do::Timer(100))]);
        for (key, what) in all.chain(before) {
            model.apply(key, &what);
            rig.file([(key, what)]);
        }
        rig.records();

        world.prepare(1);
        rig.driver.send_barrier(0, 1).unwrap();
        let mut changes_during = 0;
        for changes in during {
            rig.file(changes);
            rig.driver.step().unwrap();
            if world.reports.part(TaskId(0), 1).is_none() {
                changes_during += 1;
            }
        }
        prop_assert!(changes_during > 3, "the snapshot was too quick for this test: {changes_during}");
        rig.records();

        let sections = world.read(&world.reports.part(TaskId(0), 1).unwrap());
        world.power_cut();
        let mut restored = keyed(&world, 0, 1, &[sections]);
        (0..KEYS).for_each(|key| { model.counts.entry(key).or_default(); });
        prop_assert!(Model::of(&mut restored, KEYS) == model, "the file holds another state than there was at the barrier");
    }
}

/// Enough keys for a snapshot of several slices.
fn with_many_keys(world: &World) -> KeyedRig {
    let mut rig = keyed(world, 0, 1, &[]);
    rig.file((0..KEYS).map(|key| (key, Do::Count)));
    rig.records();
    rig
}

#[test]
fn a_snapshot_that_is_given_up_halfway_does_not_harm_the_next_one() {
    let mut world = World::new();
    let mut rig = with_many_keys(&world);
    world.prepare(1);
    rig.driver.send_barrier(0, 1).unwrap();
    rig.driver.step().unwrap();
    rig.driver.control(Control::Abort(1)).unwrap();
    rig.file((0..KEYS).map(|key| (key, Do::Count)));
    rig.records();
    assert_eq!(world.reports.of(TaskId(0)), [TaskEvent::Ready]);

    let sections = rig.driver.snapshot(&world, 2).unwrap();
    world.power_cut();
    let mut rig = keyed(&world, 0, 1, &[sections]);
    assert_eq!(rig.ask(0, Do::Count), ["0: 3"]);
    assert_eq!(rig.ask(KEYS - 1, Do::Count), [format!("{}: 3", KEYS - 1)]);
}

#[test]
fn a_snapshot_that_is_given_up_leaves_no_file() {
    let world = World::new();
    let mut rig = keyed(&world, 0, 1, &[]);
    rig.file((0..30_000).map(|key| (key, Do::Count)));
    rig.records();
    world.prepare(1);
    rig.driver.send_barrier(0, 1).unwrap();
    while world.files(1).is_empty() {
        assert_eq!(rig.driver.step().unwrap(), Step::Ready);
    }
    assert_eq!(world.files(1), ["script-0-r1.part.tmp"]);
    rig.driver.control(Control::Abort(1)).unwrap();
    rig.records();
    assert!(world.files(1).is_empty());
}

#[test]
fn a_barrier_that_comes_while_a_snapshot_is_written_replaces_it() {
    let world = World::new();
    let mut rig = with_many_keys(&world);
    world.prepare(1);
    world.prepare(2);
    rig.driver.send_barrier(0, 1).unwrap();
    rig.driver.step().unwrap();
    rig.driver.send_barrier(0, 2).unwrap();
    rig.records();
    assert!(world.reports.part(TaskId(0), 1).is_none());
    let entries: u32 = world
        .read(&world.reports.part(TaskId(0), 2).unwrap())
        .iter()
        .filter(|section| section.kind == SectionKind::KeyedState)
        .map(|section| section.entries)
        .sum();
    assert_eq!(entries, KEYS);
}

#[test]
fn a_snapshot_that_a_full_disk_refuses_is_declined_and_the_actor_goes_on() {
    let world = World::new();
    let mut rig = keyed(&world, 0, 1, &[]);
    world.disk().full_during(1..100);
    rig.driver.send_barrier(0, 1).unwrap();
    assert_eq!(rig.ask(1, Do::Count), ["1: 1"]);
    let events = world.reports.of(TaskId(0));
    assert!(
        matches!(&events[..], [TaskEvent::Ready, TaskEvent::Declined { checkpoint: 1, .. }]),
        "{events:?}"
    );
}

#[test]
fn timers_of_processing_time_that_are_overdue_after_a_restart_fire_at_once() {
    let mut world = World::new();
    let mut rig = keyed(&world, 0, 1, &[]);
    rig.ask(1, Do::ProcessingTimer(50));
    rig.ask(2, Do::ProcessingTimer(40));
    rig.ask(3, Do::ProcessingTimer(90_000));
    let sections = rig.driver.snapshot(&world, 1).unwrap();
    world.power_cut();
    world.clock.advance(Duration::from_mins(1));
    let mut rig = keyed(&world, 0, 1, &[sections]);
    assert_eq!(rig.records(), ["2: timer 40 at 60000 ms", "1: timer 50 at 60000 ms"]);
    rig.driver.advance(30_000_000_000).unwrap();
    assert_eq!(rig.records(), ["3: timer 90000 at 90000 ms"]);
}

#[test]
fn after_the_end_of_the_input_the_snapshot_holds_the_highest_real_watermark() {
    let mut world = World::new();
    let mut rig = lone(&world, 0, 1, &[]).unwrap();
    rig.watermark(70);
    rig.watermark(MAX_WATERMARK);
    rig.driver.send(0, Message::End).unwrap();
    let sections = rig.driver.snapshot(&world, 1).unwrap();
    world.power_cut();
    let mut rig = lone(&world, 0, 1, &[sections]).unwrap();
    assert_eq!(rig.ask(Do::Watermark), ["watermark 70"]);
}
