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

/// A list as long as it is deep.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
struct Node {
    next: Option<Box<Node>>,
}

fn nested(levels: u16) -> Node {
    let mut node = Node::default();
    for _ in 1..levels {
        node = Node { next: Some(Box::new(node)) };
    }
    node
}

/// A tree of variants that hold one another and nothing else.
#[derive(Serialize, Deserialize, Clone, Debug)]
enum Not {
    Not(Box<Not>),
    Yes,
}

/// Options that hold one another and nothing else.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
struct Somes(Option<Box<Somes>>);

#[test]
fn what_is_nested_as_deep_as_may_be_is_read_back_and_what_is_deeper_is_refused_when_it_is_written() {
    let deepest = bytes_of(&nested(MAX_DEPTH));
    assert_eq!(bytes_of(&decode::<Node>(&mut deepest.as_slice()).unwrap()), deepest);
    decode::<serde::de::IgnoredAny>(&mut deepest.as_slice()).unwrap();
    let (mut not, mut somes) = (Not::Yes, Somes::default());
    for _ in 0..MAX_DEPTH {
        (not, somes) = (Not::Not(Box::new(not)), Somes(Some(Box::new(somes))));
    }
    let bytes = bytes_of(&not);
    assert_eq!(bytes_of(&decode::<Not>(&mut bytes.as_slice()).unwrap()), bytes);
    let bytes = bytes_of(&somes);
    assert_eq!(bytes_of(&decode::<Somes>(&mut bytes.as_slice()).unwrap()), bytes);

    let mut out = vec![1];
    let error = encode(&nested(MAX_DEPTH + 1), &mut out).unwrap_err();
    assert_eq!(out, [1]);
    let text = crate::chain_of(&error);
    assert!(
        text.contains("Node") && text.contains("more than 1024 levels") && text.contains("index"),
        "{text}"
    );
    assert!(encode(&Not::Not(Box::new(not)), &mut out).is_err());
    for _ in 0..4 * MAX_DEPTH {
        somes = Somes(Some(Box::new(somes)));
    }
    assert!(encode(&somes, &mut out).is_err());
}

#[test]
fn bytes_that_nest_without_end_are_refused_and_take_no_stack() {
    let arrays = [0x91].repeat(1_000_000);
    assert!(decode::<Vec<Vec<u8>>>(&mut arrays.as_slice()).is_err());
    let text = decode::<Node>(&mut b"\x81\xa4next".repeat(10_000).as_slice()).unwrap_err();
    assert!(crate::chain_of(&text).contains("depth limit"), "{text:?}");
    assert!(decode::<Not>(&mut b"\x81\xa3Not".repeat(100_000).as_slice()).is_err());
    assert!(decode::<Somes>(&mut b"\xc1s".repeat(100_000).as_slice()).is_err());
    // A type that is an option of itself takes no byte for a level.
    assert!(decode::<Somes>(&mut [5_u8].as_slice()).is_err());
    assert!(decode::<serde::de::IgnoredAny>(&mut arrays.as_slice()).is_err());
}

#[test]
fn options_in_options_are_told_apart_and_others_are_written_as_ever() {
    type Nested = Option<Option<Option<u8>>>;
    for value in [None, Some(None), Some(Some(None)), Some(Some(Some(7)))] {
        assert_eq!(reread::<Nested>(&value).unwrap(), value);
    }
    for value in [None, Some(())] {
        assert_eq!(reread::<Option<()>>(&value).unwrap(), value);
    }
    assert_eq!(bytes_of(&Some(Some(7_u8))), [7]);
    assert_eq!(bytes_of(&None::<Option<u8>>), [0xc0]);
    assert_eq!(bytes_of(&Some(None::<u8>)), [0xc1, b's', 0xc0]);
    // As what was a `Some(None)` was written before.
    assert_eq!(decode::<Nested>(&mut [0xc0].as_slice()).unwrap(), None);
    assert_eq!(decode::<Option<()>>(&mut [0xc0].as_slice()).unwrap(), None);
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(untagged)]
#[expect(clippy::option_option, reason = "it is what is tested")]
enum Untagged {
    Number(u64),
    Address { ip: std::net::IpAddr },
    Nested { nested: Option<Option<u8>> },
}

