use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Quote {
    card: String,
    prices: Vec<f64>,
    limit: Option<f32>,
    nested: Nested,
    by_name: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    skipped: Option<f64>,
    wide: u128,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
enum Nested {
    #[default]
    Nothing,
    Newtype(f64),
    Tuple(u8, f64),
    Struct {
        ratio: f64,
    },
}

fn quote() -> Quote {
    Quote {
        card: "a\n\"b\"".into(),
        prices: vec![0.1, -0.0, 1e300],
        limit: Some(1.5),
        by_name: BTreeMap::from([("one".into(), 1.0)]),
        wide: u128::MAX,
        ..Quote::default()
    }
}

fn json(record: &impl Serialize) -> Result<String, String> {
    let mut bytes = Vec::new();
    json_into(&mut bytes, record).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn a_record_of_numbers_is_written_as_ever_and_can_be_read_back() {
    for nested in
        [Nested::Nothing, Nested::Newtype(1.5), Nested::Tuple(1, 2.5), Nested::Struct { ratio: 0.5 }]
    {
        let record = Quote { nested, ..quote() };
        let written = json(&record).unwrap();
        assert_eq!(written, serde_json::to_string(&record).unwrap());
        assert_eq!(serde_json::from_str::<Quote>(&written).unwrap(), record);
    }
    assert_eq!(json(&((), Some(3), None::<u8>, 'x', [1.5_f32])).unwrap(), "[null,3,null,\"x\",[1.5]]");
}

#[test]
fn a_float_that_json_does_not_have_is_refused_with_its_place() {
    let refused = |record: Quote, at: &str| {
        let said = json(&record).unwrap_err();
        assert!(said.starts_with(&format!("`{at}` of a record is ")), "{at}: {said}");
        assert!(said.contains("could not be read back"), "{said}");
    };
    refused(Quote { prices: vec![1.0, f64::NAN], ..quote() }, "prices[1]");
    refused(Quote { limit: Some(f32::INFINITY), ..quote() }, "limit");
    refused(Quote { nested: Nested::Newtype(f64::NEG_INFINITY), ..quote() }, "nested.Newtype");
    refused(Quote { nested: Nested::Tuple(1, f64::NAN), ..quote() }, "nested[1]");
    refused(Quote { nested: Nested::Struct { ratio: f64::NAN }, ..quote() }, "nested.ratio");
    refused(Quote { by_name: BTreeMap::from([("one".into(), f64::NAN)]), ..quote() }, "by_name[…]");
    refused(Quote { skipped: Some(f64::NAN), ..quote() }, "skipped");
    let said = json(&f64::NAN).unwrap_err();
    assert!(said.starts_with("the record is NaN"), "{said}");
}

#[test]
fn what_does_not_fit_json_for_another_reason_is_told_as_that() {
    let said = json(&BTreeMap::from([((1, 2), 3)])).unwrap_err();
    assert!(said.contains("keys of maps are strings"), "{said}");
}
