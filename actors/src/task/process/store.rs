//! Where the state of a [`Process`] lives: one value per key, or one per instance.

use std::any::type_name;
use std::ops::Range;
use std::sync::Arc;

use watershed_state::bug::{self, Bug};
use watershed_state::{
    Additions, CodecError, Collections, Data, KeyGroups, KeyedTable, OpenBackend, Sampler, SavedInstance,
    Section, SectionKind, SliceProgress, SnapshotBegun, State, decode, encode, encode_for_keeps, hash_key,
    saved_timers,
};

use crate::error::chain_of;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::process::Process;
use crate::query::{Found, QueryError, QueryKey, Reading};
use crate::restored::Restored;
use crate::snapshot::SnapshotItem;
use crate::task::process::life::{Forever, Life};
use crate::task::{Env, StateSetup};

/// State of an instance, with snapshots that do not stall it.
pub trait Store<P: Process>: Send {
    /// The hash of a record's key, where `hash` is what its sender has computed.
    fn hash(&self, hash: u64) -> u64;
    /// Key and state for a record.
    fn access(&mut self, record: &P::In, hash: u64) -> (&P::Key, &mut P::State);
    /// How many keys got a state that had none before.
    fn births(&self) -> u64;
    /// Begins to load the state of a key from memory.
    fn prefetch(&self, hash: u64);
    /// Whether the key of a record still has the hash that its sender has computed.
    fn is_placed(&self, record: &P::In, hash: u64) -> bool;
    /// State of a key.
    fn access_key(&mut self, hash: u64, key: P::Key) -> (&P::Key, &mut P::State);
    /// Forgets the state of a key.
    fn clear(&mut self, hash: u64, key: &P::Key);
    /// Whether there is a state for each key, rather than one in all.
    fn is_keyed(&self) -> bool;
    /// The key with this hash, as JSON.
    fn describe_key(&self, hash: u64) -> Option<String>;
    /// The key of a record, as JSON; `None` without keys.
    fn key_of(&self, record: &P::In) -> Option<String>;
    /// The key groups that keys are divided into.
    fn groups(&self) -> KeyGroups;
    /// Groups under which the instance saves its watermark.
    fn owned(&self, instance: &Instance) -> Range<u16>;
    /// Whether a record of this key hash (if it has a key), which instance `writer` had, belongs to the instance.
    fn owns(&self, hash: Option<u64>, writer: usize, instance: &Instance) -> bool;
    /// Whether what instance `writer` saved under this group belongs to the instance.
    fn takes(&self, writer: usize, group: u16, instance: &Instance) -> bool;
    /// What the state of a key is, for whoever asks. Nothing changes by that.
    ///
    /// # Errors
    /// If it is no such key, there is no state by key, or it cannot be read.
    fn read(&self, key: &QueryKey, instance: &Instance) -> Result<Reading, QueryError>;
    /// Takes over its share of a snapshot. Returns what is below the tables of the instance, and what instances have
    /// saved that it is to look through for what belongs to it.
    ///
    /// # Errors
    /// What could not be decoded or divided.
    fn restore<'r>(
        &mut self,
        restored: &'r Restored,
        env: &Env,
    ) -> Result<(OpenBackend, &'r [SavedInstance]), Failure>;
    /// How much the snapshots of changes amount to that the next one would add to; `None` if it has to hold everything.
    fn additions(&self) -> Option<Additions>;
    /// Fixes what the snapshot for this checkpoint will hold: everything if `all` says so.
    ///
    /// # Errors
    /// What could not be encoded.
    fn begin_snapshot(&mut self, checkpoint: u64, all: bool) -> Result<Vec<SnapshotItem>, Failure>;
    /// Looks at so many more slots.
    ///
    /// # Errors
    /// What could not be encoded.
    fn snapshot_slice(&mut self, slots: usize) -> Result<SliceProgress, CodecError>;
    /// What has been written since the last call.
    fn take_sections(&mut self) -> Vec<Section>;
    /// Gives the snapshot up.
    fn abort_snapshot(&mut self);
    /// The checkpoint is complete.
    fn complete(&mut self, checkpoint: u64);
    /// The next snapshot has to hold everything.
    fn save_all(&mut self);
    /// Goes on with work that has time. To be called between batches.
    fn work_on(&mut self, slots: usize);
}

/// State per key.
pub struct KeyedStore<P: Process, F, L: Life = Forever> {
    key_of: Arc<F>,
    groups: KeyGroups,
    table: KeyedTable<P::Key, L::Stored<P::State>>,
    life: L,
    /// The key in process and its state, where all keys have the same: it is kept for none.
    stateless: Option<(P::Key, P::State)>,
}

