//! Dead letters: records that were left out, with all that is known of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use watershed_state::{Data, SHOWN_LEVELS, decode, encode, levels};

use crate::error::{UserResult, chain_of};
use crate::process::{SideOutput, TimerKind};
use crate::supervision::Stage;

/// A record (or timer) that an operator left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Tells it from all others.
    pub id: String,
    /// Name of the operator.
    pub operator: String,
    /// Number of the instance.
    pub instance: usize,
    /// What was left out.
    pub evidence: Evidence,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether the last attempt ended in a panic rather than an error.
    pub panicked: bool,
    /// The error with its sources, or the message of the panic.
    pub cause: String,
    /// Where it panicked.
    #[serde(default)]
    pub backtrace: Option<String>,
    /// Whether later records of its key wait for it.
    #[serde(default)]
    pub parked: bool,
    /// The letter whose replay failed and gave this one.
    #[serde(default)]
    pub replay_of: Option<String>,
    /// When it was left out, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// What is known of a record that made an operator fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The part of the operator's work that failed.
    pub stage: Stage,
    /// Where in the operator the record was.
    pub place: Place,
    /// The record as JSON; `null` where it has no such form.
    pub payload: serde_json::Value,
    /// The record as the engine encodes it, in Base64: this is what is replayed.
    pub encoded: String,
    /// Its key as JSON, where it has one.
    #[serde(default)]
    pub key: Option<String>,
    /// The frozen hash of its key.
    #[serde(default)]
    pub key_hash: Option<u64>,
    /// Its event time in milliseconds, where it has one.
    #[serde(default)]
    pub timestamp: Option<i64>,
    /// Where in the source it stands, where that is known: in an operator that reads one.
    #[serde(default)]
    pub position: Option<Position>,
    /// The input channel it came on, where that is known.
    #[serde(default)]
    pub channel: Option<u32>,
}

/// Where in an operator a record was when it failed, and where its replay begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It was not a record yet: what a source had read could not be decoded.
    Undecoded,
    /// On its way into the operator.
    Input,
    /// A timer that had come due.
    Timer {
        /// Which clock.
        kind: TimerKind,
        /// For when it was set, in milliseconds.
        at: i64,
    },
    /// Read by the operator, on its way through what is fused to it.
    Output,
    /// On its way into a fused closure that may fail.
    Closure {
        /// Number of the closure among those of the operator that may fail.
        number: u32,
        /// What it is: `try_map` and so on.
        name: String,
    },
}

/// Where in a source a record stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The split.
    pub split: String,
    /// A position in the split, as the reader gives it, as JSON.
    pub position: String,
    /// Records between that position and this one.
    pub record: usize,
}

/// The name of the side output that dead letters leave an operator by.
pub const LETTERS: &str = ".dead-letters";

/// The side output that dead letters leave an operator by.
pub(crate) fn letters() -> SideOutput<DeadLetter> {
    SideOutput::new(LETTERS)
}

impl Evidence {
    /// Of a record.
    pub(crate) fn of<T: Data>(stage: Stage, place: Place, record: &T) -> Self {
        let mut bytes = Vec::new();
        // What cannot be encoded cannot be replayed, and is said of the letter all the same.
        let _ = encode(record, &mut bytes);
        let evidence = Self::encoded(stage, place, &bytes, json_of::<T>);
        let payload = match evidence.payload {
            // It may have a form all the same, where it cannot be read back.
            Value::Null if is_shown(&bytes) => serde_json::to_value(record).unwrap_or_default(),
            payload => payload,
        };
        Self { payload, ..evidence }
    }

    /// Of what a source has read and could not make a record of: as text, as far as it is any.
    pub(crate) fn undecoded(bytes: &[u8]) -> Self {
        Self::encoded(Stage::Decode, Place::Undecoded, bytes, |bytes| {
            String::from_utf8_lossy(bytes).into_owned().into()
        })
    }

    /// Of a record that is there only as the engine encodes it.
    pub(crate) fn encoded(stage: Stage, place: Place, bytes: &[u8], json: ToJson) -> Self {
        Self {
            stage,
            place,
            payload: json(bytes),
            encoded: STANDARD.encode(bytes),
            key: None,
            key_hash: None,
            timestamp: None,
            position: None,
            channel: None,
        }
    }

    /// The bytes of the record.
    ///
    /// # Errors
    /// If they are not what they should be.
    pub fn bytes(&self) -> UserResult<Vec<u8>> {
        Ok(STANDARD.decode(&self.encoded)?)
    }

    /// The record again.
    pub(crate) fn record<T: Data>(&self) -> UserResult<T> {
        decode_record(&self.bytes()?)
    }
}

/// Decodes a record that was left out.
pub(crate) fn decode_record<T: Data>(bytes: &[u8]) -> UserResult<T> {
    let mut input = bytes;
    let record = decode(&mut input).map_err(|error| chain_of(&error))?;
    if input.is_empty() { Ok(record) } else { Err("there is something behind the record".into()) }
}

/// Whether an encoded record is nested so little that it is shown.
fn is_shown(bytes: &[u8]) -> bool {
    levels(bytes).is_ok_and(|levels| levels <= SHOWN_LEVELS)
}

/// Shows an encoded record as JSON.
pub(crate) type ToJson = fn(&[u8]) -> serde_json::Value;

/// [`ToJson`] for records of a type.
pub(crate) fn json_of<T: Data>(bytes: &[u8]) -> serde_json::Value {
    if !is_shown(bytes) {
        return format!("nested more than {SHOWN_LEVELS} levels deep: too deep to be shown").into();
    }
    let mut input = bytes;
    decode::<T>(&mut input).ok().and_then(|record| serde_json::to_value(record).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    struct Node {
        next: Option<Box<Node>>,
    }

    #[test]
    fn a_record_that_is_nested_deep_makes_a_letter_that_can_be_read_and_replayed() {
        for levels in [1, 100, 700, 1_024] {
            let mut node = Node::default();
            for _ in 1..levels {
                node = Node { next: Some(Box::new(node)) };
            }
            let evidence = Evidence::of(Stage::Process, Place::Input, &node);
            let text = serde_json::to_string(&evidence).unwrap();
            let again: Evidence = serde_json::from_str(&text).unwrap();
            assert_eq!(again, evidence);
            assert_eq!(again.payload.is_string(), levels > SHOWN_LEVELS);
            assert_eq!(again.record::<Node>().unwrap(), node);
        }
    }
}
