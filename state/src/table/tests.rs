use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::database::testing::MapDatabase;
use crate::database::{Database, WriteBuffer};
use crate::table::ordered::TAGS;
use crate::{DatabaseCopy, SliceProgress, StoreError, hash_key};

type Counts = KeyedTable<u32, u64>;

fn groups(count: u16) -> KeyGroups {
    KeyGroups::new(count).expect("the tests use at least one group")
}

fn table(count: u16) -> Counts {
    KeyedTable::new(groups(count), 0..count)
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

#[derive(Clone, Copy, Debug)]
enum Step {
    Set(u32, u64),
    SetIfThere(u32, u64),
    Get(u32),
    Remove(u32),
    Begin,
    Copy,
    Slice(usize),
    Take,
    Abort,
    Complete,
    WriteBack(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..400_u32;
    prop_oneof![
        40 => (key(), any::<u64>()).prop_map(|(key, value)| Step::Set(key, value)),
        10 => (key(), any::<u64>()).prop_map(|(key, value)| Step::SetIfThere(key, value)),
        10 => key().prop_map(Step::Get),
        30 => key().prop_map(Step::Remove),
        2 => Just(Step::Begin),
        6 => Just(Step::Copy),
        12 => (0..40_usize).prop_map(Step::Slice),
        3 => Just(Step::Take),
        1 => Just(Step::Abort),
        4 => Just(Step::Complete),
        4 => (1..200_usize).prop_map(Step::WriteBack),
    ]
}

/// A table, the map that it has to be, and what has been saved of it.
struct Bench {
    count: u16,
    table: Counts,
    below: Option<Below>,
    model: BTreeMap<u32, u64>,
    /// The snapshot that is being made.
    running: Option<Saving>,
    /// Made, and not known to be part of a complete checkpoint.
    made: Option<Saved>,
    /// Of the newest complete checkpoint.
    complete: Option<Saved>,
    next: u64,
}

type OpenCopy = Arc<dyn Fn(&Path) -> Arc<dyn Database>>;

/// A database below a table, and how another is made of a copy of it.
#[derive(Clone)]
struct Below {
    database: Arc<dyn Database>,
    open_copy: OpenCopy,
}

impl Below {
    fn map() -> Self {
        let database = Arc::<MapDatabase>::default();
        let copied = Arc::clone(&database);
        Self { database, open_copy: Arc::new(move |copy| Arc::new(copied.open_copy(copy))) }
    }

    #[cfg(feature = "rocksdb")]
    fn rocks(folder: &Path, count: u16) -> Self {
        use crate::rocks::{RocksDatabase, RocksDb};

        let config = RocksDb::new().memory_bytes(0).deterministic();
        let database = RocksDatabase::open(&folder.join("first"), &config, &(0..count), vec![]).unwrap();
        let (folder, made) = (folder.to_owned(), std::sync::atomic::AtomicU32::new(0));
        let open_copy = move |copy: &Path| -> Arc<dyn Database> {
            let made = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let folder = folder.join(format!("copy-{made}"));
            let copies = vec![copy.to_owned()];
            Arc::new(RocksDatabase::open(&folder, &config, &(0..count), copies).unwrap())
        };
        Self { database: Arc::new(database), open_copy: Arc::new(open_copy) }
    }
}

struct Saving {
    checkpoint: u64,
    begun: SnapshotBegun,
    copy: Option<PathBuf>,
    expected: BTreeMap<u32, u64>,
    sections: Vec<Section>,
}

#[derive(Clone)]
struct Saved {
    checkpoint: u64,
    layers: Vec<Vec<Section>>,
}

impl Bench {
    /// With `limit` entries in memory, or all.
    fn new(count: u16, limit: Option<usize>) -> Self {
        match limit {
            Some(limit) => Self::over(count, limit, Below::map()),
            None => Self::with(count, table(count), None),
        }
    }

    fn over(count: u16, limit: usize, below: Below) -> Self {
        Self::with(count, over(count, Arc::clone(&below.database), limit), Some(below))
    }

    fn with(count: u16, table: Counts, below: Option<Below>) -> Self {
        let model = BTreeMap::new();
        Self { count, table, below, model, running: None, made: None, complete: None, next: 0 }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Set(key, value) => {
                let births = self.table.births();
                let (stored, state) = self.table.entry(hash_key(&key), key);
                assert_eq!(*stored, key);
                assert_eq!(*state, self.model.get(&key).copied().unwrap_or_default());
                *state = value;
                let born = self.model.insert(key, value).is_none();
                assert_eq!(self.table.births() - births, u64::from(born));
            }
            Step::SetIfThere(key, value) => {
                let state = self.table.get_mut(hash_key(&key), &key);
                assert_eq!(state.is_some(), self.model.contains_key(&key));
                if let Some(state) = state {
                    *state = value;
                    self.model.insert(key, value);
                }
            }
            Step::Get(key) => assert_eq!(self.table.get(hash_key(&key), &key), self.model.get(&key)),
            Step::Remove(key) => assert_eq!(self.table.remove(hash_key(&key), &key), self.model.remove(&key)),
            Step::Begin => {
                self.next += 1;
                let begun = self.table.begin_snapshot(self.next);
                let (checkpoint, expected) = (self.next, self.model.clone());
                // What was not completed by now never will be.
                self.made = None;
                self.running = Some(Saving { checkpoint, begun, copy: None, expected, sections: Vec::new() });
            }
            Step::Copy => self.copy(),
            Step::Slice(slots) => {
                let done = self.table.snapshot_slice(slots).unwrap() == SliceProgress::Done;
                self.take();
                match self.running.take() {
                    Some(running) if done => self.finish(running),
                    running => {
                        assert!(done || running.is_some());
                        self.running = running;
                    }
                }
            }
            Step::Take => self.take(),
            Step::Abort => {
                self.table.abort_snapshot();
                self.running = None;
                assert_eq!(self.table.take_sections(), vec![]);
            }
            Step::Complete => {
                if let Some(made) = self.made.take() {
                    self.table.complete(made.checkpoint);
                    self.complete = Some(made);
                }
            }
            Step::WriteBack(slots) => {
                self.table.write_back(slots);
            }
        }
    }

    /// Makes the copy of the database for the running snapshot, if that is still to be made.
    fn copy(&mut self) {
        if let Some(running) = &mut self.running
            && let Some(link) = running.begun.link.take()
        {
            running.copy = Some(link.make());
        }
    }

    fn take(&mut self) {
        let sections = self.table.take_sections();
        if let Some(running) = &mut self.running {
            running.sections.extend(sections);
        }
    }

    /// All is written: what can be restored is what there was when it began.
    fn finish(&mut self, running: Saving) {
        self.running = Some(running);
        self.copy();
        let Some(Saving { checkpoint, begun, copy, expected, sections }) = self.running.take() else {
            return;
        };
        let mut layers = match (begun.base, &self.complete) {
            (Some(base), Some(complete)) => {
                assert_eq!(base, complete.checkpoint);
                complete.layers.clone()
            }
            (base, _) => {
                assert_eq!(base, None);
                Vec::new()
            }
        };
        layers.push(sections);
        let mut restored = table(self.count);
        if let (Some(copy), Some(below)) = (copy, &self.below) {
            restored = over(self.count, (below.open_copy)(&copy), 1_000);
            for layer in &layers {
                restored.restore_changes(&layer.iter()).unwrap();
            }
        } else {
            layers[0].iter().for_each(|section| restored.restore(section).unwrap());
            layers[1..].iter().for_each(|layer| restored.restore_changes(&layer.iter()).unwrap());
            assert_eq!(contents(&restored), expected);
        }
        for key in 0..400 {
            assert_eq!(restored.get(hash_key(&key), &key), expected.get(&key), "key {key}");
        }
        self.made = Some(Saved { checkpoint, layers });
    }

    fn check(&mut self) {
        for key in 0..400 {
            assert_eq!(self.table.get(hash_key(&key), &key), self.model.get(&key));
        }
        if self.below.is_none() {
            assert_eq!(contents(&self.table), self.model);
        }
    }
}

fn over(count: u16, database: Arc<dyn Database>, limit: usize) -> Counts {
    let buffer = SharedBuffer::new(WriteBuffer::new(database, DatabaseCopy::default()));
    KeyedTable::over(groups(count), 0..count, buffer, move |_| limit)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Few groups make tables grow, cluster and shrink while a snapshot is under way; few entries in memory make them
    /// come and go.
    #[test]
    fn a_table_is_a_map_and_its_snapshot_shows_the_moment_it_began(
        count in 1_u16..5,
        limit in proptest::option::of(prop_oneof![3 => 1..300_usize, 1 => Just(400)]),
        prefill in 0..300_u32,
        steps in proptest::collection::vec(step(), 0..900)
    ) {
        let mut bench = Bench::new(count, limit);
        (0..prefill).for_each(|key| bench.run(Step::Set(key, 0)));
        for step in steps.into_iter().chain([Step::Begin, Step::Slice(usize::MAX)]) {
            bench.run(step);
            match limit {
                None => prop_assert_eq!(bench.table.len(), bench.model.len()),
                Some(limit) => prop_assert!(bench.table.len() <= limit),
            }
        }
        prop_assert!(bench.running.is_none());
        bench.check();
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn over_rocksdb_it_is_the_same(
        count in 1_u16..5,
        limit in prop_oneof![3 => 1..300_usize, 1 => Just(400)],
        steps in proptest::collection::vec(step(), 300..900)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Bench::over(count, limit, Below::rocks(folder.path(), count));
        for step in steps.into_iter().chain([Step::Begin, Step::Slice(usize::MAX)]) {
            bench.run(step);
        }
        bench.check();
    }
}

#[test]
fn a_snapshot_after_a_complete_one_holds_what_has_changed() {
    let mut bench = Bench::new(4, None);
    (0..400).for_each(|key| bench.run(Step::Set(key, 1)));
    for round in 0..5 {
        bench.run(Step::Begin);
        bench.run(Step::Slice(usize::MAX));
        let entries = |sections: &[Section]| sections.iter().map(|section| section.entries).sum::<u32>();
        let made = bench.made.as_ref().unwrap();
        assert_eq!(made.layers.len(), round + 1);
        assert_eq!(entries(made.layers.last().unwrap()), if round == 0 { 400 } else { 3 });
        bench.run(Step::Complete);
        bench.run(Step::Set(7, round as u64));
        bench.run(Step::Set(8, round as u64));
        bench.run(Step::Remove(100 + round as u32));
    }
}

#[test]
fn what_was_saved_in_memory_can_be_restored_over_a_database_that_has_less_room() {
    let mut before = table(4);
    (0..400).for_each(|key| set(&mut before, key, u64::from(key) + 1));
    before.begin_snapshot(1);
    let sections = finish(&mut before, 100);
    let mut after = over(4, Below::map().database, 10);
    for section in &sections {
        after.restore(section).unwrap();
    }
    assert!(after.len() <= 10);
    for key in 0..400 {
        assert_eq!(after.get(hash_key(&key), &key), Some(&(u64::from(key) + 1)));
    }
    assert!(matches!(after.restore(&sections[0]), Err(CodecError::Duplicate { .. })));
}

/// A database on a disk that refuses everything.
#[derive(Debug)]
struct Refusing;

impl Refusing {
    fn refuse() -> Result<(), StoreError> {
        Err(StoreError::Io { path: "db".into(), doing: "read", source: std::io::Error::other("refused") })
    }
}

impl Database for Refusing {
    fn get(&self, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        Self::refuse()
    }
    fn write(&self, _: &crate::database::Changes) -> Result<(), StoreError> {
        Self::refuse()
    }
    fn scan(&self, _: &Range<u16>, _: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        Self::refuse()
    }
    fn copy_to(&self, _: &Path) -> Result<(), StoreError> {
        Self::refuse()
    }
    fn scratch(&self) -> &Path {
        Path::new("db")
    }
}

#[test]
fn where_the_disk_refuses_nobody_is_given_a_state_that_is_not_the_real_one() {
    let mut table = over(4, Arc::new(Refusing), 10);
    let looked =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| *table.entry(hash_key(&1_u32), 1).1));
    let fault = looked.unwrap_err().downcast::<crate::StateFault>().unwrap();
    assert!(matches!(*fault, crate::StateFault::Store(StoreError::Io { .. })), "{fault}");
    assert!(table.is_empty());
    let fault = table.peek(&1, |state| *state).unwrap_err();
    assert!(matches!(fault, crate::StateFault::Store(StoreError::Io { .. })), "{fault}");
}