impl<P: Process, F, L: Life> std::fmt::Debug for KeyedStore<P, F, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedStore").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl<P: Process, F> KeyedStore<P, F> {
    /// Empty, for the key groups of `instance`.
    pub fn new(key_of: Arc<F>, groups: KeyGroups, instance: &Instance) -> Self {
        Self::living(Forever, key_of, groups, instance)
    }
}

impl<P: Process, F, L: Life> KeyedStore<P, F, L> {
    /// As [`new`](KeyedStore::new), with states that live as `life` says.
    pub fn living(life: L, key_of: Arc<F>, groups: KeyGroups, instance: &Instance) -> Self {
        let owned = groups.range(instance.index, instance.parallelism);
        Self { key_of, groups, table: KeyedTable::new(groups, owned), life, stateless: None }
    }

    #[inline]
    fn state_of(&mut self, hash: u64, key: P::Key) -> (&P::Key, &mut P::State) {
        if const { size_of::<P::State>() == 0 } {
            let (key, state) = self.stateless.insert((key, P::State::default()));
            return (key, state);
        }
        let (key, stored) = self.table.entry(hash, key);
        (key, self.life.state(stored))
    }
}

impl<P, F, L> Store<P> for KeyedStore<P, F, L>
where
    P: Process,
    F: Fn(&P::In) -> P::Key + Send + Sync,
    L: Life,
{
    #[inline]
    fn hash(&self, hash: u64) -> u64 {
        hash
    }

    #[inline]
    fn access(&mut self, record: &P::In, hash: u64) -> (&P::Key, &mut P::State) {
        self.state_of(hash, (self.key_of)(record))
    }

    #[inline]
    fn births(&self) -> u64 {
        self.table.births()
    }

    #[inline]
    fn prefetch(&self, hash: u64) {
        self.table.prefetch(hash);
    }

    fn is_placed(&self, record: &P::In, hash: u64) -> bool {
        hash_key(&(self.key_of)(record)) == hash
    }

    fn access_key(&mut self, hash: u64, key: P::Key) -> (&P::Key, &mut P::State) {
        self.state_of(hash, key)
    }

    fn clear(&mut self, hash: u64, key: &P::Key) {
        self.table.remove(hash, key);
    }

    fn is_keyed(&self) -> bool {
        true
    }

    fn describe_key(&self, hash: u64) -> Option<String> {
        let stateless = self.stateless.iter().map(|(key, _)| key);
        let key =
            self.table.iter().map(|(key, _)| key).chain(stateless).find(|key| hash_key(*key) == hash)?;
        serde_json::to_string(key).ok()
    }

    fn key_of(&self, record: &P::In) -> Option<String> {
        serde_json::to_string(&(self.key_of)(record)).ok()
    }

    fn groups(&self) -> KeyGroups {
        self.groups
    }

    fn owned(&self, instance: &Instance) -> Range<u16> {
        self.groups.range(instance.index, instance.parallelism)
    }

    fn owns(&self, hash: Option<u64>, writer: usize, instance: &Instance) -> bool {
        match hash {
            Some(hash) => self.owned(instance).contains(&self.groups.group_of(hash)),
            None => writer % instance.parallelism == instance.index,
        }
    }

    fn takes(&self, _writer: usize, group: u16, instance: &Instance) -> bool {
        self.groups.range(instance.index, instance.parallelism).contains(&group)
            || bug::is(Bug::TimersOfOthersRestored)
    }

    fn read(&self, key: &QueryKey, instance: &Instance) -> Result<Reading, QueryError> {
        let key: P::Key = key.parse()?;
        if !self.owned(instance).contains(&self.groups.group_of(hash_key(&key))) {
            return Ok(Reading::Elsewhere);
        }
        let encoded = self.table.peek(&key, |stored| {
            let Some(state) = self.life.peek(stored) else { return Ok(None) };
            let (mut key_bytes, mut state_bytes) = (Vec::new(), Vec::new());
            encode(&key, &mut key_bytes)?;
            encode(state, &mut state_bytes)?;
            Ok(Some((key_bytes, state_bytes)))
        });
        let fault = |error: &(dyn std::error::Error + 'static)| QueryError::Fault(chain_of(error));
        match encoded
            .map_err(|error| fault(&error))?
            .transpose()
            .map_err(|error: CodecError| fault(&error))?
            .flatten()
        {
            None => Ok(Reading::Nothing),
            Some((key, state)) => {
                Ok(Reading::State(Found { key, state, state_type: type_name::<P::State>() }))
            }
        }
    }

    fn restore<'r>(
        &mut self,
        restored: &'r Restored,
        env: &Env,
    ) -> Result<(OpenBackend, &'r [SavedInstance]), Failure> {
        let owned = self.owned(&env.instance);
        let databases = restored.instances.iter().enumerate().filter_map(|(writer, saved)| {
            let theirs = self.groups.range(writer, restored.instances.len());
            let shared = theirs.end.min(owned.end).saturating_sub(theirs.start.max(owned.start));
            Some((shared, saved.database.as_ref()?)).filter(|(shared, _)| *shared > 0)
        });
        let mut databases: Vec<_> = databases.collect();
        // One is taken as it is, the others are added to it: best if that is the largest.
        databases.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
        let databases: Vec<_> = databases.into_iter().map(|(_, database)| database).collect();
        let StateSetup { backend, scratch, always_save_changes } = &env.state;
        let below = backend.open(self.groups, owned, scratch, &databases);
        let below = below.map_err(|error| Failure::store(&error))?;
        if Collections::<P::Key>::are_in(&restored.instances) {
            below.shared_by(2);
        }
        self.table = below.table().map_err(|error| Failure::store(&error))?;
        self.life.begin(below.expiry());
        if *always_save_changes {
            self.table.always_save_changes();
        }
        // Where there is nothing to remember of a key, there is nothing to restore.
        if const { size_of::<P::State>() > 0 } {
            let saved = self.table.restore_saved(&restored.instances);
            saved.map_err(|error| Failure::state(chain_of(&error)))?;
        }
        Ok((below, &restored.instances))
    }

    fn additions(&self) -> Option<Additions> {
        self.table.additions()
    }

    fn begin_snapshot(&mut self, checkpoint: u64, all: bool) -> Result<Vec<SnapshotItem>, Failure> {
        let SnapshotBegun { base, link } = self.table.begin_snapshot_with(checkpoint, all);
        let base = base.map(SnapshotItem::ChangesOf);
        Ok(base.into_iter().chain(link.map(SnapshotItem::Database)).collect())
    }

    fn snapshot_slice(&mut self, slots: usize) -> Result<SliceProgress, CodecError> {
        self.table.snapshot_slice(slots)
    }

    fn take_sections(&mut self) -> Vec<Section> {
        self.table.take_sections()
    }

    fn abort_snapshot(&mut self) {
        self.table.abort_snapshot();
    }

    fn complete(&mut self, checkpoint: u64) {
        self.table.complete(checkpoint);
    }

    fn save_all(&mut self) {
        self.table.save_all();
    }

    fn work_on(&mut self, slots: usize) {
        self.table.write_back(slots);
        self.life.work_on(&mut self.table, slots);
    }
}

