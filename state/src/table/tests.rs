mod database;
mod samples;
mod slots;
mod snapshots;

use super::*;
use crate::database::testing::MapDatabase;
use crate::database::{Database, WriteBuffer};
use crate::table::ordered::TAGS;
use crate::{CodecError, SavedInstance, Section, SectionKind};
use crate::{DatabaseCopy, SliceProgress, StoreError, hash_key};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
        use crate::database::ScratchFolder;
        use crate::rocks::{RocksDatabase, RocksDb};

        let config = RocksDb::new().memory_bytes(0).deterministic();
        let database = ScratchFolder::take(&folder.join("first")).unwrap();
        let database = RocksDatabase::open(database, &config, &(0..count), Default::default()).unwrap();
        let (folder, made) = (folder.to_owned(), std::sync::atomic::AtomicU32::new(0));
        let open_copy = move |copy: &Path| -> Arc<dyn Database> {
            let made = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let folder = ScratchFolder::take(&folder.join(format!("copy-{made}"))).unwrap();
            let copies = vec![copy.to_owned()];
            Arc::new(RocksDatabase::open(folder, &config, &(0..count), (copies, Vec::new())).unwrap())
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
fn a_number_of_entries_that_is_forged_makes_no_room_that_their_bytes_could_not_fill() {
    const BYTES: usize = 16 << 20;
    let forged = Section { entries: BYTES as u32, bytes: vec![0xC1; BYTES], ..one_section(5) };
    let mut table = table(4);
    let error = table.restore_saved(&[vec![forged].into()]).unwrap_err();
    assert!(matches!(error, CodecError::Decode { .. }), "{error}");
    // A quarter of them, and what a table has beyond what it is asked for.
    assert!(table.entries.room() <= BYTES / 2, "{}", table.entries.room());
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
