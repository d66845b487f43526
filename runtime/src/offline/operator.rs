//! Writing what an operator is to remember.

use watershed_actors::{Clock, SystemClock, TimerKind, guard};
use watershed_state::{
    Collection, Collections, Data, Key, KeyGroups, Redistribution, SavedState, Section, SectionKind,
    SliceProgress, State, chain_of, encode, hash_key,
};

use crate::error::{Error, Result};
use crate::offline::SavepointWriter;
use crate::offline::databases::Databases;
use crate::offline::parts::Parts;
use crate::offline::reader::section_kind;
use crate::offline::{codec_error, store_error};

/// Writes the keys of one operator into a savepoint, in any order, as they come. Of those that are to be in memory no
/// more than some megabytes are here at a time; where they are to be in RocksDB, each instance that there will be has
/// its budget of memory here, too. See [`SavepointWriter::operator`].
#[derive(Debug)]
pub struct OperatorWriter<'w, K, S> {
    writer: &'w mut SavepointWriter,
    operator: String,
    groups: KeyGroups,
    parts: Parts,
    /// Where the states are, if not there.
    databases: Option<Databases<K, S>>,
    /// Collections of keys that are not written yet, and how many items they have.
    collections: (Collections<K>, usize),
    keys: u64,
    /// Timers so far: those of the same time fire in the order in which they were set.
    timers: u64,
    watermark: Option<i64>,
    /// What all instances share.
    shared: Option<Section>,
}

impl<'w, K: Key, S: State> OperatorWriter<'w, K, S> {
    pub(super) fn new(
        writer: &'w mut SavepointWriter,
        operator: &str,
        (parts, databases): (Parts, Option<Databases<K, S>>),
        groups: KeyGroups,
    ) -> Self {
        Self {
            writer,
            operator: operator.to_string(),
            groups,
            parts,
            databases,
            collections: (fresh(groups), 0),
            keys: 0,
            timers: 0,
            watermark: None,
            shared: None,
        }
    }

    /// Gives a key its state. A key must not come twice. That is found here where states go into a database. Else it
    /// would take all keys in memory: a job that starts from the savepoint finds it, and does not start.
    ///
    /// # Errors
    /// If they cannot be encoded, or the disk refuses: the operator is not written then.
    pub fn put(&mut self, key: &K, state: &S) -> Result<()> {
        let group = self.groups.group_of(hash_key(key));
        if let Some(databases) = &mut self.databases {
            databases.put(self.parts.instance_of(group), key, state)?;
        } else {
            let written = self.parts.entry(SectionKind::KeyedState, group, |out| {
                encode(key, out)?;
                encode(state, out)
            });
            written.map_err(|error| store_error(&self.operator, &error))?;
        }
        self.keys += 1;
        Ok(())
    }

