use std::collections::BTreeMap;
use std::error::Error;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).unwrap();
    bytes
}

fn reread<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, CodecError> {
    decode(&mut bytes_of(value).as_slice())
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Default)]
struct First {
    count: u64,
    name: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Event {
    Opened,
    Moved { by: i32 },
    Closed(String, u8),
}

#[test]
fn a_struct_may_gain_fields_with_a_default() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Second {
        count: u64,
        name: String,
        #[serde(default)]
        tags: Vec<String>,
    }
    let read: Second = reread(&First { count: 3, name: "n".into() }).unwrap();
    assert_eq!(read, Second { count: 3, name: "n".into(), tags: vec![] });
}

#[test]
fn a_struct_may_lose_and_reorder_and_alias_fields() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Lost {
        name: String,
    }
    #[derive(Deserialize, PartialEq, Debug)]
    struct Reordered {
        #[serde(alias = "name")]
        title: String,
        count: u64,
    }
    let first = First { count: 3, name: "n".into() };
    assert_eq!(reread::<Lost>(&first).unwrap(), Lost { name: "n".into() });
    assert_eq!(reread::<Reordered>(&first).unwrap(), Reordered { title: "n".into(), count: 3 });
}

#[test]
fn numbers_may_grow_wider() {
    assert_eq!(reread::<u64>(&7_u8).unwrap(), 7);
    assert_eq!(reread::<i64>(&-7_i32).unwrap(), -7);
    assert!(reread::<u8>(&700_u64).is_err());
}

#[test]
fn an_enum_may_gain_and_reorder_variants() {
    #[derive(Deserialize, PartialEq, Debug)]
    enum Later {
        Closed(String, u8),
        Paused,
        Opened,
        Moved { by: i32 },
    }
    assert_eq!(reread::<Later>(&Event::Opened).unwrap(), Later::Opened);
    assert_eq!(reread::<Later>(&Event::Moved { by: -1 }).unwrap(), Later::Moved { by: -1 });
    assert_eq!(reread::<Later>(&Event::Closed("x".into(), 1)).unwrap(), Later::Closed("x".into(), 1));
    assert!(bytes_of(&"Paused").len() > 1 && Later::Paused == reread(&"Paused").unwrap());
}

#[test]
fn a_field_without_default_that_is_missing_is_an_error_that_names_the_type_and_the_field() {
    #[derive(Deserialize, Debug)]
    struct Demanding {
        #[expect(dead_code, reason = "it is never decoded")]
        required: u64,
    }
    let error = reread::<Demanding>(&First::default()).unwrap_err();
    assert!(error.to_string().contains("Demanding"), "{error}");
    assert!(error.source().is_some_and(|source| source.to_string().contains("required")), "{error:?}");
}

#[test]
fn values_follow_one_another_and_decoding_stops_after_each() {
    let mut bytes = bytes_of(&First { count: 1, name: "a".into() });
    encode("text", &mut bytes).unwrap();
    encode(&vec![Event::Opened, Event::Moved { by: 5 }], &mut bytes).unwrap();
    let mut input = bytes.as_slice();
    assert_eq!(decode::<First>(&mut input).unwrap().count, 1);
    assert_eq!(decode::<String>(&mut input).unwrap(), "text");
    assert_eq!(decode::<Vec<Event>>(&mut input).unwrap().len(), 2);
    assert!(input.is_empty());
}

#[test]
fn a_value_that_is_cut_off_anywhere_is_an_error() {
    let bytes =
        bytes_of(&(First { count: 70_000, name: "a long name, longer than short".into() }, Event::Opened));
    for length in 0..bytes.len() {
        assert!(decode::<(First, Event)>(&mut &bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_value_that_refuses_leaves_the_output_as_it_was() {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let mut out = vec![1, 2, 3];
    let error = encode(&("written before the failure", Refuses), &mut out).unwrap_err();
    assert_eq!(out, [1, 2, 3]);
    assert!(error.to_string().contains("Refuses"), "{error}");
}

/// The bytes are the format of every snapshot: this test fails when an update of the encoder changes them.
#[test]
fn the_encoding_is_messagepack_with_field_names() {
    let bytes = bytes_of(&(First { count: 300, name: "n".into() }, Event::Moved { by: -1 }));
    assert_eq!(bytes, b"\x92\x82\xa5count\xcd\x01\x2c\xa4name\xa1n\x81\xa5Moved\x81\xa2by\xff");
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(
        value: (u8, i64, u128, Option<String>, Vec<(bool, char)>, BTreeMap<u32, Option<i16>>, f64),
        rest: Vec<u8>,
    ) {
        prop_assume!(!value.6.is_nan());
        let mut bytes = bytes_of(&value);
        bytes.extend(&rest);
        let mut input = bytes.as_slice();
        prop_assert_eq!(decode::<(u8, i64, u128, Option<String>, Vec<(bool, char)>, BTreeMap<u32, Option<i16>>, f64)>(
            &mut input).unwrap(), value);
        prop_assert_eq!(input, rest);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = decode::<(First, Vec<Event>, BTreeMap<String, Option<u8>>)>(&mut bytes.as_slice());
        let _ = decode::<First>(&mut bytes.as_slice());
    }
}
