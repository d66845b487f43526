//! What a database may forget by itself, as it has expired.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::de::IgnoredAny;

use crate::collections::{header_of, split_numbers};
use crate::database::split_key;
use crate::table::split_time;
use crate::{Ttl, decode};

/// How long states and collections live, and what time it is: for those who tidy up a database in the background.
#[derive(Debug, Default)]
pub struct Expiry {
    lives: Mutex<Lives>,
    now_ms: AtomicI64,
}

#[derive(Debug, Default)]
struct Lives {
    state: Option<Ttl>,
    collections: BTreeMap<u32, Ttl>,
}

impl Expiry {
    /// The states of keys live so long.
    pub fn set_state(&self, ttl: Ttl) {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).state = Some(ttl);
    }

    /// What is in this collection lives so long.
    pub(crate) fn set(&self, collection: u32, ttl: Option<Ttl>) {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        match ttl {
            Some(ttl) => lives.collections.insert(collection, ttl),
            None => lives.collections.remove(&collection),
        };
    }

    /// It is this time, in milliseconds.
    pub fn set_now(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether nobody misses what a database has for a key.
    #[cfg_attr(not(feature = "rocksdb"), expect(dead_code, reason = "without RocksDB there is no database"))]
    pub(crate) fn has_expired(&self, key: &[u8], value: &[u8]) -> bool {
        self.expired(key, value).unwrap_or(false)
    }

    fn expired(&self, key: &[u8], value: &[u8]) -> Option<bool> {
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        let (_, space, mut key) = split_key(key)?;
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        if space == 0 {
            let used_ms = split_time(&mut &*value)?;
            return Some(lives.state?.has_expired(used_ms, now_ms));
        }
        if lives.collections.is_empty() {
            return None;
        }
        decode::<IgnoredAny>(&mut key).ok()?;
        let (collection, page) = split_numbers(&mut key)?;
        let ttl = *lives.collections.get(&collection)?;
        let header = header_of(value)?;
        if page == 0 && header.pages > 1 {
            // It knows of the others, and goes last.
            return Some(ttl.has_expired_altogether(header.newest_ms, now_ms));
        }
        let mut times = header.times.iter();
        Some(!header.times.is_empty() && times.all(|time| ttl.has_expired(*time, now_ms)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{TableState, Timed};

    #[test]
    fn only_what_has_expired_is_forgotten() {
        let expiry = Expiry::default();
        let ttl = Ttl::after_access(Duration::from_millis(10));
        let mut state = Timed::<u64>::default();
        *state.at(ttl, 100) = 7;
        let mut value = Vec::new();
        state.write(&mut value).unwrap();
        let key = [0, 3, 0, 1];
        expiry.set_now(110);
        assert!(!expiry.has_expired(&key, &value), "nobody has said how long it lives");
        expiry.set_state(ttl);
        assert!(expiry.has_expired(&key, &value));
        expiry.set_now(109);
        assert!(!expiry.has_expired(&key, &value));
        assert!(!expiry.has_expired(&key, &[7]), "it was kept without a time");
    }
}
