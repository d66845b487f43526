//! Writing savepoints.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed_actors::{Clock, SystemClock, chain_of};
use watershed_state::{
    Fs, InstancePart, Key, KeyGroups, Manifest, OperatorPart, Section, SectionKind, SnapshotPlace, State,
    StateBackend, complete_savepoint, copy_to_savepoint, encode, hash_canary, hash_key, prepare_savepoint,
};

use crate::error::{Error, Result};
use crate::offline::databases::Databases;
use crate::offline::parts::Parts;
use crate::offline::reader::local;
use crate::offline::{OperatorWriter, SavepointReader, codec_error, store_error};
use crate::savepoint::Savepoint;

/// Writes a savepoint without a job: the state to begin with, made from what there was before, or another savepoint
/// with some of its operators changed. A job starts from it with [`Config::start_from`](crate::Config::start_from);
/// operators that it has nothing of start empty.
///
/// The savepoint exists when [`finish`](Self::finish) has returned. Until then, and if that never comes, there are only
/// files that nothing reads.
///
/// ```no_run
/// # use std::collections::BTreeMap;
/// # use watershed_runtime::{SavepointReader, SavepointWriter, Result};
/// # fn main() -> Result<()> {
/// # let counts: BTreeMap<String, u64> = BTreeMap::new();
/// // From a batch.
/// let mut writer = SavepointWriter::create("word-count", "file:///var/savepoints/first")?;
/// writer.keyed("count", counts)?;
/// writer.finish()?;
///
/// // From another savepoint.
/// let reader = SavepointReader::open("file:///var/savepoints/first")?;
/// let mut writer = SavepointWriter::change(&reader, "file:///var/savepoints/second")?;
/// writer.transform("count", |_: &String, count: u64| Ok((count > 1).then_some(count as f64)))?;
/// writer.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SavepointWriter {
    uri: String,
    pub(super) place: SnapshotPlace,
    /// Without operators.
    manifest: Manifest,
    /// In the names of its files: an earlier try may have left some.
    stamp: String,
    groups: KeyGroups,
    parallelism: usize,
    backend: StateBackend,
    /// What was written.
    written: BTreeMap<String, OperatorPart>,
    /// What is taken over as it is, and from where.
    pub(super) kept: BTreeMap<String, OperatorPart>,
    pub(super) from: Option<SavepointReader>,
    /// An operator that was begun.
    unfinished: Option<String>,
}

/// The checkpoint that a savepoint claims to be made of that was made of none.
const FIRST: u64 = 1;
/// Instances that an operator is written for: so many files, of which one is read at a time.
const PARALLELISM: usize = 4;

impl SavepointWriter {
    /// Begins a savepoint for the topology of this name, at a URI where there is none.
    ///
    /// # Errors
    /// If there is one already, or the disk refuses.
    pub fn create(topology: &str, uri: &str) -> Result<Self> {
        Self::create_on(topology, uri, &local())
    }

