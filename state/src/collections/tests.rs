use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::database::testing::MapDatabase;
use crate::database::{SharedBuffer, WriteBuffer};
use crate::{DatabaseCopy, hash_key};

const KEYS: u8 = 3;

/// The collections of a few keys, and what ought to be in them.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    map: BTreeMap<(u8, String), u32>,
    list: BTreeMap<u8, Vec<u32>>,
    value: BTreeMap<u8, String>,
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u32, u32),
    AddTo(u8, u32),
    Remove(u8, u32),
    ClearMap(u8),
    Push(u8, u32),
    Update(u8, Vec<u32>),
    ClearList(u8),
    Set(u8, String),
    Take(u8),
    /// From here on, what a record does.
    BeginRecord,
    TakeBack,
    Begin,
    Slice(usize),
    Complete,
    WorkOn(usize),
}

impl Step {
    fn key(&self) -> Option<u8> {
        match self {
            Self::Insert(of, ..)
            | Self::AddTo(of, _)
            | Self::Remove(of, _)
            | Self::ClearMap(of)
            | Self::Push(of, _)
            | Self::Update(of, _)
            | Self::ClearList(of)
            | Self::Set(of, _)
            | Self::Take(of) => Some(*of),
            _ => None,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    prop_oneof![
        40 => (key(), 0..300_u32, any::<u32>()).prop_map(|(of, key, value)| Step::Insert(of, key, value)),
        5 => (key(), 0..300_u32).prop_map(|(of, key)| Step::AddTo(of, key)),
        30 => (key(), 0..300_u32).prop_map(|(of, key)| Step::Remove(of, key)),
        1 => key().prop_map(Step::ClearMap),
        20 => (key(), any::<u32>()).prop_map(|(of, item)| Step::Push(of, item)),
        1 => (key(), proptest::collection::vec(any::<u32>(), 0..80)).prop_map(|(of, items)| Step::Update(of, items)),
        1 => key().prop_map(Step::ClearList),
        5 => (key(), "[a-z]{0,3}").prop_map(|(of, value)| Step::Set(of, value)),
        2 => key().prop_map(Step::Take),
        10 => Just(Step::BeginRecord),
        5 => Just(Step::TakeBack),
        2 => Just(Step::Begin),
        10 => (1..40_usize).prop_map(Step::Slice),
        2 => Just(Step::Complete),
        2 => (1..100_usize).prop_map(Step::WorkOn),
    ]
}

struct Bench {
    map: MapState<String, u32>,
    list: ListState<u32>,
    value: ValueState<String>,
    collections: Collections<u8>,
    below: Option<Arc<MapDatabase>>,
    model: Model,
    before_record: Model,
    /// The key of the record in process.
    of: Option<u8>,
    /// The snapshot that is being written: of which checkpoint, adding to another, what it has so far and shows in the
    /// end.
    running: Option<(u64, bool, Vec<Section>, Model)>,
    /// Of the newest checkpoint that is complete.
    layers: Vec<Vec<Section>>,
    made: Option<(u64, bool, Vec<Section>)>,
    next: u64,
}

fn groups() -> KeyGroups {
    KeyGroups::new(5).unwrap()
}

impl Bench {
    fn new(limit: Option<usize>) -> Self {
        let mut collections = Collections::new(groups(), 0..5);
        collections.keep(true);
        let below = limit.map(|_| Arc::<MapDatabase>::default());
        if let (Some(limit), Some(below)) = (limit, &below) {
            let buffer = SharedBuffer::new(WriteBuffer::new(Arc::clone(below) as _, DatabaseCopy::default()));
            collections.table = KeyedTable::over(groups(), 0..5, buffer, move |_| limit);
        }
        Self {
            map: MapState::new("map"),
            list: ListState::new("list"),
            value: ValueState::new("value"),
            collections,
            below,
            model: Model::default(),
            before_record: Model::default(),
            of: None,
            running: None,
            layers: Vec::new(),
            made: None,
            next: 1,
        }
    }

    fn run(&mut self, step: Step) {
        if let Some(of) = step.key()
            && self.of != Some(of)
        {
            // A record has one key.
            self.of = Some(of);
            self.run(Step::BeginRecord);
        }
        let Self { map, list, value, collections, model, next, .. } = self;
        match step {
            Step::Insert(of, key, to) => {
                let key = format!("key {key}");
                let before = map.open(collections, &of, hash_key(&of), || 0).insert(key.clone(), to);
                assert_eq!(before, model.map.insert((of, key), to));
            }
            Step::AddTo(of, key) => {
                let key = format!("key {key}");
                let mut open = map.open(collections, &of, hash_key(&of), || 0);
                let count = open.get_or_default(key.clone());
                *count = count.wrapping_add(1);
                let expected = model.map.entry((of, key)).or_default();
                *expected = expected.wrapping_add(1);
            }
            Step::Remove(of, key) => {
                let key = format!("key {key}");
                assert_eq!(
                    map.open(collections, &of, hash_key(&of), || 0).remove(&key),
                    model.map.remove(&(of, key))
                );
            }
            Step::ClearMap(of) => {
                map.open(collections, &of, hash_key(&of), || 0).clear();
                model.map.retain(|(key, _), _| *key != of);
            }
            Step::Push(of, item) => {
                list.open(collections, &of, hash_key(&of), || 0).push(item);
                model.list.entry(of).or_default().push(item);
            }
            Step::Update(of, items) => {
                list.open(collections, &of, hash_key(&of), || 0).update(items.clone());
                model.list.insert(of, items);
            }
            Step::ClearList(of) => {
                list.open(collections, &of, hash_key(&of), || 0).clear();
                model.list.remove(&of);
            }
            Step::Set(of, to) => {
                value.open(collections, &of, hash_key(&of), || 0).set(to.clone());
                model.value.insert(of, to);
            }
            Step::Take(of) => {
                assert_eq!(value.open(collections, &of, hash_key(&of), || 0).take(), model.value.remove(&of));
            }
            Step::BeginRecord => {
                collections.begin_record();
                self.before_record = model.clone();
            }
            Step::TakeBack => {
                collections.take_back();
                *model = self.before_record.clone();
            }
            Step::Begin => {
                let all = Additions::are_enough([collections.additions()]);
                let (begun, names) = collections.begin_snapshot(*next, all).unwrap();
                let mut sections: Vec<_> = names.into_iter().collect();
                if let Some(link) = begun.link {
                    // The copy is made at once, and found by its checkpoint.
                    assert_eq!(link.make(), Path::new("scratch").join(format!("copy-{next}")));
                }
                sections.extend(collections.take_sections());
                self.running = Some((*next, begun.base.is_some(), sections, model.clone()));
                *next += 1;
            }
            Step::Slice(slots) => {
                let Some((_, _, sections, _)) = &mut self.running else { return };
                let progress = collections.snapshot_slice(slots).unwrap();
                sections.extend(collections.take_sections());
                if progress == SliceProgress::Done {
                    self.saved();
                }
            }
            Step::Complete => {
                let Some((checkpoint, adds, sections)) = self.made.take() else { return };
                collections.complete(checkpoint);
                if !adds {
                    self.layers.clear();
                }
                self.layers.push(sections);
            }
            Step::WorkOn(slots) => collections.work_on(slots, || 0),
        }
    }

    /// What is saved is restored, and is what there was when the snapshot began.
    fn saved(&mut self) {
        let Some((checkpoint, adds, sections, expected)) = self.running.take() else { return };
        let layers = if adds { self.layers.clone() } else { Vec::new() };
        let mut saved = SavedInstance::default();
        for layer in layers.iter().chain([&sections]) {
            let names = layer.iter().filter(|section| section.kind == SectionKind::CollectionNames);
            let names: Vec<_> = names.cloned().collect();
            let pages = layer.iter().filter(|section| section.kind != SectionKind::CollectionNames).cloned();
            if saved.sections.is_empty() {
                saved.sections = pages.chain(names).collect();
            } else {
                saved.changes.push(pages.collect());
                saved.sections.extend(names);
            }
        }
        let mut restored = Collections::new(groups(), 0..5);
        if let Some(below) = &self.below {
            let copy = below.open_copy(&Path::new("scratch").join(format!("copy-{checkpoint}")));
            let buffer = SharedBuffer::new(WriteBuffer::new(Arc::new(copy), DatabaseCopy::default()));
            restored.table = KeyedTable::over(groups(), 0..5, buffer, |_| 10);
            let all = saved.sections.clone();
            restored.table.restore_changes(&all.iter()).unwrap();
            saved.changes.iter().for_each(|layer| restored.table.restore_changes(&layer.iter()).unwrap());
            all.iter()
                .filter(|section| section.kind == SectionKind::CollectionNames)
                .for_each(|section| restored.names.restore(section).unwrap());
        } else {
            restored.restore(&[saved], OpenBackend::in_memory(groups(), 0..5)).unwrap();
        }
        self.check(&mut restored, &expected);
        self.made = Some((checkpoint, adds, sections));
    }

    fn check(&self, collections: &mut Collections<u8>, expected: &Model) {
        for of in 0..KEYS {
            let mut map = self.map.open(collections, &of, hash_key(&of), || 0);
            let mine = expected.map.iter().filter(|((key, _), _)| *key == of);
            let mine: BTreeMap<String, u32> = mine.map(|((_, key), value)| (key.clone(), *value)).collect();
            assert_eq!(map.entries().into_iter().collect::<BTreeMap<_, _>>(), mine);
            assert_eq!(map.len(), mine.len());
            for (key, value) in &mine {
                assert_eq!(map.get(key), Some(value));
            }
            let mut list = self.list.open(collections, &of, hash_key(&of), || 0);
            let items = expected.list.get(&of).cloned().unwrap_or_default();
            assert_eq!((list.len(), list.to_vec()), (items.len(), items));
            assert_eq!(self.value.open(collections, &of, hash_key(&of), || 0).get(), expected.value.get(&of));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn collections_are_those_of_the_standard_library_and_survive_in_snapshots(
        limit in proptest::option::of(2..20_usize),
        always_changes in any::<bool>(),
        steps in proptest::collection::vec(step(), 0..900)
    ) {
        let mut bench = Bench::new(limit);
        if always_changes {
            bench.collections.always_save_changes();
        }
        for step in steps.into_iter().chain([Step::Begin, Step::Slice(usize::MAX)]) {
            bench.run(step);
        }
        prop_assert!(bench.running.is_none());
        let mut collections = std::mem::replace(&mut bench.collections, Collections::new(groups(), 0..5));
        let expected = bench.model.clone();
        bench.check(&mut collections, &expected);
        // Nothing is left of what was removed.
        for of in 0..KEYS {
            bench.map.open(&mut collections, &of, hash_key(&of), || 0).clear();
            bench.list.open(&mut collections, &of, hash_key(&of), || 0).clear();
            bench.value.open(&mut collections, &of, hash_key(&of), || 0).clear();
        }
        prop_assert_eq!(collections.table.len(), 0);
    }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn empty() -> Collections<u8> {
    Collections::new(groups(), 0..5)
}

#[test]
fn an_entry_is_gone_when_its_time_has_come_and_its_memory_later() {
    let map: MapState<u32, u32> = MapState::new("map").ttl(Ttl::after_write(ms(100)));
    let mut collections = empty();
    for key in 0..500 {
        map.open(&mut collections, &1, hash_key(&1_u8), || i64::from(key)).insert(key, key);
    }
    let mut open = map.open(&mut collections, &1, hash_key(&1_u8), || 499);
    // Those of the last 100 ms are there, whichever page they are on.
    assert_eq!((open.len(), open.entries().len()), (100, 100));
    assert_eq!(open.get(&399), None);
    assert_eq!(open.get(&400), Some(&400));
    // Written again, it begins another life; reading does not renew it.
    assert_eq!(open.insert(399, 1), None);
    assert_eq!(open.insert(400, 1), Some(400));
    let mut open = map.open(&mut collections, &1, hash_key(&1_u8), || 598);
    assert_eq!(open.len(), 3);
    assert!(open.contains_key(&499));
    assert!(!map.open(&mut collections, &1, hash_key(&1_u8), || 599).contains_key(&499));

    assert!(collections.table.len() > 1);
    for now_ms in 600..700 {
        collections.work_on(10, || now_ms);
    }
    assert_eq!(collections.table.len(), 0);
}

#[test]
fn what_is_read_lives_on_if_reading_counts() {
    let map: MapState<u32, u32> = MapState::new("map").ttl(Ttl::after_access(ms(100)));
    let list: ListState<u32> = ListState::new("list").ttl(Ttl::after_access(ms(100)));
    let value: ValueState<u32> = ValueState::new("value").ttl(Ttl::after_access(ms(100)));
    let mut collections = empty();
    map.open(&mut collections, &1, hash_key(&1_u8), || 0).insert(7, 7);
    list.open(&mut collections, &1, hash_key(&1_u8), || 0).push(7);
    value.open(&mut collections, &1, hash_key(&1_u8), || 0).set(7);
    for now_ms in [99, 198, 297] {
        assert_eq!(map.open(&mut collections, &1, hash_key(&1_u8), || now_ms).get(&7), Some(&7));
        assert_eq!(list.open(&mut collections, &1, hash_key(&1_u8), || now_ms).to_vec(), [7]);
        assert_eq!(value.open(&mut collections, &1, hash_key(&1_u8), || now_ms).get(), Some(&7));
    }
    assert_eq!(map.open(&mut collections, &1, hash_key(&1_u8), || 397).get(&7), None);
    assert!(list.open(&mut collections, &1, hash_key(&1_u8), || 397).is_empty());
    assert_eq!(value.open(&mut collections, &1, hash_key(&1_u8), || 397).get(), None);
}

#[test]
fn a_list_loses_its_oldest_pages_and_goes_on_at_the_end() {
    let list: ListState<i64> = ListState::new("list").ttl(Ttl::after_write(ms(50)));
    let mut collections = empty();
    for now_ms in 0..5_000 {
        list.open(&mut collections, &1, hash_key(&1_u8), || now_ms).push(now_ms);
        collections.work_on(100, || now_ms);
        if now_ms % 100 == 99 {
            let expected: Vec<_> = (now_ms - 49..=now_ms).collect();
            assert_eq!(list.open(&mut collections, &1, hash_key(&1_u8), || now_ms).to_vec(), expected);
        }
    }
    assert!(collections.table.len() < 10, "{} pages", collections.table.len());
}

#[test]
fn what_was_kept_without_a_time_begins_its_life_when_it_is_first_used_with_one() {
    let forever: MapState<u32, u32> = MapState::new("map");
    let mut collections = empty();
    forever.open(&mut collections, &1, hash_key(&1_u8), || 0).insert(7, 7);
    let mut collections = restarted(collections);
    let expiring: MapState<u32, u32> = MapState::new("map").ttl(Ttl::after_write(ms(100)));
    assert_eq!(expiring.open(&mut collections, &1, hash_key(&1_u8), || 1_000).get(&7), Some(&7));
    assert_eq!(expiring.open(&mut collections, &1, hash_key(&1_u8), || 1_099).get(&7), Some(&7));
    assert_eq!(expiring.open(&mut collections, &1, hash_key(&1_u8), || 1_100).get(&7), None);
}

/// What another process makes of what this one has saved.
fn restarted(mut collections: Collections<u8>) -> Collections<u8> {
    let (_, names) = collections.begin_snapshot(1, true).unwrap();
    while collections.snapshot_slice(10).unwrap() == SliceProgress::More {}
    let sections = collections.take_sections().into_iter().chain(names).collect::<Vec<_>>();
    let mut restored = empty();
    restored.restore(&[sections.into()], OpenBackend::in_memory(groups(), 0..5)).unwrap();
    restored
}

fn fault(work: impl FnOnce()) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_err();
    crate::chain_of(caught.downcast_ref::<StateFault>().unwrap())
}

#[test]
fn a_collection_that_is_used_as_another_is_refused_by_name() {
    let mut collections = empty();
    MapState::<u32, u32>::new("seen").open(&mut collections, &1, hash_key(&1_u8), || 0).insert(1, 1);
    let kind =
        fault(|| ListState::<u32>::new("seen").open(&mut collections, &1, hash_key(&1_u8), || 0).push(1));
    assert!(kind.contains("`seen` holds a map, and is used as one of a list"), "{kind}");
    let types = fault(|| {
        MapState::<u32, String>::new("seen").open(&mut collections, &1, hash_key(&1_u8), || 0).clear();
    });
    assert!(types.contains("(u32, u32)") && types.contains("String"), "{types}");
}

#[test]
fn a_collection_whose_type_has_changed_says_which_it_is() {
    let mut collections = empty();
    ValueState::<String>::new("name")
        .open(&mut collections, &1, hash_key(&1_u8), || 0)
        .set(String::from("a"));
    let mut restored = restarted(collections);
    let error = fault(|| {
        ValueState::<u64>::new("name").open(&mut restored, &1, hash_key(&1_u8), || 0).get();
    });
    assert!(error.contains("the collection `name` of this operator cannot be read"), "{error}");
    assert!(error.contains("serde(default)"), "{error}");
}

/// The mean of numbers.
struct Mean;
impl Aggregate for Mean {
    type In = u32;
    type Accumulator = (u32, u32);
    type Out = f64;
    fn add(&self, (sum, count): &mut (u32, u32), record: u32) {
        *sum += record;
        *count += 1;
    }
    fn result(&self, (sum, count): &(u32, u32)) -> f64 {
        f64::from(*sum) / f64::from(*count)
    }
}

#[test]
fn values_are_folded() {
    let largest = ReducingState::new("largest", |one: u32, two: u32| one.max(two));
    let mut collections = empty();
    for value in [3, 9, 4] {
        largest.open(&mut collections, &1, hash_key(&1_u8), || 0).add(value);
    }
    assert_eq!(largest.open(&mut collections, &1, hash_key(&1_u8), || 0).get(), Some(&9));
    assert_eq!(largest.open(&mut collections, &2, hash_key(&2_u8), || 0).get(), None);

    let mean = AggregatingState::new("mean", Mean);
    for value in [1, 2] {
        mean.open(&mut collections, &1, hash_key(&1_u8), || 0).add(value);
    }
    let mut open = mean.open(&mut collections, &1, hash_key(&1_u8), || 0);
    assert_eq!(open.get(), Some(1.5));
    open.clear();
    assert_eq!(open.get(), None);
}

#[test]
fn a_map_whose_pages_have_the_same_age_goes_altogether() {
    for keys in [2, 33, 40, 64, 500] {
        let map: MapState<u32, u32> = MapState::new("map").ttl(Ttl::after_write(ms(100)));
        let mut collections = empty();
        for of in 0..50_u8 {
            for key in 0..keys {
                map.open(&mut collections, &of, hash_key(&of), || 0).insert(key, key);
            }
        }
        for now_ms in 100..140 {
            collections.work_on(1_000, || now_ms);
        }
        assert_eq!(collections.table.len(), 0, "{keys} keys");
    }
}

/// What the database forgets by itself when it tidies up, and what the sweep finds, is what nobody sees any more.
#[test]
fn what_a_database_forgets_by_itself_is_missed_by_nobody() {
    let database = Arc::<MapDatabase>::default();
    let mut collections = empty();
    let buffer = SharedBuffer::new(WriteBuffer::new(Arc::clone(&database) as _, DatabaseCopy::default()));
    collections.table = KeyedTable::over(groups(), 0..5, buffer, |_| 4);
    let map: MapState<u32, i64> = MapState::new("map").ttl(Ttl::after_access(ms(100)));
    let list: ListState<i64> = ListState::new("list").ttl(Ttl::after_write(ms(100)));
    let mut last_used = BTreeMap::new();
    let mut pushed = Vec::new();
    for now_ms in 0..6_000_i64 {
        // Now and then nothing comes for longer than anything lives.
        if now_ms % 1_000 > 700 {
            collections.work_on(8, || now_ms);
        } else {
            let (of, key) = ((now_ms % 3) as u8, (now_ms * 7919 % 211) as u32);
            let mut open = map.open(&mut collections, &of, hash_key(&of), || now_ms);
            let known = open.get(&key).copied();
            let alive = |used: &&i64| now_ms - **used < 100;
            assert_eq!(known.is_some(), last_used.get(&(of, key)).as_ref().is_some_and(alive), "at {now_ms}");
            open.insert(key, now_ms);
            last_used.insert((of, key), now_ms);
            list.open(&mut collections, &of, hash_key(&of), || now_ms).push(now_ms);
            pushed.push((of, now_ms));
            if now_ms % 50 == 0 {
                let expected = pushed.iter().filter(|(key, used)| *key == of && now_ms - used < 100);
                let expected: Vec<i64> = expected.map(|(_, used)| *used).collect();
                assert_eq!(list.open(&mut collections, &of, hash_key(&of), || now_ms).to_vec(), expected);
                let alive = last_used.iter().filter(|((key, _), used)| *key == of && now_ms - **used < 100);
                assert_eq!(map.open(&mut collections, &of, hash_key(&of), || now_ms).len(), alive.count());
            }
        }
        if now_ms % 20 == 0 {
            collections.backend.expiry().set_now(now_ms);
            let expiry = Arc::clone(collections.backend.expiry());
            database.forget(&|key, value| expiry.has_expired(key, value));
        }
    }
    collections.backend.expiry().set_now(10_000);
    let expiry = Arc::clone(collections.backend.expiry());
    database.forget(&|key, value| expiry.has_expired(key, value));
    assert_eq!(database.len(), 0);
}

#[test]
fn two_declarations_of_a_collection_let_it_live_as_long() {
    let mut collections = empty();
    MapState::<u32, u32>::new("seen")
        .ttl(Ttl::after_write(ms(10)))
        .open(&mut collections, &1, hash_key(&1_u8), || 0)
        .insert(1, 1);
    let said =
        fault(|| MapState::<u32, u32>::new("seen").open(&mut collections, &1, hash_key(&1_u8), || 0).clear());
    assert!(said.contains("live for 10 ms") && said.contains("live for ever"), "{said}");
}
