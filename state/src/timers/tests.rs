use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{Additions, CodecError, SavedInstance, Section, SliceProgress, hash_key};

const KIND: SectionKind = SectionKind::EventTimers;

fn groups(count: u16) -> KeyGroups {
    KeyGroups::new(count).expect("the tests use at least one group")
}

fn queue(count: u16) -> TimerQueue<u32> {
    TimerQueue::new(KIND, groups(count))
}

fn register(queue: &mut TimerQueue<u32>, at: i64, key: u32) -> bool {
    queue.register(at, hash_key(&key), &key)
}

fn drain(queue: &mut TimerQueue<u32>) -> Vec<(i64, u32)> {
    std::iter::from_fn(|| queue.pop_due(i64::MAX)).map(|(at, _, key)| (at, key)).collect()
}

fn finish(queue: &mut TimerQueue<u32>, slice: usize) -> Vec<Section> {
    while queue.snapshot_slice(slice).unwrap() == SliceProgress::More {}
    queue.take_sections()
}

fn begin(queue: &mut TimerQueue<u32>) {
    assert_eq!(queue.begin_snapshot(1, true), None);
}

fn restored(count: u16, sections: &[Section]) -> TimerQueue<u32> {
    let mut restored = queue(count);
    restored.restore(&[SavedInstance::from(sections.to_vec())], |_, _| true).unwrap();
    restored
}

/// From a snapshot of everything and what was added to it.
fn layered(count: u16, layers: &[Vec<Section>]) -> (TimerQueue<u32>, SavedInstance) {
    let mut saved = SavedInstance::from(layers[0].clone());
    saved.changes = layers[1..].to_vec();
    let mut restored = queue(count);
    restored.restore(std::slice::from_ref(&saved), |_, _| true).unwrap();
    (restored, saved)
}

#[derive(Clone, Debug)]
enum Step {
    Register(i64, u32),
    Delete(i64, u32),
    PopDue(i64),
    /// Of everything, or not.
    Begin(bool),
    Slice(usize),
    Take,
    Abort,
    /// The checkpoint of the snapshot that was finished last is complete.
    Complete,
}

fn step() -> impl Strategy<Value = Step> {
    let timer = || (-20..20_i64, 0..20_u32);
    prop_oneof![
        40 => timer().prop_map(|(at, key)| Step::Register(at, key)),
        20 => timer().prop_map(|(at, key)| Step::Delete(at, key)),
        15 => (-25..25_i64).prop_map(Step::PopDue),
        4 => proptest::bool::weighted(0.1).prop_map(Step::Begin),
        12 => (0..20_usize).prop_map(Step::Slice),
        3 => Just(Step::Take),
        1 => Just(Step::Abort),
        4 => Just(Step::Complete),
    ]
}

