//! State of an operator's instances that is not tied to a key: lists of elements under names, and how they are divided
//! when the number of instances changes.

#[cfg(test)]
mod tests;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::{CodecError, Section, SectionKind, decode, encode};

/// Who gets which elements of an operator state when it is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redistribution {
    /// Each element goes to one instance.
    List,
    /// Each instance gets all elements of all instances.
    Union,
    /// All instances have the same, so that any one copy will do.
    Broadcast,
}

impl std::fmt::Display for Redistribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Union => "union",
            Self::Broadcast => "broadcast",
        })
    }
}

/// An operator state as one instance has saved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// Its name, by which it is found again.
    pub name: String,
    /// How it is divided.
    pub redistribution: Redistribution,
    /// The elements in order, each encoded.
    pub elements: Vec<Vec<u8>>,
}

impl SavedState {
    /// The name of what all instances of a broadcast process share.
    pub const REPLICA: &str = "shared";

    /// What is saved of a state with so many elements, which `elements` holds one after the other.
    ///
    /// # Errors
    /// Never for a name that is a text.
    pub fn section(
        name: &str,
        redistribution: Redistribution,
        entries: u32,
        elements: &[u8],
    ) -> Result<Section, CodecError> {
        let mut bytes = Vec::new();
        encode(&(name, redistribution), &mut bytes)?;
        bytes.extend_from_slice(elements);
        Ok(Section { kind: SectionKind::OperatorState, group: 0, entries, bytes })
    }

    /// Reads it back, without the type of the elements.
    ///
    /// # Errors
    /// If the section is of another kind, or does not hold as many elements as it says.
    pub fn read(section: &Section) -> Result<Self, CodecError> {
        let (expected, found) = (SectionKind::OperatorState, section.kind);
        if found != expected {
            return Err(CodecError::WrongKind { expected, found });
        }
        let mut rest = section.bytes.as_slice();
        let (name, redistribution) = decode(&mut rest)?;
        let elements = (0..section.entries).map(|_| value(&mut rest)).collect::<Result<_, _>>()?;
        if rest.is_empty() {
            Ok(Self { name, redistribution, elements })
        } else {
            Err(CodecError::Trailing { bytes: rest.len() })
        }
    }
}

/// The bytes of one value, whatever it is.
fn value(input: &mut &[u8]) -> Result<Vec<u8>, CodecError> {
    let start = *input;
    decode::<IgnoredAny>(input)?;
    Ok(start[..start.len() - input.len()].to_vec())
}

/// An operator state as one instance gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealtState {
    /// Its name.
    pub name: String,
    /// How it was divided.
    pub redistribution: Redistribution,
    /// What the instance gets, in order.
    pub elements: Vec<DealtElement>,
}

/// An element that an instance gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealtElement {
    /// Encoded.
    pub bytes: Vec<u8>,
    /// Whether the instance has to save it again if nobody asks for the state: each element is that of one instance,
    /// but those of a broadcast state, of which everybody has a copy.
    pub is_own: bool,
}

/// Who an instance is among those that elements are dealt out to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Which instance, from 0.
    pub index: usize,
    /// How many there are.
    pub parallelism: usize,
    /// How many of them, from the first on, are dealt elements. It counts only if the parallelism has changed.
    pub receiving: usize,
}

/// What an instance gets of what the instances before, in their order, have saved.
///
/// With the same parallelism each instance has its own back. With another one the elements are dealt out in turn, in
/// the order of the instances and of their elements. States are matched by name and redistribution.
pub fn deal(saved: &[Vec<SavedState>], to: Receiver) -> Vec<DealtState> {
    let mut names: Vec<(&str, Redistribution)> =
        saved.iter().flatten().map(|state| (&*state.name, state.redistribution)).collect();
    names.sort_unstable();
    names.dedup();
    let dealt = names.into_iter().map(|(name, redistribution)| {
        let of_name = |state: &&SavedState| state.name == name && state.redistribution == redistribution;
        let of =
            |states: &'_ Vec<SavedState>| states.iter().find(of_name).map(|state| state.elements.clone());
        let by_writer: Vec<Option<Vec<Vec<u8>>>> = saved.iter().map(of).collect();
        let elements = match redistribution {
            Redistribution::Broadcast => one_copy(by_writer, to),
            Redistribution::Union => all(by_writer, to),
            Redistribution::List => {
                let mut elements = all(by_writer, to);
                elements.retain(|element| element.is_own);
                elements
            }
        };
        DealtState { name: name.to_string(), redistribution, elements }
    });
    dealt.collect()
}

/// All elements of all instances.
fn all(by_writer: Vec<Option<Vec<Vec<u8>>>>, to: Receiver) -> Vec<DealtElement> {
    let same = by_writer.len() == to.parallelism;
    let elements = by_writer.into_iter().enumerate().flat_map(|(writer, elements)| {
        elements.unwrap_or_default().into_iter().map(move |bytes| (writer, bytes))
    });
    let numbered = elements.enumerate().map(|(turn, (writer, bytes))| {
        let owner = if same { writer } else { turn % to.receiving.clamp(1, to.parallelism.max(1)) };
        DealtElement { bytes, is_own: owner == to.index }
    });
    numbered.collect()
}

/// The instance's own copy if it is still the same instance and has one, else that of the first that has one.
fn one_copy(mut by_writer: Vec<Option<Vec<Vec<u8>>>>, to: Receiver) -> Vec<DealtElement> {
    let own = if by_writer.len() == to.parallelism { by_writer[to.index].take() } else { None };
    let copy = own.or_else(|| by_writer.into_iter().flatten().next());
    copy.unwrap_or_default().into_iter().map(|bytes| DealtElement { bytes, is_own: true }).collect()
}
