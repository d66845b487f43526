//! Values of any type, as JSON: decoded without the types of the program.
//!
//! What is nested deeper than [`SHOWN_LEVELS`] is left out: neither this process nor whoever reads the JSON needs a
//! stack for it.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use watershed_state::SHOWN_LEVELS;

/// What is encoded, whatever its type. Bytes become an array of numbers, keys of maps that are no text become their
/// JSON, numbers that JSON does not have become text, and so does what is nested more than [`SHOWN_LEVELS`] levels
/// deep, which is not shown.
#[derive(Debug, Clone, PartialEq)]
pub struct AnyValue(pub Value);

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Levels(SHOWN_LEVELS).deserialize(deserializer).map(AnyValue)
    }
}

/// Reads a value of which so many levels are shown.
#[derive(Clone, Copy)]
struct Levels(usize);

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Levels {
    /// Those of what is nested in this; `None` if it is not to be shown.
    fn below(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

/// What stands for something that is nested too deep.
const TOO_DEEP: &str = "… (nested too deep to be shown)";

impl<'de> Visitor<'de> for Levels {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f32<E>(self, value: f32) -> Result<Value, E> {
        // The shortest text that means it, not the digits that it has with twice the precision.
        let text = value.to_string();
        Ok(text.parse().ok().and_then(Number::from_f64).map_or(text.into(), Value::Number))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    /// What is in a `Some` that has to be told from `None`, or in one of those, is shown as an array of it.
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(below) = self.below() else {
            IgnoredAny::deserialize(deserializer)?;
            return Ok(TOO_DEEP.into());
        };
        below.deserialize(deserializer).map(|value| Value::Array(vec![value]))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Some(below) = self.below() else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(TOO_DEEP.into());
        };
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let Some(below) = self.below() else {
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(TOO_DEEP.into());
        };
        let mut all = Map::new();
        while let Some((key, value)) = entries.next_entry_seed(below, below)? {
            let key = if let Value::String(key) = key { key } else { key.to_string() };
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;
    use serde_json::json;
    use watershed_state::{decode, encode};

    use super::*;

    fn shown<T: Serialize>(value: &T) -> Value {
        let mut bytes = Vec::new();
        encode(value, &mut bytes).unwrap();
        decode::<AnyValue>(&mut bytes.as_slice()).unwrap().0
    }

    #[derive(Serialize)]
    enum Shape {
        Point,
        Circle(u8),
        Named { sides: u8 },
    }

    #[test]
    fn values_are_shown_as_serde_shows_them_in_json() {
        assert_eq!(
            shown(&(1, -2, u64::MAX, "x", true, None::<u8>)),
            json!([1, -2, u64::MAX, "x", true, null])
        );
        assert_eq!(shown(&(0.1_f32, 0.1_f64)), json!([0.1, 0.1]));
        let shapes = [Shape::Point, Shape::Circle(1), Shape::Named { sides: 3 }];
        assert_eq!(shown(&shapes), json!(["Point", { "Circle": 1 }, { "Named": { "sides": 3 } }]));
    }

    #[derive(Serialize, Default)]
    struct Node {
        depth: u32,
        next: Option<Box<Node>>,
    }

    #[test]
    fn a_value_that_is_nested_deep_is_shown_as_far_as_json_is_read() {
        for levels in [1, 99, 100, 101, 700, 1_024] {
            let mut node = Node::default();
            for depth in 1..levels {
                node = Node { depth, next: Some(Box::new(node)) };
            }
            let value = shown(&node);
            let text = value.to_string();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            assert_eq!(text.contains(TOO_DEEP), levels > 100, "{levels}");
            assert!(text.starts_with(&format!(r#"{{"depth":{}"#, levels - 1)), "{text}");
        }
    }

    #[test]
    fn options_in_options_are_shown_apart() {
        assert_eq!(shown(&None::<Option<u8>>), json!(null));
        assert_eq!(shown(&Some(None::<u8>)), json!([null]));
        assert_eq!(shown(&Some(Some(7_u8))), json!(7));
    }

    #[test]
    fn what_json_does_not_have_is_shown_nevertheless() {
        assert_eq!(shown(&(f64::NAN, f32::INFINITY)), json!(["NaN", "inf"]));
        let map = BTreeMap::from([((1, "a"), 2)]);
        assert_eq!(shown(&map), json!({ "[1,\"a\"]": 2 }));
        assert_eq!(shown(&u128::from(u8::MAX))[15], json!(255));
    }
}