/// The entries of four snapshots that are complete each before the next begins, and what the database has after them.
fn four_snapshots(bench: &mut Bench) -> ([u32; 4], usize) {
    let entries = std::array::from_fn(|_| {
        bench.run(Step::Begin);
        bench.run(Step::Slice(usize::MAX));
        let made = bench.made.as_ref().unwrap();
        let entries = made.layers.last().unwrap().iter().map(|section| section.entries).sum::<u32>();
        bench.run(Step::Complete);
        while bench.table.write_back(100) {}
        entries
    });
    let mut there = 0;
    let count_it = &mut |_: &[u8], _: &[u8]| {
        there += 1;
        true
    };
    bench.below.as_ref().unwrap().database.scan(&(0..4), count_it).unwrap();
    (entries, there)
}

#[test]
fn as_long_as_all_has_room_the_database_is_given_nothing_and_snapshots_hold_changes() {
    let mut bench = Bench::new(4, Some(1_000));
    (0..400).for_each(|key| bench.run(Step::Set(key, 1)));
    assert_eq!(four_snapshots(&mut bench), ([400, 0, 0, 0], 0));
}

#[test]
fn once_there_was_no_room_the_database_is_given_what_does_not_change() {
    let mut bench = Bench::new(4, Some(300));
    (0..400).for_each(|key| bench.run(Step::Set(key, 1)));
    let had_room = bench.table.len() as u32;
    assert_eq!(four_snapshots(&mut bench), ([had_room, 0, 0, 0], 400));
    // What changes then is given to it as well, when it has not changed again for a whole snapshot.
    bench.run(Step::Set(399, 2));
    assert_eq!(four_snapshots(&mut bench).0, [1, 1, 0, 0]);
}

