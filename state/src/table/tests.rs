use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

type Counts = MemoryTable<u32, u64>;

fn groups(count: u16) -> KeyGroups {
    KeyGroups::new(count).expect("the tests use at least one group")
}

fn table(count: u16) -> Counts {
    MemoryTable::new(groups(count), 0..count)
}

fn set(table: &mut Counts, key: u32, value: u64) {
    *table.entry(hash_key(&key), key).1 = value;
}

fn contents(table: &Counts) -> BTreeMap<u32, u64> {
    table.iter().map(|(key, state)| (*key, *state)).collect()
}

fn finish(table: &mut Counts, slice: usize) -> Vec<Section> {
    while table.snapshot_slice(slice).unwrap() == SliceProgress::More {}
    table.take_sections()
}

fn restored(count: u16, sections: &[Section]) -> Counts {
    let mut restored = table(count);
    for section in sections {
        restored.restore(section).unwrap();
    }
    restored
}

#[derive(Clone, Debug)]
enum Step {
    Set(u32, u64),
    SetIfThere(u32, u64),
    Remove(u32),
    Begin,
    Slice(usize),
    Take,
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..400_u32;
    prop_oneof![
        40 => (key(), any::<u64>()).prop_map(|(key, value)| Step::Set(key, value)),
        10 => (key(), any::<u64>()).prop_map(|(key, value)| Step::SetIfThere(key, value)),
        30 => key().prop_map(Step::Remove),
        2 => Just(Step::Begin),
        12 => (0..40_usize).prop_map(Step::Slice),
        3 => Just(Step::Take),
        1 => Just(Step::Abort),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Few groups make tables grow, cluster and shrink while a snapshot is under way.
    #[test]
    fn a_table_is_a_map_and_its_snapshot_shows_the_moment_it_began(
        count in 1_u16..5, prefill in 0..300_u32, steps in proptest::collection::vec(step(), 0..600)
    ) {
        let mut table = table(count);
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        for key in 0..prefill {
            set(&mut table, key, 0);
            model.insert(key, 0);
        }
        let mut running: Option<BTreeMap<u32, u64>> = None;
        let mut sections = Vec::new();
        for step in steps.into_iter().chain([Step::Begin, Step::Slice(usize::MAX), Step::Take]) {
            match step {
                Step::Set(key, value) => {
                    let (stored, state) = table.entry(hash_key(&key), key);
                    prop_assert_eq!(*stored, key);
                    prop_assert_eq!(*state, model.get(&key).copied().unwrap_or_default());
                    *state = value;
                    model.insert(key, value);
                }
                Step::SetIfThere(key, value) => {
                    let state = table.get_mut(hash_key(&key), &key);
                    prop_assert_eq!(state.is_some(), model.contains_key(&key));
                    if let Some(state) = state {
                        *state = value;
                        model.insert(key, value);
                    }
                }
                Step::Remove(key) => prop_assert_eq!(table.remove(hash_key(&key), &key), model.remove(&key)),
                Step::Begin => {
                    table.begin_snapshot();
                    running = Some(model.clone());
                    sections.clear();
                }
                Step::Slice(slots) => {
                    if table.snapshot_slice(slots).unwrap() == SliceProgress::Done {
                        sections.extend(table.take_sections());
                        if let Some(expected) = running.take() {
                            prop_assert_eq!(&contents(&restored(count, &sections)), &expected);
                        }
                    } else {
                        prop_assert!(running.is_some());
                    }
                }
                Step::Take => sections.extend(table.take_sections()),
                Step::Abort => {
                    table.abort_snapshot();
                    running = None;
                    prop_assert_eq!(table.take_sections(), vec![]);
                }
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert_eq!(table.is_empty(), model.is_empty());
        }
        prop_assert_eq!(running, None);
        prop_assert_eq!(&contents(&table), &model);
        for key in 0..400 {
            prop_assert_eq!(table.get(hash_key(&key), &key), model.get(&key));
        }
    }
}

#[test]
fn each_snapshot_holds_everything_and_not_only_what_changed() {
    let mut table = table(8);
    for round in 0..5 {
        set(&mut table, 7, round);
        for key in 0..100 {
            set(&mut table, key + 1_000, 1);
        }
        table.begin_snapshot();
        let sections = finish(&mut table, 16);
        assert_eq!(sections.iter().map(|section| section.entries).sum::<u32>(), 101);
        assert_eq!(contents(&restored(8, &sections)), contents(&table));
    }
}

#[test]
fn an_aborted_snapshot_does_not_hide_entries_from_the_next_one() {
    let mut table = table(4);
    (0..500).for_each(|key| set(&mut table, key, 1));
    table.begin_snapshot();
    table.snapshot_slice(300).unwrap();
    table.abort_snapshot();
    (200..300).for_each(|key| set(&mut table, key, 2));
    table.begin_snapshot();
    assert_eq!(contents(&restored(4, &finish(&mut table, 10))), contents(&table));
}

#[test]
fn a_slice_visits_no_more_slots_than_asked_for() {
    let mut table = table(1);
    (0..10_000).for_each(|key| set(&mut table, key, 1));
    table.begin_snapshot();
    table.snapshot_slice(100).unwrap();
    table.entries.iter().for_each(|entry| assert!(entry.epoch <= table.epoch));
    let written = table.entries.iter().filter(|entry| entry.epoch == table.epoch).count();
    // On to the next vacant slot.
    assert!((1..=200).contains(&written), "{written}");
}

#[test]
fn large_states_make_slices_shorter_and_sections_end_soon_after_their_limit() {
    let mut table: MemoryTable<u32, String> = MemoryTable::new(groups(1), 0..1);
    for key in 0..500_u32 {
        *table.entry(hash_key(&key), key).1 = "x".repeat(2_000);
    }
    table.begin_snapshot();
    let mut slices = 1;
    let mut sections = Vec::new();
    while table.snapshot_slice(2_000).unwrap() == SliceProgress::More {
        slices += 1;
        sections.extend(table.take_sections());
    }
    assert!(!sections.is_empty(), "large sections are available before the end");
    sections.extend(table.take_sections());
    assert!(slices >= 4, "{slices}");
    assert!(sections.len() > 1);
    assert!(sections.iter().all(|section| section.bytes.len() < 256 * 1024));
    assert_eq!(sections.iter().map(|section| section.entries).sum::<u32>(), 500);
}

#[test]
fn without_a_snapshot_a_slice_is_done_at_once() {
    let mut table = table(2);
    set(&mut table, 1, 1);
    assert_eq!(table.snapshot_slice(10).unwrap(), SliceProgress::Done);
    assert_eq!(table.take_sections(), []);
}

#[test]
fn a_snapshot_of_nothing_has_no_sections() {
    let mut table = table(128);
    table.begin_snapshot();
    assert_eq!(finish(&mut table, 1), []);
}

#[test]
fn state_moves_between_instances_when_the_parallelism_changes() {
    let key_groups = KeyGroups::DEFAULT;
    let mut sections = Vec::new();
    for instance in 0..3 {
        let mut table: Counts = MemoryTable::new(key_groups, key_groups.range(instance, 3));
        for key in 0..1_000 {
            if key_groups.instance_of(key_groups.group_of(hash_key(&key)), 3) == instance {
                set(&mut table, key, u64::from(key) * 2);
            }
        }
        table.begin_snapshot();
        sections.extend(finish(&mut table, 100));
    }
    let mut all = BTreeMap::new();
    for instance in 0..5 {
        let mine = key_groups.range(instance, 5);
        let mut table: Counts = MemoryTable::new(key_groups, mine.clone());
        for section in sections.iter().filter(|section| mine.contains(&section.group)) {
            table.restore(section).unwrap();
        }
        all.extend(contents(&table));
    }
    assert_eq!(all, (0..1_000).map(|key| (key, u64::from(key) * 2)).collect());
}

#[derive(Clone, Default, Debug, Deserialize)]
struct Fragile {
    broken: bool,
}

impl Serialize for Fragile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.broken { Err(serde::ser::Error::custom("broken")) } else { serializer.serialize_unit() }
    }
}

