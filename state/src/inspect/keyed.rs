//! The keyed state of an operator, from all that it was saved in.

use std::path::Path;

use serde::de::IgnoredAny;

use crate::collections::{items_of, split_numbers};
use crate::database::{Changes, Database, split_key};
use crate::table::split_time;
use crate::{
    CodecError, OperatorPart, SavedDatabase, SavedInstance, Section, SectionKind, SnapshotPlace, StoreError,
    decode, read_saved,
};

/// A key and its state, as they are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyedEntry<'e> {
    /// The key group.
    pub group: u16,
    /// The encoded key.
    pub key: &'e [u8],
    /// The encoded state.
    pub state: &'e [u8],
    /// When it was used last, in milliseconds, if it expires: it may have.
    pub used_ms: Option<i64>,
}

/// A page of what a key has in a collection, as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CollectionEntry<'e> {
    /// The key group.
    pub group: u16,
    /// The encoded key.
    pub key: &'e [u8],
    /// The [number](crate::CollectionName::id) of the collection.
    pub collection: u32,
    /// The number of the page.
    pub page: u32,
    /// The encoded items, one value: a list, of pairs if it is a map.
    pub items: &'e [u8],
    /// All of the encoded page.
    encoded: &'e [u8],
}

impl CollectionEntry<'_> {
    /// Appends the page as it is in a section of [`SectionKind::Collections`].
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key);
        out.extend_from_slice(&self.collection.to_be_bytes());
        out.extend_from_slice(&self.page.to_be_bytes());
        out.extend_from_slice(self.encoded);
    }
}

/// An entry of any table: group, table, encoded key and state.
type Visit<'v> = &'v mut dyn FnMut(u16, u8, &[u8], &[u8]) -> bool;

/// As [`Snapshots::keyed_state`](super::Snapshots::keyed_state).
pub(super) fn states(
    place: &SnapshotPlace,
    operator: &OperatorPart,
    scratch: &Path,
    show: &mut dyn FnMut(KeyedEntry<'_>) -> bool,
) -> Result<(), StoreError> {
    visit(place, operator, scratch, &mut |group, space, key, mut state| {
        let used_ms = split_time(&mut state);
        space != 0 || show(KeyedEntry { group, key, state, used_ms })
    })
}

/// As [`Snapshots::collections`](super::Snapshots::collections).
pub(super) fn collections(
    place: &SnapshotPlace,
    operator: &OperatorPart,
    scratch: &Path,
    show: &mut dyn FnMut(CollectionEntry<'_>) -> bool,
) -> Result<(), StoreError> {
    let mut broken = false;
    visit(place, operator, scratch, &mut |group, space, key, encoded| {
        if space != 1 {
            return true;
        }
        let numbers = key.split_last_chunk::<8>();
        let of = numbers.and_then(|(key, numbers)| Some((key, split_numbers(&mut numbers.as_slice())?)));
        let (Some((key, (collection, page))), Some(items)) = (of, items_of(encoded)) else {
            broken = true;
            return false;
        };
        show(CollectionEntry { group, key, collection, page, items, encoded })
    })?;
    let source = CodecError::Short { inside: "a page of a collection" };
    if broken { Err(StoreError::Codec { path: place.location(), source }) } else { Ok(()) }
}

fn visit(
    place: &SnapshotPlace,
    operator: &OperatorPart,
    scratch: &Path,
    visit: Visit<'_>,
) -> Result<(), StoreError> {
    let mut parts: Vec<_> = operator.instances.iter().collect();
    // So the groups are in order, too.
    parts.sort_by_key(|part| part.instance);
    for part in parts {
        let saved = read_saved(&place.objects, part)?;
        let changes = gather(&saved).map_err(|source| {
            let path = place.objects.location(part.file.as_ref().map_or("", |file| &file.path));
            StoreError::Codec { path, source }
        })?;
        // One that was never given anything has no files to be opened.
        let database = saved.database.as_ref().filter(|database| !database.copy.files.is_empty());
        let more = match database {
            None => rest(changes, visit),
            Some(database) => {
                let scratch = scratch.join(format!("instance-{}", part.instance));
                merge(open(database, &scratch)?.as_ref(), changes, visit)?
            }
        };
        if !more {
            break;
        }
    }
    Ok(())
}

/// All that the sections say, the later over the earlier, by key as it is in a database.
fn gather(saved: &SavedInstance) -> Result<Changes, CodecError> {
    use SectionKind::{Collections, KeyedState, RemovedKeys, RemovedPages};

    let mut all = Changes::new();
    for layer in saved.layers() {
        for kind in [RemovedKeys, RemovedPages, KeyedState, Collections] {
            for section in layer.iter().filter(|section| section.kind == kind) {
                add(section, &mut all)?;
            }
        }
    }
    Ok(all)
}

fn add(section: &Section, all: &mut Changes) -> Result<(), CodecError> {
    let mut rest = section.bytes.as_slice();
    let is_page = matches!(section.kind, SectionKind::Collections | SectionKind::RemovedPages);
    let is_gone = matches!(section.kind, SectionKind::RemovedKeys | SectionKind::RemovedPages);
    for _ in 0..section.entries {
        let mut key = section.group.to_be_bytes().to_vec();
        key.push(u8::from(is_page));
        key.extend_from_slice(value(&mut rest)?);
        if is_page {
            let (numbers, after) =
                rest.split_first_chunk::<8>().ok_or(CodecError::Short { inside: "a page's key" })?;
            key.extend_from_slice(numbers);
            rest = after;
        }
        let state = if is_gone { None } else { Some(value(&mut rest)?.to_vec()) };
        all.insert(key, state);
    }
    if rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing { bytes: rest.len() }) }
}

