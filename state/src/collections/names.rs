//! What is known of the collections of an operator: their names, and what they hold.

use std::any::TypeId;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::page::Open;
use crate::{CodecError, Section, SectionKind, Ttl, decode, encode};

/// What a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectionKind {
    /// One value for a key.
    Value,
    /// Any number of values, in their order.
    List,
    /// Values by keys of their own.
    Map,
}

/// A collection, as snapshots remember it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionName {
    /// The number under which its pages are kept.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: CollectionKind,
}

/// All collections that an instance knows.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<u32, Named>);

#[derive(Debug)]
struct Named {
    name: String,
    kind: CollectionKind,
    /// How this program uses it.
    used: Option<Used>,
}

/// What a program says of a collection that it uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) item: TypeId,
    pub(super) type_name: &'static str,
    pub(super) open: Open,
    pub(super) ttl: Option<Ttl>,
}

impl Names {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of the collection that is used so. Whether that is the first use of it.
    #[inline]
    pub(super) fn use_as(
        &mut self,
        id: u32,
        name: &str,
        kind: CollectionKind,
        used: Used,
    ) -> Result<bool, CodecError> {
        if let Some(named) = self.0.get_mut(&id) {
            let fits = named.kind == kind
                && named
                    .used
                    .as_ref()
                    .is_none_or(|before| before.item == used.item && before.ttl == used.ttl)
                && named.name == name;
            if fits {
                let is_first = named.used.is_none();
                if is_first {
                    lives_at_all(name, &used)?;
                }
                named.used = Some(used);
                return Ok(is_first);
            }
            return Err(named.refuses(name, kind, used));
        }
        lives_at_all(name, &used)?;
        self.0.insert(id, Named { name: name.to_owned(), kind, used: Some(used) });
        Ok(true)
    }

    /// Whether a collection is a list.
    pub(super) fn is_list(&self, id: u32) -> bool {
        self.0.get(&id).is_some_and(|named| named.kind == CollectionKind::List)
    }

    /// The name of a collection.
    pub(super) fn name_of(&self, id: u32) -> String {
        self.0.get(&id).map_or_else(|| format!("number {id}"), |named| named.name.clone())
    }

    /// How the program uses a collection.
    pub(super) fn used(&self, id: u32) -> Option<&Used> {
        self.0.get(&id)?.used.as_ref()
    }

    /// How long what is in the collections lives that expires.
    pub(super) fn ttls(&self) -> impl Iterator<Item = (u32, Ttl)> {
        self.0.iter().filter_map(|(id, named)| Some((*id, named.used.as_ref()?.ttl?)))
    }

    /// For a snapshot; `None` if there is no collection.
    pub(super) fn save(&self) -> Result<Option<Section>, CodecError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let names = self.0.iter().map(|(id, named)| {
            let Named { name, kind, .. } = named;
            CollectionName { id: *id, name: name.clone(), kind: *kind }
        });
        let mut bytes = Vec::new();
        encode(&names.collect::<Vec<_>>(), &mut bytes)?;
        Ok(Some(Section { kind: SectionKind::CollectionNames, group: 0, entries: 1, bytes }))
    }

    /// Adds what a snapshot has remembered.
    pub(super) fn restore(&mut self, section: &Section) -> Result<(), CodecError> {
        for CollectionName { id, name, kind } in names_in(section)? {
            self.0.entry(id).or_insert(Named { name, kind, used: None });
        }
        Ok(())
    }
}

impl Named {
    #[cold]
    fn refuses(&self, name: &str, kind: CollectionKind, used: Used) -> CodecError {
        let found = match &self.used {
            _ if self.name != name => format!("`{}`, as both names have the same number,", self.name),
            Some(before) if self.kind == kind && before.item == used.item => lives(before.ttl),
            Some(before) if self.kind == kind => before.type_name.to_owned(),
            _ => format!("a {:?}", self.kind).to_lowercase(),
        };
        let expected = match &self.used {
            Some(before) if self.kind == kind && before.item == used.item => lives(used.ttl),
            Some(_) if self.kind == kind => used.type_name.to_owned(),
            _ => format!("a {kind:?}").to_lowercase(),
        };
        CodecError::OtherCollection { name: name.to_owned(), found, expected }
    }
}

/// Refuses a collection in which nothing could ever be found.
fn lives_at_all(name: &str, used: &Used) -> Result<(), CodecError> {
    match used.ttl {
        Some(ttl) if ttl.is_nothing() => Err(CodecError::NoLife { name: name.to_owned() }),
        _ => Ok(()),
    }
}

fn lives(ttl: Option<Ttl>) -> String {
    ttl.map_or("items that live for ever".to_owned(), |ttl| {
        format!("items that live for {} ms", ttl.after_ms())
    })
}

/// The collections that a section of [`SectionKind::CollectionNames`] names.
///
/// # Errors
/// If it does not decode.
pub fn names_in(section: &Section) -> Result<Vec<CollectionName>, CodecError> {
    decode(&mut section.bytes.as_slice())
}
