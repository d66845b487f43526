//! Changing the states of an operator in a savepoint, for instance into those of a type that cannot read the old ones.

use serde::Serialize;
use serde::de::DeserializeOwned;
use watershed_actors::{UserResult, chain_of};
use watershed_state::{
    Key, KeyGroups, KeyedEntry, OperatorPart, SavedInstance, SectionKind, encode, read_saved, saved_timers,
    write_time,
};

use crate::error::{Error, ErrorKind, Result};
use crate::offline::parts::Parts;
use crate::offline::{SavepointReader, SavepointWriter, codec_error, decoded_entry, store_error};
use crate::scratch::Scratch;

impl SavepointWriter {
    /// Gives each key of an operator the state that `change` makes of the one it had, or none. What else there is of
    /// the operator stays as it is: timers, also of keys without a state, how far event time has come, records that
    /// wait. Returns how many keys have a state.
    ///
    /// The states are written as they are in memory, whichever backend the operator has: an instance that begins with
    /// them reads its share of them at once.
    ///
    /// # Errors
    /// If the snapshot that is changed has no such operator, it has been changed already, its keys or states are of
    /// other types, `change` fails, or a disk refuses.
    pub fn transform<K: Key, Old: DeserializeOwned, New: Serialize>(
        &mut self,
        operator: &str,
        mut change: impl FnMut(&K, Old) -> UserResult<Option<New>>,
    ) -> Result<u64> {
        let Some(part) = self.kept.get(operator).cloned() else { return Err(self.nothing_of(operator)) };
        let Some(from) = self.from.take() else { return Err(self.nothing_of(operator)) };
        let changed = self.transform_part(&from, &part, &mut change);
        self.from = Some(from);
        changed
    }

    fn transform_part<K: Key, Old: DeserializeOwned, New: Serialize>(
        &mut self,
        from: &SavepointReader,
        part: &OperatorPart,
        change: &mut impl FnMut(&K, Old) -> UserResult<Option<New>>,
    ) -> Result<u64> {
        let name = &part.name;
        let (_, groups) = from.keyed_operator(name)?;
        let mut parts = self.parts(name, groups, part.instances.len())?;
        let objects = &from.snapshots.place().objects;
        for instance in &part.instances {
            let saved = read_saved(objects, instance).map_err(|error| store_error(name, &error))?;
            for section in saved.sections.iter().filter(|section| !section.kind.adds_up()) {
                let written = parts.write(instance.instance as usize, section);
                written.map_err(|error| store_error(name, &error))?;
            }
            copy_timers(name, &saved, &mut parts)?;
        }
        let keys = copy_states(from, part, groups, &mut parts, change)?;
        let part = parts.finish(&part.kind).map_err(|error| store_error(name, &error))?;
        self.add(part);
        Ok(keys)
    }
}

fn copy_timers(operator: &str, saved: &SavedInstance, parts: &mut Parts) -> Result<()> {
    for kind in [SectionKind::EventTimers, SectionKind::ProcessingTimers] {
        let timers = saved_timers(saved, kind).map_err(|error| codec_error(operator, "a timer", &error))?;
        for timer in timers {
            let written = parts.entry(kind, timer.group, |out| timer.write(out));
            written.map_err(|error| store_error(operator, &error))?;
        }
    }
    Ok(())
}

fn copy_states<K: Key, Old: DeserializeOwned, New: Serialize>(
    from: &SavepointReader,
    part: &OperatorPart,
    groups: KeyGroups,
    parts: &mut Parts,
    change: &mut impl FnMut(&K, Old) -> UserResult<Option<New>>,
) -> Result<u64> {
    let name = &part.name;
    let (scratch, mut keys) = (Scratch::temporary(), 0);
    let mut copy = |entry: KeyedEntry<'_>| -> Result<()> {
        let (key, old) = decoded_entry::<K, Old>(name, groups, entry)?;
        let changed = change(&key, old).map_err(|error| {
            let why = chain_of(&*error);
            Error::new(ErrorKind::User, format!("a state of `{name}` cannot be changed: {why}"))
        })?;
        let Some(new) = changed else { return Ok(()) };
        keys += 1;
        let written = parts.entry(SectionKind::KeyedState, entry.group, |out| {
            encode(&key, out)?;
            write_time(entry.used_ms, out);
            encode(&new, out)
        });
        written.map_err(|error| store_error(name, &error))
    };
    let mut copied = Ok(());
    let read = from.snapshots.keyed_state(part, scratch.folder(), &mut |entry| {
        copied = copy(entry);
        copied.is_ok()
    });
    read.map_err(|error| store_error(name, &error))?;
    copied?;
    copy_collections(from, part, &scratch, parts)?;
    Ok(keys)
}

/// What keys have in collections stays as it is.
fn copy_collections(
    from: &SavepointReader,
    part: &OperatorPart,
    scratch: &Scratch,
    parts: &mut Parts,
) -> Result<()> {
    let mut copied = Ok(());
    let read = from.snapshots.collections(part, scratch.folder(), &mut |entry| {
        copied = parts.entry(SectionKind::Collections, entry.group, |out| {
            entry.write(out);
            Ok(())
        });
        copied.is_ok()
    });
    read.and(copied).map_err(|error| store_error(&part.name, &error))
}
