//! What records can be grouped by.

use std::cmp::Reverse;
use std::path::PathBuf;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::Table;
use super::crates::{dates, decimals, ip_nets, moments, uuids};
use super::values::{duration, ip};

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum External<T> {
    Unit,
    New(T),
    Struct { value: T },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged<T> {
    Struct { value: T },
    Unit,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> {
    Both { both: u8, left: T, right: T },
    One { one: u8, only: T },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Inner<T> {
    value: T,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Flat<T> {
    before: u8,
    #[serde(flatten)]
    inner: Inner<T>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Unit;

/// A key by itself and in what may be around it.
fn wrapped<T>(table: &mut Table, name: &str, values: impl Strategy<Value = T> + Clone)
where
    T: watershed_state::Key + std::fmt::Debug,
{
    table.key(name, values.clone());
    table.key(&format!("Option<Option<{name}>>"), proptest::option::of(proptest::option::of(values.clone())));
    table.key(&format!("tuple<{name}>"), (values.clone(), any::<u8>()));
    let external = (values.clone(), 0..3_u8).prop_map(|(value, variant)| match variant {
        0 => External::Unit,
        1 => External::New(value),
        _ => External::Struct { value },
    });
    table.key(&format!("External<{name}>"), external);
    table.key(&format!("Tagged<{name}>"), values.clone().prop_map(|value| Tagged::Struct { value }));
    let untagged = (values.clone(), values.clone(), any::<bool>()).prop_map(|(left, right, both)| {
        if both { Untagged::Both { both: 2, left, right } } else { Untagged::One { one: 1, only: left } }
    });
    table.key(&format!("Untagged<{name}>"), untagged);
    let flat = values.prop_map(|value| Flat { before: 3, inner: Inner { value } });
    table.key(&format!("Flat<{name}>"), flat);
}

pub(super) fn all(table: &mut Table) {
    macro_rules! numbers {
        ($($number:ty)*) => {$( table.key(stringify!($number), any::<$number>()); )*};
    }
    numbers! { bool i8 u8 i16 u16 i32 u32 i64 isize char }
    wrapped(table, "u64", any::<u64>());
    wrapped(table, "u128", any::<u128>());
    wrapped(table, "i128", any::<i128>());
    wrapped(table, "String", any::<String>());
    wrapped(table, "unit", Just(()));
    wrapped(table, "Unit", Just(Unit));
    wrapped(table, "IpAddr", ip().boxed());
    wrapped(table, "Uuid", uuids().boxed());
    wrapped(table, "Vec<u8>", vec(any::<u8>(), 0..300));
    table.key("array", any::<[u16; 4]>());
    table.key("Reverse", any::<u8>().prop_map(Reverse));
    table.key("Duration", duration());
    table.key("PathBuf", any::<String>().prop_map(PathBuf::from));
    table.key("BTreeMap", btree_map(any::<u64>(), any::<Option<()>>(), 0..9));
    table.key("BTreeSet", btree_set(any::<Option<char>>(), 0..9));
    table.key("DateTime", moments());
    table.key("NaiveDate", dates());
    table.key("IpNet", ip_nets());
    table.key("Decimal", decimals());
    table.key("Bytes", vec(any::<u8>(), 0..300).prop_map(bytes::Bytes::from));
}
