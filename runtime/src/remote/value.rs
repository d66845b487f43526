//! Values of any type, as JSON: decoded without the types of the program.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What is encoded, whatever its type. Bytes become an array of numbers, keys of maps that are no text become their JSON,
/// and numbers that JSON does not have become text.
#[derive(Debug, Clone, PartialEq)]
pub struct AnyValue(pub Value);

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor).map(AnyValue)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
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

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(AnyValue(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((AnyValue(key), AnyValue(value))) = entries.next_entry()? {
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

    #[test]
    fn what_json_does_not_have_is_shown_nevertheless() {
        assert_eq!(shown(&(f64::NAN, f32::INFINITY)), json!(["NaN", "inf"]));
        let map = BTreeMap::from([((1, "a"), 2)]);
        assert_eq!(shown(&map), json!({ "[1,\"a\"]": 2 }));
        assert_eq!(shown(&u128::from(u8::MAX))[15], json!(255));
    }
}