/// Timestamp, group and sequence to key: sorted as timers fire.
type Model = BTreeMap<(i64, u16, u64), u32>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn timers_are_a_set_in_firing_order_and_a_snapshot_shows_the_moment_it_began(
        count in 1_u16..6, steps in proptest::collection::vec(step(), 0..400)
    ) {
        let mut queue = queue(count);
        queue.always_save_changes();
        let mut model = Model::new();
        let mut sequence = 0;
        let mut running: Option<Model> = None;
        let mut sections = Vec::new();
        // What the newest complete checkpoint consists of, and what the one that is being made will.
        let (mut complete, mut making) = ((0, Vec::new()), (0, Vec::new()));
        let mut finished = None;
        for step in steps.into_iter().chain([Step::Begin(false), Step::Slice(usize::MAX), Step::Take]) {
            match step {
                Step::Register(at, key) => {
                    let known = model.iter().any(|(timer, known)| timer.0 == at && *known == key);
                    prop_assert_eq!(register(&mut queue, at, key), !known);
                    if !known {
                        model.insert((at, groups(count).group_of(hash_key(&key)), sequence), key);
                        sequence += 1;
                    }
                }
                Step::Delete(at, key) => {
                    let before = model.len();
                    model.retain(|timer, known| timer.0 != at || *known != key);
                    prop_assert_eq!(queue.delete(at, hash_key(&key), &key), model.len() < before);
                }
                Step::PopDue(now) => {
                    let expected = model.first_entry().filter(|first| first.key().0 <= now).map(|first| {
                        let ((at, _, _), key) = first.remove_entry();
                        (at, hash_key(&key), key)
                    });
                    prop_assert_eq!(queue.pop_due(now), expected);
                }
                Step::Begin(all) => {
                    let checkpoint = making.0 + 1;
                    let base = queue.begin_snapshot(checkpoint, all || queue.additions().is_none());
                    let expected = (complete.0 > 0 && !all).then_some(complete.0);
                    prop_assert_eq!(base, expected);
                    making = (checkpoint, if base.is_some() { complete.1.clone() } else { Vec::new() });
                    running = Some(model.clone());
                    sections.clear();
                    finished = None;
                }
                Step::Slice(timers) => {
                    if queue.snapshot_slice(timers).unwrap() == SliceProgress::Done {
                        sections.extend(queue.take_sections());
                        if let Some(expected) = running.take() {
                            making.1.push(std::mem::take(&mut sections));
                            let (mut restored, saved) = layered(count, &making.1);
                            let due = |((at, group, sequence), _): (&(i64, u16, u64), _)| (*at, *group, *sequence);
                            let found = saved_timers(&saved, KIND).unwrap();
                            let found: Vec<_> = found.iter().map(|saved| (saved.at, saved.group, saved.sequence)).collect();
                            prop_assert_eq!(found, expected.iter().map(due).collect::<Vec<_>>());
                            let expected: Vec<_> = expected.iter().map(|(timer, key)| (timer.0, *key)).collect();
                            prop_assert_eq!(drain(&mut restored), expected);
                            finished = Some(making.clone());
                        }
                    } else {
                        prop_assert!(running.is_some());
                    }
                }
                Step::Complete => {
                    if let Some(finished) = finished.take() {
                        queue.complete(finished.0);
                        complete = finished;
                    }
                }
                Step::Take => sections.extend(queue.take_sections()),
                Step::Abort => {
                    queue.abort_snapshot();
                    running = None;
                    prop_assert_eq!(queue.take_sections(), vec![]);
                }
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.is_empty(), model.is_empty());
            prop_assert_eq!(queue.next_at(), model.first_key_value().map(|(timer, _)| timer.0));
        }
        prop_assert_eq!(running, None);
    }
}

#[test]
fn a_timer_that_is_registered_twice_fires_once() {
    let mut queue = queue(128);
    assert!(register(&mut queue, 5, 1));
    assert!(!register(&mut queue, 5, 1));
    assert!(register(&mut queue, 6, 1));
    assert!(register(&mut queue, 5, 2));
    assert_eq!(drain(&mut queue).len(), 3);
}

#[test]
fn a_timer_may_be_registered_again_while_it_fires() {
    let mut queue = queue(128);
    register(&mut queue, 5, 1);
    assert_eq!(queue.pop_due(5), Some((5, hash_key(&1_u32), 1)));
    assert!(register(&mut queue, 5, 1));
    assert_eq!(queue.pop_due(5), Some((5, hash_key(&1_u32), 1)));
    assert_eq!(queue.pop_due(5), None);
}

#[test]
fn nothing_fires_before_its_time() {
    let mut queue = queue(128);
    for at in [i64::MIN, -1, 0, 1, i64::MAX] {
        register(&mut queue, at, 1);
    }
    assert_eq!(queue.pop_due(i64::MIN).map(|timer| timer.0), Some(i64::MIN));
    assert_eq!(queue.pop_due(-2), None);
    assert_eq!(queue.pop_due(0).map(|timer| timer.0), Some(-1));
    assert_eq!(queue.pop_due(0).map(|timer| timer.0), Some(0));
    assert_eq!(queue.pop_due(0), None);
    assert_eq!(queue.next_at(), Some(1));
}

#[test]
fn timers_of_one_group_and_time_fire_as_registered_also_after_two_restores() {
    let keys: Vec<u32> = (0..300).rev().collect();
    let mut first = queue(1);
    keys[..200].iter().for_each(|&key| assert!(register(&mut first, 7, key)));
    begin(&mut first);
    // Timers that are written early because they are removed keep their place in the order.
    assert!((150..250).all(|key| first.delete(7, hash_key(&key), &key)));
    let mut second = restored(1, &finish(&mut first, 10));
    keys[200..].iter().for_each(|&key| assert!(register(&mut second, 7, key)));
    begin(&mut second);
    let mut third = restored(1, &finish(&mut second, 3));
    assert_eq!(drain(&mut third), keys.iter().map(|&key| (7, key)).collect::<Vec<_>>());
}

