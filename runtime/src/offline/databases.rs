//! The states of an operator in databases, one for each instance: for more of them than a job could read as it starts.

use watershed_actors::guard;
use watershed_state::{
    Collection, Collections, DatabaseCopy, Key, KeyGroups, KeyedTable, SliceProgress, SnapshotPlace, State,
    StateBackend, StateFault, chain_of, hash_key,
};

use crate::error::{Error, Result};
use crate::offline::operator::now_ms;
use crate::offline::parts::Parts;
use crate::scratch::Scratch;

/// Databases in the making, in the system's folder for temporary files.
#[derive(Debug)]
pub(super) struct Databases<K, S> {
    operator: String,
    tables: Vec<Tables<K, S>>,
    /// Gone after them.
    _scratch: Scratch,
}

/// What an instance has: both are in one database.
#[derive(Debug)]
struct Tables<K, S> {
    states: KeyedTable<K, S>,
    collections: Collections<K>,
    puts: u64,
}

/// Memory is looked after each time that so much was put there.
const PUTS: u64 = 16;

impl<K: Key, S: State> Tables<K, S> {
    /// Something was put there: what has no room in memory any more goes to the database.
    fn was_put(&mut self) {
        self.puts += 1;
        if self.puts.is_multiple_of(PUTS) {
            self.states.write_back(1);
            self.collections.write_back(1);
        }
    }
}

/// Slots that are looked at in one go.
const SLOTS: usize = 64 * 1024;

impl<K: Key, S: State> Databases<K, S> {
    /// Empty ones, of an operator with so many instances. `None` if states are to be kept in memory.
    pub(super) fn open(
        operator: &str,
        backend: &StateBackend,
        (groups, instances): (KeyGroups, usize),
    ) -> Result<Option<Self>> {
        if matches!(backend, StateBackend::Memory) {
            return Ok(None);
        }
        let scratch = Scratch::temporary();
        let table = |instance: usize| {
            let folder = scratch.folder().join(format!("instance-{instance}"));
            let owned = groups.range(instance, instances);
            let below = backend.open(groups, owned.clone(), &folder, &[])?;
            let (states, mut collections) = (below.table()?, Collections::new(groups, owned));
            collections.restore(&[], below)?;
            Ok(Tables { states, collections, puts: 0 })
        };
        let tables: Result<Vec<_>, StateFault> = (0..instances).map(table).collect();
        let failed = |fault: StateFault| Error::state(format!("`{operator}`: {}", chain_of(&fault)));
        let tables = tables.map_err(failed)?;
        Ok(Some(Self { operator: operator.to_string(), tables, _scratch: scratch }))
    }

    /// Gives a key of an instance its state.
    pub(super) fn put(&mut self, instance: usize, key: &K, state: &S) -> Result<()> {
        let tables = &mut self.tables[instance];
        let put = guard(|| {
            let table = &mut tables.states;
            let (hash, births) = (hash_key(key), table.births());
            table.entry(hash, key.clone());
            let is_new = table.births() > births;
            if is_new {
                *table.entry(hash, key.clone()).1 = state.clone();
            }
            tables.was_put();
            is_new
        });
        let operator = &self.operator;
        match put {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::config(format!("a key of `{operator}` is there twice{}", shown(key)))),
            Err(failure) => Err(Error::state(format!("`{operator}`: {}", failure.cause))),
        }
    }

    /// Adds items to what a key of an instance has in a collection.
    pub(super) fn put_all<C: Collection>(
        &mut self,
        instance: usize,
        key: &K,
        collection: &C,
        items: impl IntoIterator<Item = C::Item>,
    ) -> Result<()> {
        let tables = &mut self.tables[instance];
        let put = guard(|| {
            collection.add(&mut tables.collections, (key, hash_key(key)), now_ms, items);
            tables.was_put();
            true
        });
        put.map(drop).map_err(|failure| Error::state(format!("`{}`: {}", self.operator, failure.cause)))
    }

    /// Puts copies of the databases into the savepoint. Returns them in the order of the instances.
    pub(super) fn store(mut self, place: &SnapshotPlace, parts: &mut Parts) -> Result<Vec<DatabaseCopy>> {
        let mut copies = Vec::new();
        for (instance, table) in self.tables.iter_mut().enumerate() {
            let stored = guard(|| store(table, place, instance, parts));
            let stored =
                stored.map_err(|failure| Error::state(format!("`{}`: {}", self.operator, failure.cause)))?;
            copies.push(
                stored.map_err(|fault| Error::state(format!("`{}`: {}", self.operator, chain_of(&fault))))?,
            );
        }
        Ok(copies)
    }
}

fn store<K: Key, S: State>(
    Tables { states, collections, .. }: &mut Tables<K, S>,
    place: &SnapshotPlace,
    instance: usize,
    parts: &mut Parts,
) -> Result<DatabaseCopy, StateFault> {
    // Its folder is there then, and is synced when the file is complete.
    parts.file(instance)?;
    // What has not changed for a whole snapshot is written to the database, if not everything has room in memory: then
    // there is little that only memory has.
    for checkpoint in 1..=2 {
        drop(states.begin_snapshot(checkpoint));
        drop(collections.begin_snapshot(checkpoint, true)?);
        states.abort_snapshot();
        collections.abort_snapshot();
    }
    while states.write_back(SLOTS) {}
    while collections.write_back(SLOTS) {}
    let begun = states.begin_snapshot(3);
    let (_, names) = collections.begin_snapshot(3, true)?;
    let copy = match begun.link {
        Some(link) => link.store(&place.objects, &parts.name(instance))?,
        None => DatabaseCopy::default(),
    };
    if let Some(section) = &names {
        parts.write(instance, section)?;
    }
    loop {
        let mut progress = states.snapshot_slice(SLOTS)?;
        if progress == SliceProgress::Done {
            progress = collections.snapshot_slice(SLOTS)?;
        }
        for section in states.take_sections().iter().chain(&collections.take_sections()) {
            parts.write(instance, section)?;
        }
        if progress == SliceProgress::Done {
            return Ok(copy);
        }
    }
}

/// A key, for who looks for it.
fn shown<K: Key>(key: &K) -> String {
    serde_json::to_string(key).map_or(String::new(), |key| format!(": {key}"))
}

#[cfg(all(test, feature = "rocksdb"))]
mod tests {
    use watershed_state::RocksDb;

    use super::*;

    #[test]
    fn of_long_states_as_many_are_in_memory_as_have_room_there() {
        let backend = StateBackend::from(RocksDb::new().memory_bytes(4 * 1024 * 1024));
        let groups = KeyGroups::DEFAULT;
        let databases = Databases::<u32, String>::open("texts", &backend, (groups, 1)).unwrap();
        let mut databases = databases.unwrap();
        for key in 0..1_000 {
            databases.put(0, &key, &"long".repeat(2_500)).unwrap();
            let bytes = databases.tables[0].states.len() * 10_000;
            assert!(bytes < 3_000_000, "{bytes}");
        }
        assert!(databases.tables[0].states.len() > 100);
    }
}