#[test]
fn a_state_that_cannot_be_encoded_when_it_changes_fails_the_next_slice_and_ends_the_snapshot() {
    let mut table: MemoryTable<u32, Fragile> = MemoryTable::new(groups(2), 0..2);
    for key in 0..50_u32 {
        table.entry(hash_key(&key), key).1.broken = key == 20;
    }
    table.begin_snapshot();
    table.entry(hash_key(&20_u32), 20).1.broken = false;
    assert!(matches!(table.snapshot_slice(1), Err(CodecError::Encode { .. })));
    assert_eq!(table.snapshot_slice(1).unwrap(), SliceProgress::Done);
    assert_eq!(table.take_sections(), []);
    table.begin_snapshot();
    assert_eq!(table.snapshot_slice(1_000).unwrap(), SliceProgress::Done);
}

fn one_section(key: u32) -> Section {
    let mut table = table(4);
    set(&mut table, key, 9);
    table.begin_snapshot();
    finish(&mut table, 100).remove(0)
}

#[test]
fn a_section_that_is_not_what_it_says_is_refused() {
    let section = one_section(5);
    let other = (section.group + 1) % 4;
    let restore = |section: Section| table(4).restore(&section).unwrap_err();

    let wrong_kind = restore(Section { kind: SectionKind::Splits, ..section.clone() });
    assert!(matches!(wrong_kind, CodecError::WrongKind { .. }), "{wrong_kind}");
    let wrong_group = restore(Section { group: other, ..section.clone() });
    assert!(matches!(wrong_group, CodecError::WrongGroup { .. }), "{wrong_group}");
    let not_owned = restore(Section { group: 4, ..section.clone() });
    assert!(matches!(not_owned, CodecError::GroupNotOwned { group: 4 }), "{not_owned}");
    let trailing = restore(Section { entries: 0, ..section.clone() });
    assert!(matches!(trailing, CodecError::Trailing { .. }), "{trailing}");
    let missing = restore(Section { entries: 2, ..section.clone() });
    assert!(matches!(missing, CodecError::Decode { .. }), "{missing}");

    let mut twice = table(4);
    twice.restore(&section).unwrap();
    assert!(matches!(twice.restore(&section), Err(CodecError::Duplicate { .. })));
}