/// One state for the whole instance. It stays with the number of the instance, so the parallelism cannot change.
pub struct InstanceStore<P: Process> {
    key: P::Key,
    /// That of the key: no sender computes it.
    hash: u64,
    state: P::State,
    /// Which of its snapshots are read back.
    sampler: Sampler,
    /// Whether what was restored came from as many instances as there are now.
    same_parallelism: bool,
}

impl<P: Process> std::fmt::Debug for InstanceStore<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InstanceStore")
    }
}

impl<P: Process<Key = ()>> InstanceStore<P> {
    /// With the default state.
    pub fn new() -> Self {
        let sampler = Sampler::default();
        Self { key: (), hash: hash_key(&()), state: P::State::default(), sampler, same_parallelism: true }
    }

    /// Finds out whether so many instances can take over what was saved.
    ///
    /// # Errors
    /// If another number of instances saved anything but a watermark.
    pub fn check_parallelism(restored: &Restored, parallelism: usize) -> Result<(), Failure> {
        let saved = restored.instances.len();
        if saved == 0 || saved == parallelism {
            return Ok(());
        }
        if has_state::<P::State>(restored).map_err(|error| Failure::state(chain_of(&error)))?
            || has_timers(restored)?
            || has_collections(restored)?
        {
            return Err(Failure::state(format!(
                "it keeps its state per instance, not per key, and was saved with {saved} instances; start it with that \
                 parallelism, or put `key_by` before it"
            )));
        }
        Ok(())
    }
}

