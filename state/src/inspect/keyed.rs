//! The keyed state of an operator, from all that it was saved in.

use std::iter;
use std::path::Path;

use serde::de::IgnoredAny;

use crate::database::{Changes, Database};
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
}

/// As [`Snapshots::keyed_state`](super::Snapshots::keyed_state).
pub(super) fn visit(
    place: &SnapshotPlace,
    operator: &OperatorPart,
    scratch: &Path,
    visit: &mut dyn FnMut(KeyedEntry<'_>) -> bool,
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
        let more = match &saved.database {
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
    let mut all = Changes::new();
    for layer in iter::once(&saved.sections).chain(&saved.changes) {
        for kind in [SectionKind::RemovedKeys, SectionKind::KeyedState] {
            for section in layer.iter().filter(|section| section.kind == kind) {
                add(section, &mut all)?;
            }
        }
    }
    Ok(all)
}

fn add(section: &Section, all: &mut Changes) -> Result<(), CodecError> {
    let mut rest = section.bytes.as_slice();
    for _ in 0..section.entries {
        let mut key = section.group.to_be_bytes().to_vec();
        key.extend_from_slice(value(&mut rest)?);
        let state = match section.kind {
            SectionKind::RemovedKeys => None,
            _ => Some(value(&mut rest)?.to_vec()),
        };
        all.insert(key, state);
    }
    if rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing { bytes: rest.len() }) }
}

/// The bytes of one value, whatever it is.
fn value<'b>(input: &mut &'b [u8]) -> Result<&'b [u8], CodecError> {
    let start = *input;
    decode::<IgnoredAny>(input)?;
    Ok(&start[..start.len() - input.len()])
}

/// Shows what a database has, with changes over it. Whether more is wanted.
fn merge(
    database: &dyn Database,
    changes: Changes,
    visit: &mut dyn FnMut(KeyedEntry<'_>) -> bool,
) -> Result<bool, StoreError> {
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
fn rest(
    changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    visit: &mut dyn FnMut(KeyedEntry<'_>) -> bool,
) -> bool {
    changes.into_iter().all(|(key, state)| show(&key, state.as_deref(), visit))
}

/// Shows a key as it is in a database, unless it has nothing. Whether more is wanted.
fn show(key: &[u8], state: Option<&[u8]>, visit: &mut dyn FnMut(KeyedEntry<'_>) -> bool) -> bool {
    match (key.split_first_chunk(), state) {
        (Some((group, key)), Some(state)) => {
            visit(KeyedEntry { group: u16::from_be_bytes(*group), key, state })
        }
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
        let key = |name: &str| [&[0, 3], name.as_bytes()].concat();
        let some = |state: &str| Some(state.as_bytes().to_vec());
        let database = MapDatabase::default();
        let stored = [("b", "1"), ("d", "1"), ("f", "1")];
        database.write(&stored.map(|(name, state)| (key(name), some(state))).into()).unwrap();
        let changes = [("a", some("2")), ("b", None), ("c", None), ("d", some("2")), ("g", some("2"))];
        let changes = Changes::from(changes.map(|(name, state)| (key(name), state)));
        let read = |limit: usize| {
            let mut found = Vec::new();
            let more = merge(&database, changes.clone(), &mut |entry| {
                assert_eq!(entry.group, 3);
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                found.push(text(entry.key) + &text(entry.state));
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
