//! A database in memory, for tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Changes, Database};
use crate::StoreError;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A sorted map, and the copies that were made of it.
#[derive(Debug, Default)]
pub(crate) struct MapDatabase {
    map: Mutex<Map>,
    copies: Mutex<BTreeMap<PathBuf, Map>>,
}

impl MapDatabase {
    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what `expired` picks, as a database does when it tidies up.
    pub(crate) fn forget(&self, expired: &dyn Fn(&[u8], &[u8]) -> bool) {
        self.map().retain(|key, value| !expired(key, value));
    }

    /// How many keys have something.
    pub(crate) fn len(&self) -> usize {
        self.map().len()
    }

    /// A database that begins as this copy.
    pub(crate) fn open_copy(&self, folder: &Path) -> Self {
        let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        Self { map: Mutex::new(copies[folder].clone()), copies: Mutex::default() }
    }
}

impl Database for MapDatabase {
    fn get(&self, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        if let Some(state) = self.map().get(key) {
            found(state);
        }
        Ok(())
    }

    fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut map = self.map();
        for (key, state) in changes {
            match state {
                Some(state) => map.insert(key.clone(), state.clone()),
                None => map.remove(key),
            };
        }
        Ok(())
    }

    fn scan(
        &self,
        groups: &Range<u16>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let (from, to) = (groups.start.to_be_bytes().to_vec(), groups.end.to_be_bytes().to_vec());
        let _ = self.map().range(from..to).all(|(key, state)| visit(key, state));
        Ok(())
    }

    fn copy_to(&self, folder: &Path) -> Result<(), StoreError> {
        let copy = self.map().clone();
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned(), copy);
        Ok(())
    }

    fn waiting_bytes_max(&self) -> usize {
        usize::MAX
    }

    fn scratch(&self) -> &Path {
        Path::new("scratch")
    }
}
