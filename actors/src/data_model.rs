//! Whatever serde can express: each type of a table is a state, an element of operator state, an item of a collection,
//! a record in a dead letter and a committable, and each that can be is a key, also of a timer. A value is refused when
//! it is written, or read back equal.

mod attributes;
mod crates;
mod keys;
mod values;
mod wrappers;

use std::collections::BTreeSet;
use std::fmt::Debug;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use watershed_state::{
    Collections, Data, Key, KeyGroups, KeyedTable, ListState, OpenBackend, Redistribution, SavedInstance,
    SavedState, Section, SectionKind, SliceProgress, State, TimerQueue, decode, encode, hash_key, read_back,
};

use crate::operator_state::OperatorStates;
use crate::snapshot::SnapshotItem;
use crate::supervision::{Evidence, Place, Stage};

const GROUPS: KeyGroups = KeyGroups::DEFAULT;
const ALL: std::ops::Range<u16> = 0..128;
/// Values that are tried of a type.
const VALUES: usize = 16;

/// The types that were tried.
#[derive(Default)]
struct Table {
    types: BTreeSet<String>,
    /// Those of which a value was refused.
    refused: BTreeSet<String>,
}

impl Table {
    fn note(&mut self, name: &str, survives: bool) {
        self.types.insert(name.to_string());
        if !survives {
            self.refused.insert(name.to_string());
        }
    }

    /// Tries a type wherever a value can be, and the same in all that can be around it if `wrapped`.
    fn value<T: Data + PartialEq + Debug>(&mut self, name: &str, values: impl Strategy<Value = T>) -> Vec<T> {
        let values = some_of(values);
        let fates: Vec<bool> = values.iter().map(|value| in_all_places(name, value)).collect();
        for survives in fates {
            self.note(name, survives);
        }
        values
    }

    /// Tries a type as a key.
    fn key<K: Key + Debug>(&mut self, name: &str, values: impl Strategy<Value = K>) {
        let name = format!("key {name}");
        let fates: Vec<bool> = some_of(values).iter().map(|key| as_key(&name, key)).collect();
        for survives in fates {
            self.note(&name, survives);
        }
    }
}

fn some_of<T: Debug>(values: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..VALUES).map(|_| values.new_tree(&mut runner).unwrap().current()).collect()
}

/// Whether a value is read back equal, rather than refused.
fn survives<T: Data + PartialEq + Debug>(name: &str, value: &T) -> bool {
    let mut bytes = Vec::new();
    if encode(value, &mut bytes).is_err() || read_back(value, &bytes).is_err() {
        return false;
    }
    let mut input = bytes.as_slice();
    assert_eq!(decode::<T>(&mut input).unwrap(), *value, "{name}: {bytes:02x?}");
    assert!(input.is_empty(), "{name}");
    true
}

fn in_all_places<T: Data + PartialEq + Debug>(name: &str, value: &T) -> bool {
    let survives = survives(name, value);
    // One fate, wherever it is.
    assert_eq!(as_state(&1_u8, &Some(value.clone()), name), survives, "the state {name} {value:?}");
    assert_eq!(as_element(value), survives, "the element {name} {value:?}");
    assert_eq!(as_item(value), survives, "the item {name} {value:?}");
    let committables = vec![(7_u64, value.clone()), (8, value.clone())];
    assert_eq!(self::survives(name, &committables), survives, "the committable {name} {value:?}");
    let letter = Evidence::of(Stage::Process, Place::Input, value);
    match letter.record::<T>() {
        Ok(record) => assert_eq!(record, *value, "{name}"),
        Err(error) => assert!(!survives, "the record {name} {value:?}: {error}"),
    }
    survives
}

/// All that a snapshot holds; `None` if it was given up.
fn saved(mut slice: impl FnMut() -> Result<SliceProgress, watershed_state::CodecError>) -> Option<()> {
    while slice().ok()? == SliceProgress::More {}
    Some(())
}

