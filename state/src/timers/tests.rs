use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

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

fn restored(count: u16, sections: &[Section]) -> TimerQueue<u32> {
    let mut restored = queue(count);
    for section in sections {
        restored.restore(section).unwrap();
    }
    restored
}

#[derive(Clone, Debug)]
enum Step {
    Register(i64, u32),
    Delete(i64, u32),
    PopDue(i64),
    Begin,
    Slice(usize),
    Take,
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    let timer = || (-20..20_i64, 0..20_u32);
    prop_oneof![
        40 => timer().prop_map(|(at, key)| Step::Register(at, key)),
        20 => timer().prop_map(|(at, key)| Step::Delete(at, key)),
        15 => (-25..25_i64).prop_map(Step::PopDue),
        2 => Just(Step::Begin),
        12 => (0..20_usize).prop_map(Step::Slice),
        3 => Just(Step::Take),
        1 => Just(Step::Abort),
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
        let mut model = Model::new();
        let mut sequence = 0;
        let mut running: Option<Model> = None;
        let mut sections = Vec::new();
        for step in steps.into_iter().chain([Step::Begin, Step::Slice(usize::MAX), Step::Take]) {
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
                Step::Begin => {
                    queue.begin_snapshot();
                    running = Some(model.clone());
                    sections.clear();
                }
                Step::Slice(timers) => {
                    if queue.snapshot_slice(timers).unwrap() == SliceProgress::Done {
                        sections.extend(queue.take_sections());
                        if let Some(expected) = running.take() {
                            let expected: Vec<_> = expected.iter().map(|(timer, key)| (timer.0, *key)).collect();
                            prop_assert_eq!(drain(&mut restored(count, &sections)), expected);
                        }
                    } else {
                        prop_assert!(running.is_some());
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
    first.begin_snapshot();
    // Timers that are written early because they are removed keep their place in the order.
    assert!((150..250).all(|key| first.delete(7, hash_key(&key), &key)));
    let mut second = restored(1, &finish(&mut first, 10));
    keys[200..].iter().for_each(|&key| assert!(register(&mut second, 7, key)));
    second.begin_snapshot();
    let mut third = restored(1, &finish(&mut second, 3));
    assert_eq!(drain(&mut third), keys.iter().map(|&key| (7, key)).collect::<Vec<_>>());
}

#[test]
fn timers_of_several_instances_can_be_restored_into_one() {
    let key_groups = KeyGroups::DEFAULT;
    let mut expected = Vec::new();
    let mut merged = queue(128);
    for instance in 0..3 {
        let mut queue = queue(128);
        for key in 0..500_u32 {
            let group = key_groups.group_of(hash_key(&key));
            if key_groups.instance_of(group, 3) == instance {
                register(&mut queue, i64::from(key % 10), key);
                expected.push((i64::from(key % 10), group, key));
            }
        }
        queue.begin_snapshot();
        for section in finish(&mut queue, 50) {
            merged.restore(&section).unwrap();
        }
    }
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
    queue_of_one.begin_snapshot();
    let section = finish(&mut queue_of_one, 1).remove(0);
    let other = (section.group + 1) % 4;
    let restore = |section: Section| queue(4).restore(&section).unwrap_err();

    let wrong_kind = restore(Section { kind: SectionKind::ProcessingTimers, ..section.clone() });
    assert!(matches!(wrong_kind, CodecError::WrongKind { .. }), "{wrong_kind}");
    let wrong_group = restore(Section { group: other, ..section.clone() });
    assert!(matches!(wrong_group, CodecError::WrongGroup { .. }), "{wrong_group}");
    let no_group = restore(Section { group: 4, ..section.clone() });
    assert!(matches!(no_group, CodecError::GroupNotOwned { group: 4 }), "{no_group}");
    let trailing = restore(Section { entries: 0, ..section.clone() });
    assert!(matches!(trailing, CodecError::Trailing { .. }), "{trailing}");

    let mut twice = restored(4, std::slice::from_ref(&section));
    assert!(matches!(twice.restore(&section), Err(CodecError::Duplicate { .. })));
}
