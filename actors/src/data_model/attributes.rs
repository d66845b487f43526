//! Attributes that change how a field or type is written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Table;
use super::values::ip;

/// A module for `with`: a number as text.
mod as_text {
    use super::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a 128-bit integer has to be where serde buffers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum WithText {
    LargeNumber {
        #[serde(with = "as_text")]
        number: i128,
    },
    #[serde(rename = "none", alias = "nothing")]
    Nothing,
}

/// Borrows while it is read, and owns then.
#[derive(Deserialize)]
struct Borrowed<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    slice: &'a str,
    bytes: &'a [u8],
}

#[derive(Debug, Clone, PartialEq)]
struct Owned {
    text: String,
    slice: String,
    bytes: Vec<u8>,
}

impl Serialize for Owned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        /// Bytes that are written as such.
        struct Whole<'a>(&'a [u8]);
        impl Serialize for Whole<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
        let mut fields = serializer.serialize_struct("Owned", 3)?;
        fields.serialize_field("text", &self.text)?;
        fields.serialize_field("slice", &self.slice)?;
        fields.serialize_field("bytes", &Whole(&self.bytes))?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Borrowed { text, slice, bytes } = Borrowed::deserialize(deserializer)?;
        Ok(Self { text: text.into_owned(), slice: slice.to_string(), bytes: bytes.to_vec() })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "(u8, String)", into = "(u8, String)")]
struct Converted {
    n: u8,
    text: String,
}

impl From<(u8, String)> for Converted {
    fn from((n, text): (u8, String)) -> Self {
        Self { n, text }
    }
}

impl From<Converted> for (u8, String) {
    fn from(converted: Converted) -> Self {
        (converted.n, converted.text)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
struct Even(u16);

impl TryFrom<u16> for Even {
    type Error = String;

    fn try_from(n: u16) -> Result<Self, String> {
        if n.is_multiple_of(2) { Ok(Self(n)) } else { Err(format!("{n} is odd")) }
    }
}

impl From<Even> for u16 {
    fn from(even: Even) -> Self {
        even.0
    }
}

/// A type of somewhere else.
mod elsewhere {
    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct Point {
        pub(super) x: i32,
        pub(super) y: i32,
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "elsewhere::Point")]
struct PointDef {
    x: i32,
    y: i32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Remote {
    #[serde(with = "PointDef")]
    point: elsewhere::Point,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct DefaultedAsAWhole {
    #[serde(skip_serializing_if = "is_zero")]
    count: u64,
    #[serde(default = "seven", skip_serializing_if = "is_seven")]
    lucky: u8,
    #[serde(skip)]
    cache: Option<u8>,
}

impl Default for DefaultedAsAWhole {
    fn default() -> Self {
        Self { count: 0, lucky: 7, cache: None }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn seven() -> u8 {
    7
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_seven(n: &u8) -> bool {
    *n == 7
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Mixed {
    #[serde(rename = "1")]
    One(BTreeMap<u32, Mixed>),
    #[serde(untagged)]
    Other(u64, String),
}

/// Everything at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Nest {
    id: u64,
    #[serde(flatten)]
    kind: Kind,
    #[serde(flatten)]
    maybe: Option<Extra>,
    more: BTreeMap<String, Option<u8>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Extra {
    extra_ip: std::net::IpAddr,
    extra_keys: BTreeMap<u64, Vec<Option<bool>>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Kind {
    Leaf { at: f32 },
    Inner { left: Box<Nest>, right: Choice },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Choice {
    None(()),
    Number(i64),
    Text(String),
    List(Vec<Choice>),
    Pair { a: u8, b: char },
}

fn choice() -> impl Strategy<Value = Choice> {
    let leaf = prop_oneof![
        Just(Choice::None(())),
        any::<i64>().prop_map(Choice::Number),
        any::<String>().prop_map(Choice::Text),
        any::<(u8, char)>().prop_map(|(a, b)| Choice::Pair { a, b }),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Choice::List))
}

fn nest() -> impl Strategy<Value = Nest> {
    let more = || proptest::collection::btree_map("r[a-z]{1,5}", any::<Option<u8>>(), 0..3);
    let extra = || {
        let extra = ip().prop_map(|extra_ip| Extra {
            extra_ip,
            extra_keys: BTreeMap::from([(7, vec![None, Some(true)]), (u64::MAX, vec![])]),
        });
        proptest::option::of(extra)
    };
    let leaf = (any::<u64>(), -1e6..1e6_f32, extra(), more()).prop_map(|(id, at, maybe, more)| Nest {
        id,
        kind: Kind::Leaf { at },
        maybe,
        more,
    });
    leaf.prop_recursive(5, 20, 1, move |inner| {
        (inner, choice(), extra(), more()).prop_map(|(left, right, maybe, more)| Nest {
            id: left.id / 2,
            kind: Kind::Inner { left: Box::new(left), right },
            maybe,
            more,
        })
    })
}

pub(super) fn all(table: &mut Table) {
    let with_text = prop_oneof![
        any::<i128>().prop_map(|number| WithText::LargeNumber { number }),
        Just(WithText::Nothing)
    ];
    table.value("with text", with_text);
    let owned = (any::<String>(), any::<Vec<u8>>()).prop_map(|(text, bytes)| Owned {
        slice: text.clone(),
        text,
        bytes,
    });
    table.value("borrow", owned);
    table.value("from, into", any::<(u8, String)>().prop_map(Converted::from));
    table.value("try_from", any::<u16>().prop_map(|n| Even(n & !1)));
    table.value("remote", any::<(i32, i32)>().prop_map(|(x, y)| Remote { point: elsewhere::Point { x, y } }));
    let defaulted =
        (0..2_u64, 6..9_u8).prop_map(|(count, lucky)| DefaultedAsAWhole { count, lucky, cache: None });
    table.value("default", defaulted);
    let mixed = (any::<u64>(), any::<String>()).prop_map(|(n, text)| {
        let other = Mixed::Other(n, text);
        Mixed::One(BTreeMap::from([(1, other.clone()), (u32::MAX, Mixed::One(BTreeMap::from([(0, other)])))]))
    });
    table.value("tag, content and untagged", mixed);
    table.value("Choice", choice());
    table.value("Nest", nest());
}