#[test]
fn before_a_checkpoint_is_complete_each_snapshot_holds_everything() {
    let mut table = table(8);
    for round in 0..5 {
        set(&mut table, 7, round);
        for key in 0..100 {
            set(&mut table, key + 1_000, 1);
        }
        table.begin_snapshot(1);
        let sections = finish(&mut table, 16);
        assert_eq!(sections.iter().map(|section| section.entries).sum::<u32>(), 101);
        assert_eq!(contents(&restored(8, &sections)), contents(&table));
    }
}

#[test]
fn an_aborted_snapshot_does_not_hide_entries_from_the_next_one() {
    let mut table = table(4);
    (0..500).for_each(|key| set(&mut table, key, 1));
    table.begin_snapshot(1);
    table.snapshot_slice(300).unwrap();
    table.abort_snapshot();
    (200..300).for_each(|key| set(&mut table, key, 2));
    table.begin_snapshot(1);
    assert_eq!(contents(&restored(4, &finish(&mut table, 10))), contents(&table));
}

#[test]
fn a_slice_visits_no_more_slots_than_asked_for() {
    let mut table = table(1);
    (0..10_000).for_each(|key| set(&mut table, key, 1));
    table.begin_snapshot(1);
    table.snapshot_slice(100).unwrap();
    let below = table.running.unwrap().tag();
    let written = table.entries.iter().filter(|entry| u64::from(entry.tag) < below).count();
    // On to the next vacant slot.
    assert!((1..=200).contains(&written), "{written}");
}

