//! Types of the standard library.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet, LinkedList, VecDeque};
use std::ffi::CString;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{NonZeroI64, NonZeroU8, Wrapping};
use std::ops::{Bound, Range, RangeInclusive};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use proptest::collection::{btree_map, btree_set, hash_map, hash_set, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::Table;
use super::wrappers::wrap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

pub(super) fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("NaN is not equal to itself", |value| !value.is_nan())
}

pub(super) fn duration() -> impl Strategy<Value = Duration> {
    (0..1_u64 << 40, 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos))
}

pub(super) fn v4() -> impl Strategy<Value = Ipv4Addr> {
    any::<[u8; 4]>().prop_map(Ipv4Addr::from)
}

pub(super) fn v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<[u8; 16]>().prop_map(Ipv6Addr::from)
}

pub(super) fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![v4().prop_map(IpAddr::V4), v6().prop_map(IpAddr::V6)]
}

/// Numbers, text and the like.
fn scalars(table: &mut Table) {
    macro_rules! numbers {
        ($($number:ty)*) => {$( table.value(stringify!($number), any::<$number>()); )*};
    }
    numbers! { i8 i16 i32 u8 u16 u32 isize usize }
    macro_rules! wrapped {
        ($($name:literal: $values:expr;)*) => {$(
            let values = table.value($name, $values);
            wrap(table, $name, &values);
        )*};
    }
    wrapped! {
        "bool": any::<bool>();
        "u64": any::<u64>();
        "i64": any::<i64>();
        "u128": any::<u128>();
        "i128": any::<i128>();
        "f32": any::<f32>().prop_filter("NaN", |value| !value.is_nan());
        "f64": finite();
        "char": any::<char>();
        "String": any::<String>();
        "unit": Just(());
        "Unit": Just(Unit);
        "Option<u8>": any::<Option<u8>>();
        "Option<unit>": prop_oneof![Just(None), Just(Some(()))];
        "tuple": (any::<u8>(), any::<String>(), finite());
        "IpAddr": ip();
        "Duration": duration();
        "map with keys that are no text":
            btree_map((any::<bool>(), any::<Option<u16>>()), any::<Option<String>>(), 0..4);
        "HashMap": hash_map(any::<i32>(), vec(any::<u8>(), 0..5), 0..6);
    }
    table.value("u128 tuple", (any::<u128>(), any::<i128>()));
}

pub(super) fn all(table: &mut Table) {
    scalars(table);
    table.value("Box<str>", any::<String>().prop_map(String::into_boxed_str));
    table.value("Cow<str>", any::<String>().prop_map(Cow::<'static, str>::Owned));
    table.value("CString", vec(1..=255_u8, 0..9).prop_map(|bytes| CString::new(bytes).unwrap()));
    table.value("PathBuf", any::<String>().prop_map(PathBuf::from));
    table.value("PhantomData", Just(PhantomData::<u8>));
    table.value("Vec<u8>", vec(any::<u8>(), 0..70_000));
    table.value("array of 32", any::<[u64; 32]>());
    table.value("empty array", Just([0_u8; 0]));
    table.value("array of arrays", any::<[[i16; 3]; 5]>());
    table.value("tuple of 12", any::<(u8, u8, u8, u8, u8, u8, u8, u8, u8, u8)>());
    table.value("VecDeque", vec(any::<i64>(), 0..40).prop_map(VecDeque::from));
    table.value("LinkedList", vec(any::<i64>(), 0..40).prop_map(LinkedList::from_iter));
    table.value("BTreeSet", btree_set(any::<Option<char>>(), 0..9));
    table.value("HashSet", hash_set(any::<String>(), 0..40));
    table.value("BTreeMap<char>", btree_map(any::<char>(), any::<u128>(), 0..40));
    table.value("BTreeMap<Vec<u8>>", btree_map(vec(any::<u8>(), 0..4), any::<bool>(), 0..9));
    table.value("BTreeMap<BTreeSet>", btree_map(btree_set(any::<u8>(), 0..4), Just(()), 0..9));
    table.value("BTreeMap<i128>", btree_map(any::<i128>(), any::<u8>(), 0..9));
    table.value("BTreeMap<Option<Option<u8>>>", nested_keys());
    table.value("BTreeMap<IpAddr>", btree_map(ip(), any::<u8>(), 0..9));
    table.value("HashMap<HashMap>", hash_map(any::<u8>(), hash_map(any::<u8>(), any::<bool>(), 0..9), 0..9));
    table.value("Result", prop_oneof![any::<u8>().prop_map(Ok), any::<String>().prop_map(Err)]);
    table.value("Range", any::<Range<u64>>());
    table.value("RangeInclusive", any::<(i8, i8)>().prop_map(|(from, to)| RangeInclusive::new(from, to)));
    let bound = prop_oneof![
        Just(Bound::Unbounded),
        any::<u8>().prop_map(Bound::Included),
        any::<u8>().prop_map(Bound::Excluded)
    ];
    table.value("Bound", bound);
    table.value("NonZeroU8", (1..=255_u8).prop_map(|n| NonZeroU8::new(n).unwrap()));
    table.value("Option<NonZeroI64>", any::<i64>().prop_map(NonZeroI64::new));
    table.value("Wrapping", any::<u16>().prop_map(Wrapping));
    table.value("Reverse", any::<u16>().prop_map(std::cmp::Reverse));
    table.value("Ipv4Addr", v4());
    table.value("Ipv6Addr", v6());
    table.value("SocketAddr", (ip(), any::<u16>()).prop_map(SocketAddr::from));
    table.value("SocketAddrV4", (v4(), any::<u16>()).prop_map(|(ip, port)| SocketAddrV4::new(ip, port)));
    table
        .value("SocketAddrV6", (v6(), any::<u16>()).prop_map(|(ip, port)| SocketAddrV6::new(ip, port, 0, 0)));
    table.value("SystemTime", duration().prop_map(|since| SystemTime::UNIX_EPOCH + since));
    table.value("sets of sets", vec(btree_set(btree_set(any::<u8>(), 0..3), 0..3), 0..3));
}

fn nested_keys() -> impl Strategy<Value = BTreeMap<Option<Option<u8>>, HashSet<u8>>> {
    btree_map(any::<Option<Option<u8>>>(), hash_set(any::<u8>(), 0..9), 0..9)
}
