//! What can be around a value, by the attributes of serde.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use watershed_state::Data;

use super::{Table, survives};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Newtype<T>(T);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair<T>(T, T);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE", deny_unknown_fields)]
struct Named<T> {
    first_value: T,
    #[serde(rename = "2")]
    second_value: Box<T>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum External<T> {
    Unit,
    New(T),
    Tuple(T, u8),
    Struct { value: T },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged<T> {
    Unit,
    Struct { first: u8, value: T },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "what")]
enum Adjacent<T> {
    Unit,
    New(T),
    Tuple(T, T),
    Struct { value: T },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> {
    Both { both: u8, left: T, right: T },
    One { one: u8, only: T },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inner<T> {
    value: T,
}

/// A limit, or that there is none.
type Limit = Option<u8>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat<T> {
    before: u8,
    #[serde(flatten)]
    inner: Inner<T>,
    after: Option<Limit>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FlatMap<T> {
    before: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, T>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FlatTagged<T> {
    before: u8,
    #[serde(flatten)]
    tagged: Tagged<T>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum TaggedUntagged<T> {
    Holds { inner: Untagged<T> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Defaults<T> {
    #[serde(default)]
    maybe: Option<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    if_any: Option<T>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    some: Vec<T>,
    #[serde(skip)]
    never: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent<T> {
    value: T,
}

/// Tries values in all that can be around them.
pub(super) fn wrap<T: Data + PartialEq + Debug>(table: &mut Table, name: &str, values: &[T]) {
    for (index, value) in values.iter().enumerate() {
        let value = || value.clone();
        let other = || values[(index + 1) % values.len()].clone();
        let mut note = |wrapper: &str, survives: bool| table.note(&format!("{wrapper}<{name}>"), survives);
        note("Newtype", survives(name, &Newtype(value())));
        note("Pair", survives(name, &Pair(value(), other())));
        note("Named", survives(name, &Named { first_value: value(), second_value: Box::new(other()) }));
        note("Transparent", survives(name, &Transparent { value: value() }));
        note("Vec", survives(name, &vec![value(), other()]));
        note("VecDeque", survives(name, &VecDeque::from([value(), other()])));
        note("array", survives(name, &[value(), other(), value()]));
        for nested in [None, Some(None), Some(Some(None)), Some(Some(Some(value())))] {
            note("Option<Option<Option>>", survives(name, &nested));
        }
        note("Result", survives(name, &[Ok::<T, T>(value()), Err(other())]));
        note("BTreeMap<u64>", survives(name, &BTreeMap::from([(1_u64, value()), (300, other())])));
        let external = [
            External::Unit,
            External::New(value()),
            External::Tuple(value(), 5),
            External::Struct { value: other() },
        ];
        for external in &external {
            note("External", survives(name, external));
        }
        let tagged = Tagged::Struct { first: 1, value: value() };
        note("Tagged", survives(name, &tagged));
        assert!(survives(name, &Tagged::<T>::Unit));
        let adjacent = [
            Adjacent::Unit,
            Adjacent::New(value()),
            Adjacent::Tuple(value(), other()),
            Adjacent::Struct { value: other() },
        ];
        for adjacent in &adjacent {
            note("Adjacent", survives(name, adjacent));
        }
        let untagged = [
            Untagged::Both { both: 2, left: value(), right: other() },
            Untagged::One { one: 1, only: other() },
        ];
        for untagged in &untagged {
            note("Untagged", survives(name, untagged));
        }
        let flat = Flat { before: 1, inner: Inner { value: value() }, after: Some(None) };
        note("Flat", survives(name, &flat));
        let rest = BTreeMap::from([("a".to_string(), value()), ("b".to_string(), other())]);
        note("FlatMap", survives(name, &FlatMap { before: 1, rest }));
        note("FlatTagged", survives(name, &FlatTagged { before: 1, tagged }));
        for inner in untagged {
            note("TaggedUntagged", survives(name, &TaggedUntagged::Holds { inner }));
        }
        let defaults = [
            Defaults { maybe: None, if_any: None, some: vec![], never: 0 },
            Defaults { maybe: Some(value()), if_any: Some(other()), some: vec![value()], never: 0 },
        ];
        for defaults in &defaults {
            note("Defaults", survives(name, defaults));
        }
    }
}