    /// [`create`](Self::create) where another file system stands for the local disk.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_on(topology: &str, uri: &str, local: &Fs) -> Result<Self> {
        let created_ms = SystemClock::new().wall_ms();
        let manifest = Manifest {
            lineage: format!("{:016x}", hash_key(&(topology, uri, created_ms, std::process::id()))),
            checkpoint: FIRST,
            run: 0,
            created_ms,
            duration_ms: None,
            topology: topology.to_string(),
            finished: false,
            event_time_reset: false,
            hash_canary: hash_canary(),
            operators: Vec::new(),
        };
        Self::begin(manifest, uri, local)
    }

    /// Begins a savepoint that has all that a snapshot has, as far as it is not changed after this.
    ///
    /// # Errors
    /// If there is a savepoint at the URI already, or the disk refuses.
    pub fn change(snapshot: &SavepointReader, uri: &str) -> Result<Self> {
        Self::change_on(snapshot, uri, &local())
    }

    /// [`change`](Self::change) where another file system stands for the local disk.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn change_on(snapshot: &SavepointReader, uri: &str, local: &Fs) -> Result<Self> {
        let mut manifest = snapshot.manifest.clone();
        if manifest.hash_canary != hash_canary() {
            return Err(Error::state(
                "the snapshot was made with another hash of keys (another compiler may hash a standard type differently): \
                 its keys cannot be found again",
            ));
        }
        // It is another savepoint than the one that it comes of, and told from it.
        manifest.created_ms = SystemClock::new().wall_ms();
        let operators = std::mem::take(&mut manifest.operators);
        let mut writer = Self::begin(manifest, uri, local)?;
        let groups = operators.iter().find_map(|operator| KeyGroups::new(operator.key_groups));
        writer.groups = groups.unwrap_or_default();
        writer.kept = operators.into_iter().map(|operator| (operator.name.clone(), operator)).collect();
        writer.from = Some(SavepointReader {
            snapshots: snapshot.snapshots.clone(),
            manifest: snapshot.manifest.clone(),
        });
        Ok(writer)
    }

    fn begin(manifest: Manifest, uri: &str, local: &Fs) -> Result<Self> {
        let place = SnapshotPlace::parse_on(uri, local).map_err(|error| Error::config(chain_of(&error)))?;
        prepare_savepoint(&place).map_err(|error| Error::config(chain_of(&error)))?;
        Ok(Self {
            uri: uri.to_string(),
            place,
            manifest,
            stamp: stamp(),
            groups: KeyGroups::DEFAULT,
            parallelism: PARALLELISM,
            backend: StateBackend::Memory,
            written: BTreeMap::new(),
            kept: BTreeMap::new(),
            from: None,
            unfinished: None,
        })
    }

    /// Key groups of the operators that are written (those of the snapshot that is changed, else 128). They have to be
    /// those of the job, see [`Config::key_groups`](crate::Config::key_groups).
    pub fn key_groups(&mut self, groups: KeyGroups) -> &mut Self {
        self.groups = groups;
        self
    }

    /// Instances, and so files or databases, of each operator that is written (4). A job may start with any other
    /// number.
    pub fn parallelism(&mut self, instances: usize) -> &mut Self {
        self.parallelism = instances.max(1);
        self
    }

    /// How states are saved. In memory (the default) means: as they come, to be read whole by a job as it starts,
    /// whichever backend that has. With RocksDB they go into a database for each instance, which a job with that
    /// backend takes as it is: for more state than memory has room for. It may be chosen anew for each operator.
    pub fn state_backend(&mut self, backend: impl Into<StateBackend>) -> &mut Self {
        self.backend = backend.into();
        self
    }

    /// Writes all that an operator is to remember: its keys with their state. Returns how many there were.
    ///
    /// # Errors
    /// As [`operator`](Self::operator) and [`OperatorWriter::put`].
    pub fn keyed<K: Key, S: State>(
        &mut self,
        operator: &str,
        states: impl IntoIterator<Item = (K, S)>,
    ) -> Result<u64> {
        let mut writer = self.operator(operator)?;
        for (key, state) in states {
            writer.put(&key, &state)?;
        }
        writer.finish()
    }

    /// Begins to write what an operator with state by key is to remember, in place of all that a snapshot which is
    /// changed has of it.
    ///
    /// # Errors
    /// If it has been written already, or the name is none that an operator can have.
    pub fn operator<K: Key, S: State>(&mut self, operator: &str) -> Result<OperatorWriter<'_, K, S>> {
        let shape = (self.groups, self.parallelism_of(self.groups));
        let parts = self.parts(operator, shape.0, shape.1)?;
        let databases = Databases::open(operator, &self.backend, shape)?;
        Ok(OperatorWriter::new(self, operator, (parts, databases), shape.0))
    }

    /// Writes what an operator that has one state for each instance is to remember. The job has to have as many
    /// instances of it as there are states.
    ///
    /// # Errors
    /// As [`operator`](Self::operator), if there is no state or one cannot be encoded, or the disk refuses.
    pub fn instances<S: State>(&mut self, operator: &str, states: impl IntoIterator<Item = S>) -> Result<()> {
        let states: Vec<S> = states.into_iter().collect();
        if states.is_empty() {
            return Err(Error::config(format!("`{operator}` needs a state for each of its instances")));
        }
        let mut parts = self.parts(operator, self.groups, states.len())?;
        for (instance, state) in states.iter().enumerate() {
            let mut bytes = Vec::new();
            encode(state, &mut bytes).map_err(|error| codec_error(operator, "a state", &error))?;
            let section = Section { kind: SectionKind::InstanceState, group: 0, entries: 1, bytes };
            parts.write(instance, &section).map_err(|error| store_error(operator, &error))?;
        }
        let part = parts.finish("process").map_err(|error| store_error(operator, &error))?;
        self.add(OperatorPart { key_groups: 0, ..part });
        Ok(())
    }

    /// Leaves out what the snapshot that is changed has of an operator.
    ///
    /// # Errors
    /// If it has no such operator.
    pub fn remove(&mut self, operator: &str) -> Result<()> {
        match self.kept.remove(operator) {
            Some(_) => Ok(()),
            None => Err(self.nothing_of(operator)),
        }
    }

    /// Lets event time begin anew for all operators that are taken over, as [`Config::reset_event_time`] does for a job
    /// that starts; what that means is said there. Their watermarks are left out of account; all else stays as it is,
    /// timers among it.
    ///
    /// [`Config::reset_event_time`]: crate::Config::reset_event_time
    ///
    /// ```no_run
    /// # use watershed_runtime::{SavepointReader, SavepointWriter, Result};
    /// # fn main() -> Result<()> {
    /// let reader = SavepointReader::open("file:///var/savepoints/first")?;
    /// SavepointWriter::change(&reader, "file:///var/savepoints/second")?.reset_event_time().finish()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reset_event_time(mut self) -> Self {
        self.manifest.event_time_reset = true;
        self
    }

    /// Makes the savepoint exist.
    ///
    /// # Errors
    /// If an operator was begun and not finished, a file of the snapshot that is changed is damaged, there is a
    /// savepoint by now, or the disk refuses.
    pub fn finish(mut self) -> Result<Savepoint> {
        if let Some(operator) = &self.unfinished {
            return Err(Error::config(format!(
                "`{operator}` was begun and is not complete: call `finish` when all of it is written"
            )));
        }
        if let Some(from) = &self.from {
            let files =
                self.kept.values().flat_map(|operator| &operator.instances).flat_map(InstancePart::files);
            let copied = copy_to_savepoint(files, from.snapshots.place(), &self.place);
            copied.map_err(|error| from.why(from.topology(), &error))?;
        }
        let operators = self.kept.into_values().chain(self.written.into_values());
        self.manifest.operators = operators.collect();
        complete_savepoint(&self.manifest, &self.place)?;
        let (uri, checkpoint) = (self.uri, self.manifest.checkpoint);
        Ok(Savepoint { uri, checkpoint, bytes: self.manifest.files().map(|file| file.len).sum() })
    }

    /// The files of an operator that is to be written with so many instances.
    pub(super) fn parts(&mut self, operator: &str, groups: KeyGroups, instances: usize) -> Result<Parts> {
        crate::plan::name_of_actor(operator)?;
        if self.written.contains_key(operator) {
            return Err(Error::config(format!("`{operator}` has been written already")));
        }
        self.unfinished = Some(operator.to_string());
        Ok(Parts::new(&self.place, operator, self.manifest.checkpoint, (groups, instances), &self.stamp))
    }

    /// An operator is complete.
    pub(super) fn add(&mut self, part: OperatorPart) {
        self.unfinished = None;
        self.kept.remove(&part.name);
        self.written.insert(part.name.clone(), part);
    }

    pub(super) fn parallelism_of(&self, groups: KeyGroups) -> usize {
        self.parallelism.min(usize::from(groups.count()))
    }

    pub(super) fn nothing_of(&self, operator: &str) -> Error {
        let there: Vec<String> = self.kept.keys().map(|name| format!("`{name}`")).collect();
        let there = if there.is_empty() { "none".to_string() } else { there.join(", ") };
        Error::config(format!("there is no operator `{operator}` to be changed; there are: {there}"))
    }
}

/// When a savepoint is begun, and which of this process it is: several may be in one millisecond.
fn stamp() -> String {
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    let nth = BEGUN.fetch_add(1, Ordering::Relaxed);
    format!("{:x}{nth:x}", SystemClock::new().wall_ms())
}
