//! Reading snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use watershed_actors::{TimerKind, chain_of};
use watershed_state::{
    Collection, CollectionEntry, CollectionName, Data, Fs, InstancePart, Key, KeyGroups, LocalFs, Manifest,
    OperatorPart, Redistribution, SavedInstance, SavedState, Section, SectionKind, SnapshotPlace, Snapshots,
    State, StoreError, names_in, read_saved,
};

use crate::error::{Error, Result};
use crate::offline::{KeyedStates, codec_error, decoded, decoded_key, store_error};
use crate::remote::AnyValue;
use crate::scratch::Scratch;

/// Reads a savepoint, or a checkpoint, without running a job. A job may be using the folder meanwhile: nothing is
/// changed there, and no lock is taken.
///
/// ```no_run
/// # use watershed_runtime::{SavepointReader, Result};
/// # fn main() -> Result<()> {
/// let reader = SavepointReader::open("file:///var/savepoints/7")?;
/// for entry in reader.keyed::<String, u64>("count")? {
///     let (word, count) = entry?;
///     println!("{word} {count}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SavepointReader {
    pub(super) snapshots: Snapshots,
    pub(super) manifest: Manifest,
}

/// An operator as a snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedOperator {
    /// Its name.
    pub name: String,
    /// What it is: `source`, `process`, `sink` or `exactly-once sink`.
    pub kind: String,
    /// The key groups that its keys are divided into, if it has state by key.
    pub key_groups: Option<KeyGroups>,
    /// How many instances it had.
    pub parallelism: usize,
}

/// A timer that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedTimer<K> {
    /// The key it was set for.
    pub key: K,
    /// When it fires, in milliseconds.
    pub at: i64,
    /// By which clock.
    pub kind: TimerKind,
}

/// How far a split of a source has been read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub enum SplitPosition {
    /// Not begun.
    Unread,
    /// Everything before this position of the source's own kind, as JSON.
    At(Value),
    /// Read to the end.
    Finished,
}

/// [`SplitPosition`] as it is saved.
#[derive(Deserialize)]
enum Progress {
    Unread,
    At(AnyValue),
    Finished,
    FinishedAt(IgnoredAny),
}

impl SavepointReader {
    /// Opens the savepoint at this URI; of a checkpoint folder, its newest checkpoint.
    ///
    /// # Errors
    /// If there is none, or what says what it consists of is damaged.
    pub fn open(uri: &str) -> Result<Self> {
        Self::open_on(uri, None, &local())
    }