#[test]
fn large_states_make_slices_shorter_and_sections_end_soon_after_their_limit() {
    let mut table: KeyedTable<u32, String> = KeyedTable::new(groups(1), 0..1);
    for key in 0..500_u32 {
        *table.entry(hash_key(&key), key).1 = "x".repeat(2_000);
    }
    table.begin_snapshot(1);
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
    table.begin_snapshot(1);
    assert_eq!(finish(&mut table, 1), []);
}

#[test]
fn state_moves_between_instances_when_the_parallelism_changes() {
    let key_groups = KeyGroups::DEFAULT;
    let mut sections = Vec::new();
    for instance in 0..3 {
        let mut table: Counts = KeyedTable::new(key_groups, key_groups.range(instance, 3));
        for key in 0..1_000 {
            if key_groups.instance_of(key_groups.group_of(hash_key(&key)), 3) == instance {
                set(&mut table, key, u64::from(key) * 2);
            }
        }
        table.begin_snapshot(1);
        sections.extend(finish(&mut table, 100));
    }
    let mut all = BTreeMap::new();
    for instance in 0..5 {
        let mine = key_groups.range(instance, 5);
        let mut table: Counts = KeyedTable::new(key_groups, mine.clone());
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
    let mut table: KeyedTable<u32, Fragile> = KeyedTable::new(groups(2), 0..2);
    for key in 0..50_u32 {
        table.entry(hash_key(&key), key).1.broken = key == 20;
    }
    table.begin_snapshot(1);
    table.entry(hash_key(&20_u32), 20).1.broken = false;
    assert!(matches!(table.snapshot_slice(1), Err(CodecError::Encode { .. })));
    assert_eq!(table.snapshot_slice(1).unwrap(), SliceProgress::Done);
    assert_eq!(table.take_sections(), []);
    table.begin_snapshot(1);
    assert_eq!(table.snapshot_slice(1_000).unwrap(), SliceProgress::Done);
}

fn one_section(key: u32) -> Section {
    let mut table = table(4);
    set(&mut table, key, 9);
    table.begin_snapshot(1);
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
fn a_table_over_a_database_takes_memory_as_it_needs_it_and_no_more_than_it_may() {
    let mut table = over(1, Below::map().database, 1_000);
    (0..10).for_each(|key| set(&mut table, key, 1));
    assert!(table.entries.slots() < 100, "{}", table.entries.slots());
    (0..100_000).for_each(|key| set(&mut table, key, 1));
    // Several go at a time.
    assert!((800..=1_000).contains(&table.len()), "{}", table.len());
    assert!(table.entries.slots() < 1_000 * 8 / 5 + 200, "{}", table.entries.slots());
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