fn as_state<K: Key, S: State + PartialEq + Debug>(key: &K, state: &S, name: &str) -> bool {
    let mut table: KeyedTable<K, S> = KeyedTable::new(GROUPS, ALL);
    *table.entry(hash_key(key), key.clone()).1 = state.clone();
    table.begin_snapshot(1);
    if saved(|| table.snapshot_slice(100)).is_none() {
        return false;
    }
    let mut restored: KeyedTable<K, S> = KeyedTable::new(GROUPS, ALL);
    for section in table.take_sections() {
        restored.restore(&section).unwrap();
    }
    assert_eq!(restored.get(hash_key(key), key), Some(state), "{name}");
    true
}

fn as_element<T: Data + PartialEq + Debug>(value: &T) -> bool {
    let states = OperatorStates::default();
    let list = states.open::<T>("list", Redistribution::List).unwrap();
    list.push(value.clone());
    let mut items = states.save();
    let section: Section = match items.remove(0) {
        SnapshotItem::Section(section) => section,
        _ => return false,
    };
    let saved = SavedState::read(&section).unwrap();
    assert_eq!(decode::<T>(&mut saved.elements[0].as_slice()).unwrap(), *value);
    true
}

fn as_item<T: Data + PartialEq + Debug>(value: &T) -> bool {
    let list: ListState<T> = ListState::new("list");
    let (key, hash) = (1_u8, hash_key(&1_u8));
    let mut collections: Collections<u8> = Collections::new(GROUPS, ALL);
    list.open(&mut collections, &key, hash, || 0).push(value.clone());
    let (_, names) = collections.begin_snapshot(1, true).unwrap();
    if saved(|| collections.snapshot_slice(100)).is_none() {
        return false;
    }
    let mut sections = collections.take_sections();
    sections.extend(names);
    let mut restored: Collections<u8> = Collections::new(GROUPS, ALL);
    restored.restore(&[SavedInstance::from(sections)], OpenBackend::in_memory(GROUPS, ALL)).unwrap();
    assert_eq!(list.open(&mut restored, &key, hash, || 0).to_vec(), std::slice::from_ref(value));
    true
}

fn as_key<K: Key + Debug>(name: &str, key: &K) -> bool {
    let survives = as_state(key, &7_u64, name);
    assert_eq!(self::survives(name, key), survives, "{name} {key:?}");
    let mut timers = TimerQueue::new(SectionKind::EventTimers, GROUPS);
    timers.register(5, hash_key(key), key);
    timers.begin_snapshot(1, true);
    assert_eq!(saved(|| timers.snapshot_slice(100)).is_some(), survives, "{name} {key:?}");
    if survives {
        let mut restored: TimerQueue<K> = TimerQueue::new(SectionKind::EventTimers, GROUPS);
        restored.restore(&[SavedInstance::from(timers.take_sections())], |_, _| true).unwrap();
        assert_eq!(restored.pop_due(5), Some((5, hash_key(key), key.clone())), "{name}");
    }
    survives
}

#[test]
fn whatever_serde_can_express_is_refused_when_it_is_written_or_read_back_equal() {
    let mut table = Table::default();
    values::all(&mut table);
    attributes::all(&mut table);
    crates::all(&mut table);
    keys::all(&mut table);
    println!("{} types, of which these are refused: {:#?}", table.types.len(), table.refused);
    let expected: BTreeSet<String> =
        table.types.iter().filter(|name| is_wide_and_buffered(name)).cloned().collect();
    assert_eq!(table.refused, expected);
    assert!(table.types.len() >= 650, "{} types", table.types.len());
}

/// What serde buffers has no 128-bit integers. All else survives.
fn is_wide_and_buffered(name: &str) -> bool {
    let buffered = ["Tagged", "Untagged", "Flat", "FlatTagged", "FlatMap", "TaggedUntagged"];
    name.contains("128") && buffered.iter().any(|buffer| name.contains(buffer))
}

#[test]
fn what_can_be_written_and_not_be_read_is_refused_in_all_places() {
    #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(tag = "kind")]
    enum Balance {
        #[default]
        Nothing,
        Wide {
            sum: u128,
        },
    }
    assert!(in_all_places("Balance", &Balance::Nothing));
    assert!(!in_all_places("Balance", &Balance::Wide { sum: 7 }));
}
