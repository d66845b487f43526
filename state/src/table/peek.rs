//! Looking at a state without leaving a trace: for those who ask from outside.

use super::cache::database_key;
use super::{KeyedTable, TableKey, TableState};
use crate::{CodecError, StateFault};

impl<K: TableKey, S: TableState> KeyedTable<K, S> {
    /// What `look` says of the state of `key`, if it has any. Nothing changes by that: no entry comes into memory or
    /// goes from there, and none counts as used or as changed.
    ///
    /// # Errors
    /// If the database below refuses, or has a state that does not decode.
    ///
    /// # Panics
    /// If the key's group is not among those owned.
    pub fn peek<R>(&self, key: &K, look: impl FnOnce(&S) -> R) -> Result<Option<R>, StateFault> {
        let tag = self.tag_of(key.place());
        if let Ok(slot) = self.entries.find(tag, |entry| entry.key == *key) {
            return Ok(Some(look(&self.entries.at(slot).state)));
        }
        let Some(cache) = &self.below else { return Ok(None) };
        let mut encoded = Vec::new();
        database_key(self.groups, key, &mut encoded)?;
        let mut state: Option<Result<S, CodecError>> = None;
        cache.stored(&encoded, &mut |mut bytes| state = Some(S::read(&mut bytes)))?;
        Ok(state.transpose()?.as_ref().map(look))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::database::testing::MapDatabase;
    use crate::database::{SharedBuffer, WriteBuffer};
    use crate::{DatabaseCopy, KeyGroups, KeyedTable, Section, SliceProgress, StateFault, hash_key};

    type Counts = KeyedTable<u32, u64>;

    fn over(database: &Arc<MapDatabase>, limit: usize) -> Counts {
        KeyedTable::over(KeyGroups::DEFAULT, 0..128, buffer(database), move |_| limit)
    }

    fn buffer(database: &Arc<MapDatabase>) -> SharedBuffer {
        SharedBuffer::new(WriteBuffer::new(Arc::clone(database) as _, DatabaseCopy::default()))
    }

    /// Changes a table, with a look at every key after each change or without, and makes a snapshot of it.
    fn changed(mut table: Counts, looks: bool) -> (Vec<(u32, u64)>, Vec<Section>) {
        for step in 0..300_u32 {
            let key = step * 7 % 50;
            if step % 11 == 3 {
                table.remove(hash_key(&key), &key);
            } else {
                *table.entry(hash_key(&key), key).1 += u64::from(step);
            }
            if step == 150 {
                table.begin_snapshot(1);
            }
            if looks {
                let before = (table.len(), table.births());
                for key in 0..60 {
                    let seen = table.peek(&key, |state| *state).unwrap();
                    assert!(seen.is_none() || key < 50);
                }
                assert_eq!((table.len(), table.births()), before);
            }
        }
        while table.snapshot_slice(10).unwrap() == SliceProgress::More {}
        let sections = table.take_sections();
        let mut in_memory: Vec<(u32, u64)> = table.iter().map(|(key, state)| (*key, *state)).collect();
        in_memory.sort_unstable();
        (in_memory, sections)
    }

    #[test]
    fn whoever_looks_leaves_no_trace_in_memory_or_in_snapshots() {
        let table = || KeyedTable::new(KeyGroups::DEFAULT, 0..128);
        assert_eq!(changed(table(), true), changed(table(), false));
        let table = || over(&Arc::default(), 10);
        assert_eq!(changed(table(), true), changed(table(), false));
    }

    #[test]
    fn what_is_looked_at_is_found_in_memory_and_in_the_database() {
        let mut table = over(&Arc::default(), 10);
        for key in 0..100_u32 {
            *table.entry(hash_key(&key), key).1 = u64::from(key) * 3;
        }
        table.remove(hash_key(&7), &7);
        assert!(table.len() <= 10);
        for key in 0..100_u32 {
            let expected = (key != 7).then_some(u64::from(key) * 3);
            assert_eq!(table.peek(&key, |state| *state).unwrap(), expected);
        }
        assert_eq!(table.peek(&100, |state| *state).unwrap(), None);
    }

    #[test]
    fn a_state_that_does_not_decode_is_an_error_for_who_looks() {
        let database = Arc::<MapDatabase>::default();
        let mut words: KeyedTable<u32, String> =
            KeyedTable::over(KeyGroups::DEFAULT, 0..128, buffer(&database), |_| 1);
        for key in 0..2000_u32 {
            *words.entry(hash_key(&key), key).1 = "text".to_string();
        }
        let fault = over(&database, 10).peek(&3, |state| *state).unwrap_err();
        assert!(matches!(&fault, StateFault::Codec(_)) && fault.to_string().contains("u64"), "{fault}");
    }
}