    /// Opens the checkpoint with this id in a checkpoint folder.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_checkpoint(uri: &str, checkpoint: u64) -> Result<Self> {
        Self::open_on(uri, Some(checkpoint), &local())
    }

    /// Opens a savepoint, or a checkpoint, where another file system stands for the local disk.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(uri: &str, checkpoint: Option<u64>, local: &Fs) -> Result<Self> {
        let place = SnapshotPlace::parse_on(uri, local).map_err(|error| Error::config(chain_of(&error)))?;
        let snapshots = Snapshots::open(place).map_err(|error| Error::config(chain_of(&error)))?;
        let found = snapshots.all()?;
        let there: Vec<String> = found.iter().filter_map(|one| Some(one.checkpoint?.to_string())).collect();
        let wanted = |id: Option<u64>| checkpoint.is_none_or(|checkpoint| id == Some(checkpoint));
        let Some(found) = found.into_iter().find(|found| wanted(found.checkpoint)) else {
            let what =
                checkpoint.map_or("no complete checkpoint".to_string(), |id| format!("no checkpoint {id}"));
            let there = if there.is_empty() { "none".to_string() } else { there.join(", ") };
            return Err(Error::config(format!("{uri} has {what}; there are: {there}")));
        };
        Ok(Self { snapshots, manifest: found.manifest? })
    }

    /// The name of the topology.
    pub fn topology(&self) -> &str {
        &self.manifest.topology
    }

    /// The id of the checkpoint that it is, or that it was made of.
    pub fn checkpoint(&self) -> u64 {
        self.manifest.checkpoint
    }

    /// When it was made, in milliseconds since 1970.
    pub fn created_ms(&self) -> i64 {
        self.manifest.created_ms
    }

    /// The operators that it has.
    pub fn operators(&self) -> impl Iterator<Item = SavedOperator> {
        self.manifest.operators.iter().map(|operator| SavedOperator {
            name: operator.name.clone(),
            kind: operator.kind.clone(),
            key_groups: KeyGroups::new(operator.key_groups),
            parallelism: operator.parallelism as usize,
        })
    }

    /// All keys of an operator with their state, some of which may have expired, in the order of key groups and of
    /// encoded keys. Entries are read ahead on a thread of their own, which ends when the iterator is dropped. Of an
    /// operator that was saved in memory, what one instance has saved is in memory at a time; of a database, some of
    /// it, and a copy of it is in the system's folder for temporary files.
    ///
    /// # Errors
    /// If there is no such operator, or it has no state by key. The entries are errors where a file is damaged or a key
    /// or state is not of this type; the error names the operator and the type.
    pub fn keyed<K: Key, S: State>(&self, operator: &str) -> Result<KeyedStates<K, S>> {
        let (part, groups) = self.keyed_operator(operator)?;
        KeyedStates::read(self.snapshots.clone(), part.clone(), groups, self.manifest.checkpoint)
    }

    /// Shows what each key of an operator has in a collection, as its behaviour declares it, until `visit` says that it
    /// has had enough. Some of it may have expired.
    ///
    /// # Errors
    /// If there is no such operator, a file is damaged, or a key or item is not of this type.
    pub fn collection<K: Key, C: Collection>(
        &self,
        operator: &str,
        collection: &C,
        mut visit: impl FnMut(K, Vec<C::Item>) -> bool,
    ) -> Result<()> {
        let part = self.operator(operator)?;
        let groups = KeyGroups::new(part.key_groups);
        let CollectionName { id, .. } = self.named(part, collection.declared_name())?;
        let mut gathered: Option<(Vec<u8>, K, Vec<C::Item>)> = None;
        let mut take = |entry: CollectionEntry<'_>| -> Result<bool> {
            let mut items: Vec<C::Item> = decoded(operator, "what is in a collection", entry.items)?;
            if let Some((key, _, all)) = &mut gathered
                && key == entry.key
            {
                all.append(&mut items);
                return Ok(true);
            }
            let key = match groups {
                Some(groups) => decoded_key(operator, groups, entry.group, entry.key)?,
                None => decoded(operator, "a key", entry.key)?,
            };
            let before = gathered.replace((entry.key.to_vec(), key, items));
            Ok(before.is_none_or(|(_, key, items)| visit(key, items)))
        };
        let (scratch, mut taken) = (Scratch::temporary(), Ok(true));
        let read = self.snapshots.collections(part, scratch.folder(), &mut |entry| {
            if entry.collection == id {
                taken = take(entry);
            }
            matches!(taken, Ok(true))
        });
        read.map_err(|error| self.why(operator, &error))?;
        if taken? && let Some((_, key, items)) = gathered {
            visit(key, items);
        }
        Ok(())
    }

    /// The collection, if the operator has one of this name and kind, or none at all.
    fn named(&self, part: &OperatorPart, wanted: CollectionName) -> Result<CollectionName> {
        let mut there = BTreeMap::new();
        for instance in &part.instances {
            for section in self.sections(part, instance)? {
                if section.kind == SectionKind::CollectionNames {
                    let names = names_in(&section);
                    let names = names.map_err(|error| codec_error(&part.name, "its collections", &error))?;
                    there.extend(names.into_iter().map(|name| (name.id, name)));
                }
            }
        }
        match there.get(&wanted.id) {
            Some(found) if *found != wanted => Err(Error::config(format!(
                "collection `{}` of `{}` is a {:?}, not a {:?}",
                wanted.name, part.name, found.kind, wanted.kind
            ))),
            None if !there.is_empty() => {
                let names: Vec<String> = there.values().map(|name| format!("`{}`", name.name)).collect();
                let (operator, names) = (&part.name, names.join(", "));
                Err(Error::config(format!(
                    "`{operator}` has no collection `{}` in this snapshot; it has: {names}",
                    wanted.name
                )))
            }
            _ => Ok(wanted),
        }
    }

    /// The states of an operator that has one for each instance, not by key, in the order of the instances.
    ///
    /// # Errors
    /// If there is no such operator, a file is damaged, or a state is not of this type.
    pub fn instances<S: State>(&self, operator: &str) -> Result<Vec<S>> {
        let part = self.operator(operator)?;
        let mut states = Vec::new();
        for instance in &part.instances {
            for section in self.sections(part, instance)? {
                if section.kind == SectionKind::InstanceState {
                    states.push(decoded(operator, "a state", &section.bytes)?);
                }
            }
        }
        Ok(states)
    }

    /// The elements of an operator state of a source or a sink, a list or a union of this name: first those that the
    /// first instance has saved, then those of the others. Empty if no instance has saved any.
    ///
    /// # Errors
    /// If there is no such operator, a file is damaged, the operator has only states of other names, or an element is
    /// not of this type.
    pub fn operator_state<T: Data>(&self, operator: &str, name: &str) -> Result<Vec<T>> {
        let states = self.operator_states(operator)?;
        let is_named =
            |state: &&SavedState| state.name == name && state.redistribution != Redistribution::Broadcast;
        if !states.is_empty() && !states.iter().any(|state| is_named(&state)) {
            let there: BTreeSet<String> =
                states.iter().map(|state| format!("`{}` ({})", state.name, state.redistribution)).collect();
            let there = there.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::config(format!(
                "`{operator}` has no list or union `{name}` in this snapshot; it has: {there}"
            )));
        }
        let elements = states.iter().filter(is_named).flat_map(|state| &state.elements);
        elements.map(|element| decoded(operator, "an element of an operator state", element)).collect()
    }

    /// What the instances of an operator with a broadcast input share; `None` if nothing was saved of it.
    ///
    /// # Errors
    /// If there is no such operator, a file is damaged, or it is not of this type.
    pub fn broadcast_state<T: Data>(&self, operator: &str) -> Result<Option<T>> {
        let states = self.operator_states(operator)?;
        let is_replica = |state: &&SavedState| {
            state.redistribution == Redistribution::Broadcast && state.name == SavedState::REPLICA
        };
        let replica = states.iter().find(is_replica).and_then(|state| state.elements.first());
        replica.map(|bytes| decoded(operator, "what is broadcast", bytes)).transpose()
    }

    /// All operator states of all instances.
    fn operator_states(&self, operator: &str) -> Result<Vec<SavedState>> {
        let part = self.operator(operator)?;
        let mut states = Vec::new();
        for instance in &part.instances {
            for section in self.sections(part, instance)? {
                if section.kind == SectionKind::OperatorState {
                    let state = SavedState::read(&section);
                    states.push(state.map_err(|error| codec_error(operator, "an operator state", &error))?);
                }
            }
        }
        Ok(states)
    }

    /// The timers of an operator, by instance.
    ///
    /// # Errors
    /// If there is no such operator. The timers are errors where a file is damaged or a key is not of this type.
    pub fn timers<K: Key>(
        &self,
        operator: &str,
    ) -> Result<impl Iterator<Item = Result<SavedTimer<K>>> + use<'_, K>> {
        let part = self.operator(operator)?;
        // Without keys there is only one, which is in group 0 wherever it hashes to.
        let groups = KeyGroups::new(part.key_groups);
        let timers = part.instances.iter().map(move |instance| {
            let saved = read_saved(&self.snapshots.place().objects, instance)
                .map_err(|error| self.why(&part.name, &error))?;
            let mut timers = Vec::new();
            for kind in [TimerKind::EventTime, TimerKind::ProcessingTime] {
                read_timers(&part.name, groups, &saved, kind, &mut timers)?;
            }
            Ok(timers)
        });
        Ok(timers.flat_map(|timers| match timers {
            Ok(timers) => timers.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }))
    }

    /// How far event time had come for an operator: the least of its key groups. `None` if nothing is known of it.
    ///
    /// # Errors
    /// If there is no such operator, or a file is damaged.
    pub fn watermark(&self, operator: &str) -> Result<Option<i64>> {
        let part = self.operator(operator)?;
        if self.manifest.event_time_reset {
            return Ok(None);
        }
        let mut least: Option<i64> = None;
        for instance in &part.instances {
            for section in self.sections(part, instance)? {
                if section.kind == SectionKind::Watermarks {
                    let watermarks: Vec<(u16, i64)> = decoded(operator, "a watermark", &section.bytes)?;
                    least = least.into_iter().chain(watermarks.into_iter().map(|(_, at)| at)).min();
                }
            }
        }
        Ok(least.filter(|at| *at > i64::MIN))
    }

    /// How far each split of a source has been read, by the split's id.
    ///
    /// # Errors
    /// If there is no such operator, or a file is damaged.
    pub fn positions(&self, source: &str) -> Result<Vec<(String, SplitPosition)>> {
        let part = self.operator(source)?;
        let mut all = Vec::new();
        for instance in &part.instances {
            for section in self.sections(part, instance)? {
                if section.kind == SectionKind::Splits {
                    let splits: Vec<(String, Progress)> = decoded(source, "a position", &section.bytes)?;
                    all.extend(splits.into_iter().map(|(id, progress)| (id, progress.into())));
                }
            }
        }
        Ok(all)
    }

    pub(super) fn operator(&self, name: &str) -> Result<&OperatorPart> {
        let found = self.manifest.operators.iter().find(|operator| operator.name == name);
        found.ok_or_else(|| {
            let there: Vec<String> =
                self.manifest.operators.iter().map(|operator| format!("`{}`", operator.name)).collect();
            let there = if there.is_empty() { "none".to_string() } else { there.join(", ") };
            Error::config(format!("the snapshot has no operator `{name}`; it has: {there}"))
        })
    }

    pub(super) fn keyed_operator(&self, name: &str) -> Result<(&OperatorPart, KeyGroups)> {
        let part = self.operator(name)?;
        match KeyGroups::new(part.key_groups) {
            Some(groups) => Ok((part, groups)),
            None => Err(Error::config(format!("`{name}` is a {} without state by key", part.kind))),
        }
    }

    fn sections(&self, part: &OperatorPart, instance: &InstancePart) -> Result<Vec<Section>> {
        self.snapshots.sections(instance).map_err(|error| self.why(&part.name, &error))
    }

    /// What an error in reading means: a job removes the checkpoints that it does not need any more.
    pub(super) fn why(&self, operator: &str, error: &StoreError) -> Error {
        why(&self.snapshots, self.manifest.checkpoint, operator, error)
    }
}