#[test]
fn the_order_of_iteration_is_a_function_of_the_changes() {
    let build = || {
        let mut table = table(16);
        (0..3_000).for_each(|key| set(&mut table, key * 7, u64::from(key)));
        (0..3_000)
            .step_by(3)
            .for_each(|key| assert!(table.remove(hash_key(&(key * 7)), &(key * 7)).is_some()));
        table.iter().map(|(key, _)| *key).collect::<Vec<_>>()
    };
    assert_eq!(build(), build());
}

#[test]
fn a_table_that_empties_gives_its_slots_back() {
    let mut table = table(1);
    (0..10_000).for_each(|key| set(&mut table, key, 1));
    (0..10_000).for_each(|key| assert!(table.remove(hash_key(&key), &key).is_some()));
    assert!(table.is_empty());
    assert!(table.entries.slots() <= 64, "{}", table.entries.slots());
}

#[test]
fn an_entry_of_integers_costs_no_more_than_its_fields() {
    assert_eq!(size_of::<Option<Entry<u64, u64>>>(), 24);
}

#[derive(Debug)]
struct Pinned {
    tag: u32,
    id: u32,
}

impl Tagged for Pinned {
    fn tag(&self) -> u32 {
        self.tag
    }
}

proptest! {
    /// Tags from a small range pile up in clusters at the end of the slots, while tables grow and shrink.
    #[test]
    fn clustered_slots_find_and_remove_every_entry(
        steps in proptest::collection::vec((any::<bool>(), 0..120_u32), 0..500), spread in 1..9_u32, far in any::<bool>()
    ) {
        let mut table: OrderedTable<Pinned> = OrderedTable::default();
        let mut model = BTreeMap::new();
        for (insert, id) in steps {
            let tag = if far { id.wrapping_mul(0x9E37_79B9) } else { u32::MAX - id / spread };
            match (insert, table.find(tag, |entry| entry.id == id)) {
                (_, Ok(slot)) if !insert => {
                    prop_assert_eq!(table.remove(slot).id, id);
                    model.remove(&id);
                }
                (true, Err(_)) => {
                    let slot = table.insert(Pinned { tag, id });
                    prop_assert_eq!(table.at(slot).id, id);
                    model.insert(id, tag);
                }
                (_, found) => prop_assert_eq!(found.is_ok(), model.contains_key(&id)),
            }
            for (&id, &tag) in &model {
                prop_assert!(table.find(tag, |entry| entry.id == id).is_ok());
            }
        }
        prop_assert_eq!(table.iter().count(), model.len());
    }

    /// Whatever moves between two visits, nothing that was there from the beginning is left out.
    #[test]
    fn a_visit_in_pieces_shows_all_that_was_there_throughout(
        before in 1..2_000_u32, changes in proptest::collection::vec((any::<bool>(), 0..4_000_u32, 1..200_usize), 0..300)
    ) {
        let tag = |id: u32| id.wrapping_mul(0x9E37_79B9);
        let mut table: OrderedTable<Pinned> = OrderedTable::default();
        let mut there: BTreeSet<u32> = (0..before).collect();
        for &id in &there {
            table.insert(Pinned { tag: tag(id), id });
        }
        let (mut throughout, mut shown, mut from) = (there.clone(), BTreeSet::new(), 0);
        let visit = |table: &mut OrderedTable<Pinned>, from: u64, mut budget: usize, shown: &mut BTreeSet<u32>| {
            table.visit(from, |entry| {
                shown.extend(entry.map(|entry| entry.id));
                budget = budget.saturating_sub(1);
                budget > 0
            })
        };
        for (insert, id, budget) in changes {
            match (insert, table.find(tag(id), |entry| entry.id == id)) {
                (true, Err(_)) => { table.insert(Pinned { tag: tag(id), id }); there.insert(id); }
                (false, Ok(slot)) => { table.remove(slot); there.remove(&id); throughout.remove(&id); }
                _ => {}
            }
            if budget > 100 {
                from = visit(&mut table, from, budget, &mut shown);
            }
        }
        while from < TAGS {
            from = visit(&mut table, from, 100, &mut shown);
        }
        prop_assert!(throughout.is_subset(&shown));
        prop_assert_eq!(table.iter().map(|entry| entry.id).collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn tags_keep_the_order_of_hashes_and_use_the_whole_range(
        count in 1..u16::MAX, instance in 0..40_usize, more in 0..40_usize, one: u64, other: u64
    ) {
        let groups = groups(count);
        let owned = groups.range(instance, instance + 1 + more);
        let span = Span::new(groups, &owned);
        for hash in [one, other] {
            prop_assert_eq!(span.contains(hash), owned.contains(&groups.group_of(hash)));
        }
        if span.contains(one) && span.contains(other) {
            prop_assert_eq!(one.min(other) == one, span.tag(one) < span.tag(other) || span.tag(one) == span.tag(other) && one <= other);
            let group = groups.group_of(one);
            prop_assert!(u64::from(span.tag(one)) >= span.first_tag(groups, group));
            prop_assert!(u64::from(span.tag(one)) <= span.first_tag(groups, group + 1));
        }
        if !owned.is_empty() {
            prop_assert!(span.tag(groups.first_hash(owned.start) as u64) == 0);
            prop_assert!(span.tag((groups.first_hash(owned.end) - 1) as u64) > u32::MAX - 4);
        }
    }
}