impl<P: Process<Key = ()>> Default for InstanceStore<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether an instance has saved a state that is not the one to begin with.
fn has_state<S: State>(restored: &Restored) -> Result<bool, CodecError> {
    let written = |state: &S| {
        let mut bytes = Vec::new();
        encode(state, &mut bytes).map(|()| bytes)
    };
    let fresh = written(&S::default())?;
    for (_, section) in restored.sections(SectionKind::InstanceState) {
        // As it is written now: another version may have done so differently.
        if written(&decode(&mut section.bytes.as_slice())?)? != fresh {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an instance has saved a timer.
fn has_timers(restored: &Restored) -> Result<bool, Failure> {
    for saved in &restored.instances {
        for kind in [SectionKind::EventTimers, SectionKind::ProcessingTimers] {
            let timers = saved_timers(saved, kind).map_err(|error| Failure::state(chain_of(&error)))?;
            if !timers.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether an instance has saved something in a collection.
fn has_collections(restored: &Restored) -> Result<bool, Failure> {
    let groups = KeyGroups::DEFAULT;
    for saved in &restored.instances {
        let mut collections = Collections::<()>::new(groups, 0..groups.count());
        let below = OpenBackend::in_memory(groups, 0..groups.count());
        let read = collections.restore(std::slice::from_ref(saved), below);
        read.map_err(|fault| Failure::state(chain_of(&fault)))?;
        if !collections.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One value of one instance, as it is saved.
fn instance_section<T: Data>(value: &T, sampler: &mut Sampler) -> Result<Section, CodecError> {
    let mut bytes = Vec::new();
    encode_for_keeps(value, &mut bytes, sampler)?;
    Ok(Section { kind: SectionKind::InstanceState, group: 0, entries: 1, bytes })
}

impl<P: Process<Key = ()>> Store<P> for InstanceStore<P> {
    #[inline]
    fn hash(&self, _hash: u64) -> u64 {
        self.hash
    }

    #[inline]
    fn access(&mut self, _record: &P::In, _hash: u64) -> (&(), &mut P::State) {
        (&self.key, &mut self.state)
    }

    fn births(&self) -> u64 {
        0
    }

    fn prefetch(&self, _hash: u64) {}

    fn is_placed(&self, _record: &P::In, _hash: u64) -> bool {
        true
    }

    fn access_key(&mut self, _hash: u64, (): ()) -> (&(), &mut P::State) {
        (&self.key, &mut self.state)
    }

    fn clear(&mut self, _hash: u64, (): &()) {
        self.state = P::State::default();
    }

    fn is_keyed(&self) -> bool {
        false
    }

    fn describe_key(&self, _hash: u64) -> Option<String> {
        None
    }

    fn key_of(&self, _record: &P::In) -> Option<String> {
        None
    }

    fn groups(&self) -> KeyGroups {
        KeyGroups::DEFAULT
    }

    fn owned(&self, _instance: &Instance) -> Range<u16> {
        0..1
    }

    fn owns(&self, _hash: Option<u64>, writer: usize, instance: &Instance) -> bool {
        writer % instance.parallelism == instance.index
    }

    fn takes(&self, writer: usize, _group: u16, instance: &Instance) -> bool {
        // After a change of parallelism only the watermark is left to take, and every writer's counts.
        !self.same_parallelism || writer == instance.index
    }

    fn read(&self, _key: &QueryKey, _instance: &Instance) -> Result<Reading, QueryError> {
        Err(QueryError::NoState)
    }

    fn restore<'r>(
        &mut self,
        restored: &'r Restored,
        env: &Env,
    ) -> Result<(OpenBackend, &'r [SavedInstance]), Failure> {
        let instance = &env.instance;
        let groups = KeyGroups::DEFAULT;
        let below = OpenBackend::in_memory(groups, 0..groups.count());
        self.same_parallelism = restored.is_empty() || restored.instances.len() == instance.parallelism;
        if !self.same_parallelism {
            Self::check_parallelism(restored, instance.parallelism)?;
            return Ok((below, &[]));
        }
        for (writer, section) in restored.sections(SectionKind::InstanceState) {
            if writer == instance.index {
                self.state = decode(&mut section.bytes.as_slice())
                    .map_err(|error| Failure::state(chain_of(&error)))?;
            }
        }
        Ok((below, restored.instances.get(instance.index..=instance.index).unwrap_or_default()))
    }

    fn additions(&self) -> Option<Additions> {
        None
    }

    fn begin_snapshot(&mut self, _checkpoint: u64, _all: bool) -> Result<Vec<SnapshotItem>, Failure> {
        // One value: it is written at once.
        Ok(vec![instance_section(&self.state, &mut self.sampler).into()])
    }

    fn snapshot_slice(&mut self, _slots: usize) -> Result<SliceProgress, CodecError> {
        Ok(SliceProgress::Done)
    }

    fn take_sections(&mut self) -> Vec<Section> {
        Vec::new()
    }

    fn abort_snapshot(&mut self) {}

    fn complete(&mut self, _checkpoint: u64) {}

    fn save_all(&mut self) {}

    fn work_on(&mut self, _slots: usize) {}
}