    /// Sets a timer of a key, whether that has a state or not. As for keys, none must come twice.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn timer(&mut self, key: &K, at: i64, kind: TimerKind) -> Result<()> {
        let group = self.groups.group_of(hash_key(key));
        let sequence = self.timers;
        let written = self.parts.entry(section_kind(kind), group, |out| {
            encode(&(at, sequence), out)?;
            encode(key, out)
        });
        written.map_err(|error| store_error(&self.operator, &error))?;
        self.timers += 1;
        Ok(())
    }

    /// Puts all that a key has into a collection of the operator, as its behaviour declares it. It must not come twice
    /// for a key and a collection: a job that starts from the savepoint finds that, and does not start. Where states go
    /// into a database, it is added to what there is.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_all<C: Collection>(
        &mut self,
        key: &K,
        collection: &C,
        items: impl IntoIterator<Item = C::Item>,
    ) -> Result<()> {
        let hash = hash_key(key);
        if let Some(databases) = &mut self.databases {
            let instance = self.parts.instance_of(self.groups.group_of(hash));
            return databases.put_all(instance, key, collection, items);
        }
        let (collections, count) = &mut self.collections;
        let mut added = 0;
        let items = items.into_iter().inspect(|_| added += 1);
        let put = guard(|| {
            collection.add(collections, (key, hash), now_ms, items);
            true
        });
        put.map_err(|failure| Error::state(format!("`{}`: {}", self.operator, failure.cause)))?;
        *count += added;
        if *count >= ITEMS_TOGETHER { self.write_collections() } else { Ok(()) }
    }

    /// Writes the collections that are in memory.
    fn write_collections(&mut self) -> Result<()> {
        let (collections, count) = &mut self.collections;
        *count = 0;
        let failed = |error| Error::state(format!("`{}`: {}", self.operator, chain_of(&error)));
        let (_, names) = collections.begin_snapshot(1, true).map_err(failed)?;
        let mut sections = Vec::new();
        while collections.snapshot_slice(usize::MAX).map_err(failed)? == SliceProgress::More {}
        sections.extend(collections.take_sections());
        for section in &sections {
            let instance = self.parts.instance_of(section.group);
            self.parts.write(instance, section).map_err(|error| store_error(&self.operator, &error))?;
        }
        if let Some(names) = names {
            // Whoever restores some of it has to know what it is called.
            for instance in 0..self.parts.instances() {
                self.parts.write(instance, &names).map_err(|error| store_error(&self.operator, &error))?;
            }
        }
        self.collections.0 = fresh(self.groups);
        Ok(())
    }

    /// Gives the operator what its instances share, if it has a broadcast input beside a keyed one: the last one
    /// counts.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn broadcast_state<T: Data>(&mut self, shared: &T) -> Result<()> {
        let mut bytes = Vec::new();
        let encoded = encode(shared, &mut bytes)
            .and_then(|()| SavedState::section(SavedState::REPLICA, Redistribution::Broadcast, 1, &bytes));
        self.shared =
            Some(encoded.map_err(|error| codec_error(&self.operator, "what is broadcast", &error))?);
        Ok(())
    }

    /// How far event time has come for the operator, in milliseconds: it does not go back behind that.
    pub fn watermark(&mut self, at: i64) {
        self.watermark = Some(at);
    }

    /// All has been written: makes it part of the savepoint. Returns the number of keys.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn finish(mut self) -> Result<u64> {
        self.write_collections()?;
        if let Some(at) = self.watermark {
            self.write_watermark(at)?;
        }
        if let Some(shared) = self.shared.take() {
            for instance in 0..self.parts.instances() {
                let written = self.parts.write(instance, &shared);
                written.map_err(|error| store_error(&self.operator, &error))?;
            }
        }
        let Self { writer, operator, mut parts, databases, keys, .. } = self;
        let copies = databases.map(|databases| databases.store(&writer.place, &mut parts)).transpose()?;
        let mut part = parts.finish("process").map_err(|error| store_error(&operator, &error))?;
        for (instance, copy) in part.instances.iter_mut().zip(copies.into_iter().flatten()) {
            instance.database = Some(copy);
        }
        writer.add(part);
        Ok(keys)
    }

    fn write_watermark(&mut self, at: i64) -> Result<()> {
        let instances = self.writer.parallelism_of(self.groups);
        for instance in 0..instances {
            let owned = self.groups.range(instance, instances);
            let watermarks: Vec<(u16, i64)> = owned.map(|group| (group, at)).collect();
            let mut bytes = Vec::new();
            encode(&watermarks, &mut bytes).map_err(|error| Error::internal(error.to_string()))?;
            let section = Section { kind: SectionKind::Watermarks, group: 0, entries: 1, bytes };
            self.parts.write(instance, &section).map_err(|error| store_error(&self.operator, &error))?;
        }
        Ok(())
    }
}

/// Items of collections that are in memory at a time, about.
const ITEMS_TOGETHER: usize = 100_000;

fn fresh<K: Key>(groups: KeyGroups) -> Collections<K> {
    Collections::new(groups, 0..groups.count())
}

/// When what is written has been used last.
pub(super) fn now_ms() -> i64 {
    SystemClock::new().wall_ms()
}
