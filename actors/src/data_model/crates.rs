//! Types of crates that people use.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use indexmap::{IndexMap, IndexSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{OffsetDateTime, PrimitiveDateTime};
use uuid::Uuid;

use super::Table;
use super::values::{finite, v4, v6};
use super::wrappers::wrap;

pub(super) fn uuids() -> impl Strategy<Value = Uuid> {
    any::<[u8; 16]>().prop_map(Uuid::from_bytes)
}

pub(super) fn moments() -> impl Strategy<Value = DateTime<Utc>> {
    (-60_000_000_000_i64..200_000_000_000, 0..1_000_000_000_u32)
        .prop_map(|(secs, nanos)| DateTime::from_timestamp(secs, nanos).unwrap())
}

pub(super) fn dates() -> impl Strategy<Value = NaiveDate> {
    moments().prop_map(|moment| moment.date_naive())
}

fn times() -> impl Strategy<Value = NaiveTime> {
    moments().prop_map(|moment| moment.time())
}

pub(super) fn decimals() -> impl Strategy<Value = Decimal> {
    (any::<i64>(), 0..28_u32).prop_map(|(digits, scale)| Decimal::new(digits, scale))
}

pub(super) fn ip_nets() -> impl Strategy<Value = IpNet> {
    prop_oneof![v4_nets().prop_map(IpNet::V4), v6_nets().prop_map(IpNet::V6)]
}

fn v4_nets() -> impl Strategy<Value = Ipv4Net> {
    (v4(), 0..=32_u8).prop_map(|(ip, bits)| Ipv4Net::new(ip, bits).unwrap())
}

fn v6_nets() -> impl Strategy<Value = Ipv6Net> {
    (v6(), 0..=128_u8).prop_map(|(ip, bits)| Ipv6Net::new(ip, bits).unwrap())
}

fn offset_moments() -> impl Strategy<Value = OffsetDateTime> {
    (-60_000_000_000_i64..200_000_000_000, 0..1_000_000_000_u32).prop_map(|(secs, nanos)| {
        OffsetDateTime::from_unix_timestamp(secs).unwrap().replace_nanosecond(nanos).unwrap()
    })
}

fn json() -> impl Strategy<Value = Value> {
    (any::<Option<bool>>(), any::<i64>(), any::<u64>(), finite(), any::<String>()).prop_map(
        |(flag, n, large, float, text)| json!({ "flag": flag, text.clone(): [n, large, float, text], "": {} }),
    )
}

/// As their crates offer to write them otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Otherwise {
    #[serde(with = "chrono::serde::ts_milliseconds")]
    millis: DateTime<Utc>,
    #[serde(with = "chrono::serde::ts_seconds_option")]
    maybe: Option<DateTime<Utc>>,
    #[serde(with = "uuid::serde::compact")]
    compact: Uuid,
    #[serde(with = "uuid::serde::simple")]
    simple: Uuid,
    #[serde(with = "time::serde::timestamp")]
    timestamp: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    rfc: OffsetDateTime,
    #[serde(with = "rust_decimal::serde::str")]
    text: Decimal,
    #[serde(with = "indexmap::map::serde_seq")]
    ordered: IndexMap<u16, Option<()>>,
}

fn otherwise() -> impl Strategy<Value = Otherwise> {
    (moments(), uuids(), decimals(), any::<u16>()).prop_map(|(moment, id, decimal, n)| {
        let millis = DateTime::from_timestamp_millis(moment.timestamp_millis()).unwrap();
        let seconds = OffsetDateTime::from_unix_timestamp(moment.timestamp()).unwrap();
        Otherwise {
            millis,
            maybe: (n % 2 == 0).then(|| DateTime::from_timestamp(moment.timestamp(), 0).unwrap()),
            compact: id,
            simple: id,
            timestamp: seconds,
            rfc: seconds,
            text: decimal,
            ordered: IndexMap::from([(n, Some(())), (n.wrapping_add(1), None)]),
        }
    })
}

pub(super) fn all(table: &mut Table) {
    macro_rules! wrapped {
        ($($name:literal: $values:expr;)*) => {$(
            let values = table.value($name, $values);
            wrap(table, $name, &values);
        )*};
    }
    wrapped! {
        "Uuid": uuids();
        "DateTime<Utc>": moments();
        "OffsetDateTime": offset_moments();
        "Decimal": decimals();
        "IpNet": ip_nets();
        "Bytes": vec(any::<u8>(), 0..300).prop_map(bytes::Bytes::from);
        "IndexMap": vec((any::<u64>(), any::<Option<Option<bool>>>()), 0..9).prop_map(IndexMap::<_, _>::from_iter);
        "json": json();
    }
    table.value("NaiveDate", dates());
    table.value("NaiveTime", times());
    table.value("NaiveDateTime", (dates(), times()).prop_map(|(date, time)| NaiveDateTime::new(date, time)));
    let offset = FixedOffset::east_opt(3 * 3600).unwrap();
    table.value("DateTime<FixedOffset>", moments().prop_map(move |moment| moment.with_timezone(&offset)));
    table.value("time::Date", offset_moments().prop_map(OffsetDateTime::date));
    table.value("time::Time", offset_moments().prop_map(OffsetDateTime::time));
    let without_offset = |moment: OffsetDateTime| PrimitiveDateTime::new(moment.date(), moment.time());
    table.value("time::PrimitiveDateTime", offset_moments().prop_map(without_offset));
    let spans = (any::<i32>(), 0..1_000_000_000_i32);
    table.value("time::Duration", spans.prop_map(|(secs, _)| time::Duration::new(secs.into(), 0)));
    table.value("Ipv4Net", v4_nets());
    table.value("Ipv6Net", v6_nets());
    table.value("BytesMut", vec(any::<u8>(), 0..300).prop_map(|bytes| bytes::BytesMut::from(&*bytes)));
    table.value("IndexSet", vec(any::<String>(), 0..9).prop_map(IndexSet::<_>::from_iter));
    table.value("with = …", otherwise());
}