#[test]
fn types_that_are_text_for_people_are_read_back_also_where_serde_buffers_them() {
    let ip = std::net::IpAddr::from([127, 0, 0, 1]);
    assert_eq!(bytes_of(&ip), b"\xc1h\xa9127.0.0.1");
    for value in [Untagged::Number(3), Untagged::Address { ip }, Untagged::Nested { nested: Some(None) }] {
        assert_eq!(reread::<Untagged>(&value).unwrap(), value);
        read_back(&value, &bytes_of(&value)).unwrap();
    }
    assert_eq!(reread::<(u8, Vec<std::net::IpAddr>)>(&(1, vec![ip, ip])).unwrap(), (1, vec![ip, ip]));
}

#[test]
fn what_was_written_without_a_mark_is_read_as_it_was_written() {
    let value = (std::net::IpAddr::from([127, 0, 0, 1]), Some(std::net::SocketAddr::from(([1; 16], 80))));
    let mut before = Vec::new();
    value.serialize(&mut rmp_serde::Serializer::new(&mut before).with_struct_map()).unwrap();
    assert!(before != bytes_of(&value));
    let mut input = before.as_slice();
    assert_eq!(decode::<(std::net::IpAddr, Option<std::net::SocketAddr>)>(&mut input).unwrap(), value);
    assert!(input.is_empty());
}

#[test]
fn a_value_that_its_type_cannot_read_is_refused_with_the_type_and_the_cure() {
    #[derive(Serialize, Deserialize, Clone)]
    #[serde(tag = "kind")]
    enum Tagged {
        Wide { wide: i128 },
    }
    let value = Tagged::Wide { wide: 5 };
    let error = read_back(&value, &bytes_of(&value)).unwrap_err();
    let text = crate::chain_of(&error);
    assert!(text.contains("Tagged") && text.contains("not be read back"), "{text}");
    assert!(text.contains("keep those as text"), "{text}");
}

#[test]
fn a_value_that_is_another_one_when_it_is_read_is_refused() {
    #[derive(Serialize, Deserialize, Clone)]
    struct Forgets {
        #[serde(skip_deserializing)]
        count: u64,
    }
    let value = Forgets { count: 7 };
    let text = read_back(&value, &bytes_of(&value)).unwrap_err().to_string();
    assert!(text.contains("Forgets") && text.contains("#[serde(skip)]"), "{text}");
    let nothing = Forgets { count: 0 };
    read_back(&nothing, &bytes_of(&nothing)).unwrap();
}

#[test]
fn sets_and_maps_are_read_back_whatever_their_order() {
    use std::collections::{BinaryHeap, HashMap, HashSet};
    let set: HashSet<u32> = (0..1_000).collect();
    let map: HashMap<u32, HashSet<u32>> = (0..30).map(|n| (n, (0..n).collect())).collect();
    let value = (set, map, BinaryHeap::from([1, 5, 3, 2, 9]));
    read_back(&value, &bytes_of(&value)).unwrap();
}

#[test]
fn what_is_written_differently_each_time_is_not_compared() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    #[derive(Clone, Deserialize)]
    struct Since(#[expect(dead_code, reason = "it is only written")] u64);
    impl Serialize for Since {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_newtype_struct("Since", &WRITTEN.fetch_add(1, Ordering::Relaxed))
        }
    }
    let value = Since(0);
    read_back(&value, &bytes_of(&value)).unwrap();
}

#[test]
fn a_serialize_that_announces_another_length_than_it_writes_is_refused() {
    struct Lies;
    impl Serialize for Lies {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut seq = serializer.serialize_seq(Some(3))?;
            seq.serialize_element(&1)?;
            seq.end()
        }
    }
    let text = crate::chain_of(&encode(&Lies, &mut Vec::new()).unwrap_err());
    assert!(text.contains("Lies") && text.contains("says that 3 elements come, and 1 do"), "{text}");
}

proptest! {
    /// The bytes are those of the encoder of versions before, for what is neither marked nor refused.
    #[test]
    fn what_needs_no_mark_is_written_as_ever(
        value: (u8, i64, u128, Option<String>, Vec<(bool, char)>, BTreeMap<u32, Option<i16>>, f64),
        kind in 0..3_u8,
    ) {
        let event = match kind {
            0 => Event::Opened,
            1 => Event::Moved { by: value.1 as i32 },
            _ => Event::Closed(value.3.clone().unwrap_or_default(), value.0),
        };
        let all = (value, event, First::default(), f32::MIN, ());
        let mut before = Vec::new();
        all.serialize(&mut rmp_serde::Serializer::new(&mut before).with_struct_map()).unwrap();
        prop_assert_eq!(bytes_of(&all), before);
    }

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