/// What an error in reading means: a job removes the checkpoints that it does not need any more.
pub(super) fn why(snapshots: &Snapshots, checkpoint: u64, operator: &str, error: &StoreError) -> Error {
    if snapshots.has(checkpoint) {
        return store_error(operator, error);
    }
    Error::state(format!(
        "the job has removed checkpoint {checkpoint} while it was being read: open a newer one, or a savepoint, which stays"
    ))
}

fn read_timers<K: Key>(
    operator: &str,
    groups: Option<KeyGroups>,
    saved: &SavedInstance,
    kind: TimerKind,
    timers: &mut Vec<SavedTimer<K>>,
) -> Result<()> {
    let encoded = watershed_state::saved_timers(saved, section_kind(kind));
    for timer in encoded.map_err(|error| codec_error(operator, "a timer", &error))? {
        let key: K = decoded(operator, "the key of a timer", &timer.key)?;
        if let Some(groups) = groups {
            decoded_key::<K>(operator, groups, timer.group, &timer.key)?;
        }
        timers.push(SavedTimer { key, at: timer.at, kind });
    }
    Ok(())
}

/// What the sections are that have timers of this kind.
pub(super) fn section_kind(kind: TimerKind) -> SectionKind {
    match kind {
        TimerKind::EventTime => SectionKind::EventTimers,
        TimerKind::ProcessingTime => SectionKind::ProcessingTimers,
    }
}

impl From<Progress> for SplitPosition {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Unread => Self::Unread,
            Progress::At(AnyValue(position)) => Self::At(position),
            Progress::Finished | Progress::FinishedAt(_) => Self::Finished,
        }
    }
}

/// The local disk.
pub(super) fn local() -> Fs {
    Arc::new(LocalFs)
}