#[test]
fn timers_of_several_instances_can_be_restored_into_one() {
    let key_groups = KeyGroups::DEFAULT;
    let mut expected = Vec::new();
    let mut saved = Vec::new();
    for instance in 0..3 {
        let mut queue = queue(128);
        for key in 0..500_u32 {
            let group = key_groups.group_of(hash_key(&key));
            if key_groups.instance_of(group, 3) == instance {
                register(&mut queue, i64::from(key % 10), key);
                expected.push((i64::from(key % 10), group, key));
            }
        }
        begin(&mut queue);
        saved.push(SavedInstance::from(finish(&mut queue, 50)));
    }
    let mut merged = queue(128);
    merged.restore(&saved, |_, _| true).unwrap();
    expected.sort_unstable();
    assert_eq!(drain(&mut merged), expected.into_iter().map(|(at, _, key)| (at, key)).collect::<Vec<_>>());
}

#[test]
fn keys_whose_hashes_collide_are_still_told_apart() {
    #[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
    struct Colliding(u32);
    impl std::hash::Hash for Colliding {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }
    let mut queue = TimerQueue::new(KIND, KeyGroups::DEFAULT);
    let hash = hash_key(&Colliding(0));
    for key in 0..20 {
        assert!(queue.register(1, hash, &Colliding(key)));
        assert!(!queue.register(1, hash, &Colliding(key)));
    }
    assert!(queue.delete(1, hash, &Colliding(7)));
    assert!(!queue.delete(1, hash, &Colliding(7)));
    let fired: Vec<u32> = std::iter::from_fn(|| queue.pop_due(1)).map(|(_, _, key)| key.0).collect();
    assert_eq!(fired, (0..20).filter(|key| *key != 7).collect::<Vec<_>>());
}

#[test]
fn a_section_that_is_not_what_it_says_is_refused() {
    let mut queue_of_one = queue(4);
    register(&mut queue_of_one, 3, 5);
    begin(&mut queue_of_one);
    let section = finish(&mut queue_of_one, 1).remove(0);
    let other = (section.group + 1) % 4;
    let restore = |sections: &[Section]| {
        queue(4).restore(&[SavedInstance::from(sections.to_vec())], |_, _| true).unwrap_err()
    };

    let wrong_group = restore(&[Section { group: other, ..section.clone() }]);
    assert!(matches!(wrong_group, CodecError::WrongGroup { .. }), "{wrong_group}");
    let no_group = restore(&[Section { group: 4, ..section.clone() }]);
    assert!(matches!(no_group, CodecError::GroupNotOwned { group: 4 }), "{no_group}");
    let trailing = restore(&[Section { entries: 0, ..section.clone() }]);
    assert!(matches!(trailing, CodecError::Trailing { .. }), "{trailing}");
    let twice = restore(&[section.clone(), section]);
    assert!(matches!(twice, CodecError::Duplicate { .. }), "{twice}");
}

#[test]
fn a_snapshot_follows_what_changes_and_not_how_many_timers_there_are() {
    let mut queue = queue(128);
    (0..100_000).for_each(|key| assert!(register(&mut queue, i64::from(key), key)));
    let bytes = |queue: &mut TimerQueue<u32>, checkpoint| {
        queue.begin_snapshot(checkpoint, Additions::are_enough([queue.additions()]));
        let sections = finish(queue, 1_000);
        queue.complete(checkpoint);
        sections.iter().map(|section| section.bytes.len()).sum::<usize>()
    };
    let everything = bytes(&mut queue, 1);
    for checkpoint in 2..10 {
        for _ in 0..100 {
            let (at, hash, key) = queue.pop_due(i64::MAX).unwrap();
            assert!(queue.register(at + 1_000_000, hash, &key));
        }
        let changes = bytes(&mut queue, checkpoint);
        assert!(changes * 300 < everything, "{changes} of {everything}");
    }
}

#[test]
fn when_almost_all_timers_are_gone_the_next_snapshot_holds_those_that_are_left() {
    let mut queue = queue(128);
    (0..1_100_000).for_each(|key| assert!(register(&mut queue, i64::from(key), key)));
    begin(&mut queue);
    finish(&mut queue, usize::MAX);
    queue.complete(1);
    while queue.pop_due(1_000_000).is_some() {}
    assert!(queue.additions().is_some());
    while queue.pop_due(1_099_990).is_some() {}
    assert!(queue.additions().is_none());
    assert_eq!(queue.begin_snapshot(2, false), None);
    assert_eq!(drain(&mut restored(128, &finish(&mut queue, usize::MAX))).len(), 9);
}

#[test]
fn a_snapshot_with_a_timer_whose_key_hashes_differently_now_is_given_up() {
    let mut queue = queue(128);
    assert!(queue.register(1, hash_key(&2_u32), &1_u32));
    begin(&mut queue);
    let error = queue.snapshot_slice(10).unwrap_err();
    assert!(matches!(error, CodecError::UnstableKey { .. }), "{error}");
    assert_eq!(queue.take_sections(), vec![]);
}