/// The bytes of one value, whatever it is, with the time of its last use if there is one.
fn value<'b>(input: &mut &'b [u8]) -> Result<&'b [u8], CodecError> {
    let start = *input;
    split_time(input);
    decode::<IgnoredAny>(input)?;
    Ok(&start[..start.len() - input.len()])
}

/// Shows what a database has, with changes over it. Whether more is wanted.
fn merge(database: &dyn Database, changes: Changes, visit: Visit<'_>) -> Result<bool, StoreError> {
    let mut changes = changes.into_iter().peekable();
    let mut more = true;
    database.scan(&(0..u16::MAX), &mut |key, state| {
        while more && let Some((key, state)) = changes.next_if(|(changed, _)| changed.as_slice() < key) {
            more = show(&key, state.as_deref(), visit);
        }
        if more {
            more = match changes.next_if(|(changed, _)| changed == key) {
                Some((_, state)) => show(key, state.as_deref(), visit),
                None => show(key, Some(state), visit),
            };
        }
        more
    })?;
    Ok(more && rest(changes, visit))
}

/// Shows what is in memory. Whether more is wanted.
fn rest(changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>, visit: Visit<'_>) -> bool {
    changes.into_iter().all(|(key, state)| show(&key, state.as_deref(), visit))
}

/// Shows a key as it is in a database, unless it has nothing. Whether more is wanted.
fn show(key: &[u8], state: Option<&[u8]>, visit: Visit<'_>) -> bool {
    match (split_key(key), state) {
        (Some((group, space, key)), Some(state)) => visit(group, space, key, state),
        _ => true,
    }
}

#[cfg(feature = "rocksdb")]
fn open(saved: &SavedDatabase, scratch: &Path) -> Result<Box<dyn Database>, StoreError> {
    // It is only read: nothing needs to be tidied up in the background.
    let config = crate::RocksDb::new().memory_bytes(64 * 1024 * 1024).deterministic();
    let database = crate::backend::open(&config, &(0..u16::MAX), scratch, &[saved])?;
    Ok(Box::new(database))
}

#[cfg(not(feature = "rocksdb"))]
fn open(_saved: &SavedDatabase, scratch: &Path) -> Result<Box<dyn Database>, StoreError> {
    Err(StoreError::NoDatabase { scratch: scratch.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::testing::MapDatabase;

    #[test]
    fn changes_lie_over_the_database_wherever_they_are_in_the_order() {
        let key = |name: &str| [&[0, 3, 0], name.as_bytes()].concat();
        let some = |state: &str| Some(state.as_bytes().to_vec());
        let database = MapDatabase::default();
        let stored = [("b", "1"), ("d", "1"), ("f", "1")];
        database.write(&stored.map(|(name, state)| (key(name), some(state))).into()).unwrap();
        let changes = [("a", some("2")), ("b", None), ("c", None), ("d", some("2")), ("g", some("2"))];
        let changes = Changes::from(changes.map(|(name, state)| (key(name), state)));
        let read = |limit: usize| {
            let mut found = Vec::new();
            let more = merge(&database, changes.clone(), &mut |group, space, key, state| {
                assert_eq!((group, space), (3, 0));
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                found.push(text(key) + &text(state));
                found.len() < limit
            });
            assert_eq!(more.unwrap(), found.len() < limit);
            found
        };
        assert_eq!(read(usize::MAX), ["a2", "d2", "f1", "g2"]);
        for limit in 1..=4 {
            assert_eq!(read(limit).len(), limit);
        }
    }
}
