//! Collections: maps, lists and values that a key has besides its state, each found by a name.
//!
//! What a key has in a collection lies in pages, each of them an entry of one table for all collections of an instance. So a
//! snapshot holds the pages that have changed and not whole collections, and a database below is read by the page. A map
//! grows by one page at a time, by linear hashing (W. Litwin, "Linear hashing: a new tool for file and table addressing",
//! 1980): the number of pages and the hash of a key say which page it is on. Pages of collections that the program does not
//! use (any more) stay as they are.

mod aggregating;
mod any;
mod key;
mod list;
mod map;
mod names;
mod page;
mod reducing;
#[cfg(test)]
mod tests;
mod value;

use std::any::TypeId;

pub use aggregating::{Aggregate, AggregatingState, OpenAggregating};
pub use any::Collection;
pub(crate) use key::split_numbers;
use key::{PageKey, place};
pub use list::{ListState, OpenList};
pub use map::{MapState, OpenMap};
pub use names::{CollectionKind, CollectionName, names_in};
use names::{Names, Used};
use page::{Leaf, Page, open};
pub(crate) use page::{items_of, times_of};
pub use reducing::{OpenReducing, ReducingState};
pub use value::{OpenValue, ValueState};

use crate::table::{Additions, Sweep};
use crate::{
    CodecError, Data, Key, KeyGroups, KeyedTable, OpenBackend, SavedInstance, Section, SectionKind,
    SliceProgress, SnapshotBegun, StateFault, Ttl,
};

/// The collections of an operator instance.
#[derive(Debug)]
pub struct Collections<K> {
    table: KeyedTable<PageKey<K>, Page>,
    names: Names,
    /// The pages that the record in process has changed, as they were; `None` if what it changes is never taken back.
    before: Option<Vec<(PageKey<K>, Option<Page>)>>,
    sweep: Sweep,
    /// Where it is said what the database may forget.
    backend: OpenBackend,
}

/// What one key has in one collection.
#[derive(Debug)]
struct At<'c, K> {
    collections: &'c mut Collections<K>,
    key: &'c K,
    hash: u64,
    collection: u32,
    ttl: Option<Ttl>,
    now_ms: i64,
}

/// A name, and how the collection is used.
#[derive(Debug)]
struct Declared {
    name: String,
    id: u32,
    kind: CollectionKind,
    ttl: Option<Ttl>,
}

impl Declared {
    fn new(name: &str, kind: CollectionKind) -> Self {
        Self { name: name.to_owned(), id: names::number(name), kind, ttl: None }
    }
}

/// Who asks for a collection: the key, its hash, and the time in milliseconds.
#[derive(Debug)]
pub struct Asking<'c, K> {
    /// The key.
    pub key: &'c K,
    /// Its [`hash_key`](crate::hash_key).
    pub hash: u64,
    /// Processing time, which is only looked at where something expires.
    pub now_ms: i64,
}

impl<K: Key> Collections<K> {
    /// Without any; `takes_back` says whether what a record changes may have to be taken back.
    pub fn new(groups: KeyGroups, owned: std::ops::Range<u16>, takes_back: bool) -> Self {
        Self {
            table: KeyedTable::new(groups, owned.clone()),
            names: Names::default(),
            before: takes_back.then(Vec::new),
            sweep: Sweep::default(),
            backend: OpenBackend::in_memory(groups, owned),
        }
    }

    /// Begins with what was saved, over what is below this instance.
    ///
    /// # Errors
    /// If the database cannot be read, or something does not decode.
    pub fn restore(&mut self, saved: &[SavedInstance], backend: OpenBackend) -> Result<(), StateFault> {
        self.table = backend.table()?;
        self.backend = backend;
        for section in saved.iter().flat_map(|saved| &saved.sections) {
            if section.kind == SectionKind::CollectionNames {
                self.names.restore(section)?;
            }
        }
        if !self.names.is_empty() {
            self.backend.shared_by(2);
        }
        Ok(self.table.restore_saved(saved)?)
    }

    /// Saves changes however many they are: for tests with little state.
    #[doc(hidden)]
    pub fn always_save_changes(&mut self) {
        self.table.always_save_changes();
    }

    /// Whether no collection has ever been used.
    #[inline]
    pub fn are_unused(&self) -> bool {
        self.names.is_empty()
    }

    /// From here on, changes belong to one record and can be taken back.
    #[inline]
    pub fn begin_record(&mut self) {
        if let Some(before) = &mut self.before {
            before.clear();
        }
    }

    /// Takes back what was changed since [`begin_record`](Self::begin_record).
    pub fn take_back(&mut self) {
        let Some(before) = &mut self.before else { return };
        for (key, page) in std::mem::take(before).into_iter().rev() {
            let place = crate::TableKey::place(&key);
            match page {
                Some(page) => *self.table.entry(place, key).1 = page,
                None => {
                    self.table.remove(place, &key);
                }
            }
        }
    }

    /// How much the snapshots of changes amount to that the next one would add to.
    pub fn additions(&self) -> Option<Additions> {
        self.table.additions()
    }

    /// See [`KeyedTable::begin_snapshot_with`]. The names are written at once.
    ///
    /// # Errors
    /// What cannot be encoded.
    pub fn begin_snapshot(
        &mut self,
        checkpoint: u64,
        all: bool,
    ) -> Result<(SnapshotBegun, Option<Section>), CodecError> {
        let names = self.names.save()?;
        Ok((self.table.begin_snapshot_with(checkpoint, all), names))
    }

    /// See [`KeyedTable::snapshot_slice`].
    ///
    /// # Errors
    /// What could not be encoded.
    pub fn snapshot_slice(&mut self, slots: usize) -> Result<SliceProgress, CodecError> {
        self.table.snapshot_slice(slots)
    }

    /// See [`KeyedTable::take_sections`].
    pub fn take_sections(&mut self) -> Vec<Section> {
        self.table.take_sections()
    }

    /// See [`KeyedTable::abort_snapshot`].
    pub fn abort_snapshot(&mut self) {
        self.table.abort_snapshot();
    }

    /// See [`KeyedTable::complete`].
    pub fn complete(&mut self, checkpoint: u64) {
        self.table.complete(checkpoint);
    }

    /// Goes on with work that has time: looks at so many pages for what has expired, and for what the database lacks.
    pub fn work_on(&mut self, slots: usize, now_ms: impl FnOnce() -> i64) {
        self.table.write_back(slots);
        if self.names.ttls().next().is_some() {
            self.drop_expired(slots, now_ms());
        }
    }

    fn drop_expired(&mut self, slots: usize, now_ms: i64) {
        let Self { table, names, sweep, .. } = self;
        let shortest = names.ttls().map(|(_, ttl)| ttl.after_ms()).min().unwrap_or(i64::MAX);
        self.backend.expiry().set_now(now_ms);
        // A round for each quarter of the shortest life keeps a quarter more than there has to be.
        let picked = table.sweep(sweep, slots, (now_ms, shortest / 4), |key, page| {
            let ttl = names.used(key.collection).and_then(|used| used.ttl);
            ttl.is_some_and(|ttl| page.has_expired(|time| ttl.has_expired(time, now_ms)))
        });
        for key in picked {
            let dropped = self.drop_expired_of(&key, now_ms);
            dropped.unwrap_or_else(|source| failed(&self.names, key.collection, source));
        }
    }

    /// Drops what has expired of a page, and the page if nothing is left.
    fn drop_expired_of(&mut self, key: &PageKey<K>, now_ms: i64) -> Result<(), CodecError> {
        let Some(Used { open, ttl: Some(ttl), .. }) = self.names.used(key.collection).copied() else {
            return Ok(());
        };
        let hash = crate::hash_key(&key.key);
        let page = self.table.entry(crate::TableKey::place(key), key.clone()).1.opened(open)?;
        let dropped = page.drop_by_time(&|time| ttl.has_expired(time, now_ms));
        let mut left = dropped.left > 0;
        if key.page > 0 {
            if !left {
                self.table.remove(crate::TableKey::place(key), key);
            }
            let first = PageKey { page: 0, ..key.clone() };
            let place = place(hash, key.collection, 0);
            left = match self.table.get_mut(place, &first) {
                Some(page) => page.opened(open)?.forget(dropped.items) > 0,
                None => true,
            };
        } else if dropped.pages > 1 {
            left = true;
        }
        if !left {
            self.clear(hash, &key.key, key.collection);
        }
        Ok(())
    }

    /// Removes all pages of a collection that a key has.
    fn clear(&mut self, hash: u64, key: &K, collection: u32) {
        let first = PageKey { key: key.clone(), collection, page: 0 };
        let pages = match self.table.get(place(hash, collection, 0), &first) {
            Some(Page::Open(page)) => page.pages(),
            Some(Page::Encoded(bytes)) => times_of(bytes).map_or(1, |(pages, _)| pages),
            None => return,
        };
        for page in (0..pages).rev() {
            self.remove_page(hash, &PageKey { page, ..first.clone() });
        }
    }

    fn remove_page(&mut self, hash: u64, key: &PageKey<K>) {
        let place = place(hash, key.collection, key.page);
        let taken_back = self.before.is_some();
        if let Some(page) = self.table.remove(place, key)
            && taken_back
        {
            self.remember(key, Some(page));
        }
    }

    /// What a page was, before the record in process changed it.
    fn remember(&mut self, key: &PageKey<K>, page: Option<Page>) {
        if let Some(before) = &mut self.before
            && !before.iter().any(|(known, _)| known == key)
        {
            before.push((key.clone(), page));
        }
    }

    /// What a key has in a collection.
    #[inline]
    fn at<'c, E: Data>(&'c mut self, declared: &Declared, asking: Asking<'c, K>) -> At<'c, K> {
        let Declared { name, id, kind, ttl } = declared;
        let used = Used {
            item: TypeId::of::<E>(),
            type_name: std::any::type_name::<E>(),
            open: open::<E>,
            ttl: *ttl,
        };
        match self.names.use_as(*id, name, *kind, used) {
            Ok(false) => {}
            Ok(true) => {
                self.backend.shared_by(2);
                self.backend.expiry().set(*id, *ttl);
            }
            Err(error) => StateFault::from(error).throw(),
        }
        let Asking { key, hash, now_ms } = asking;
        At { collections: self, key, hash, collection: *id, ttl: *ttl, now_ms }
    }
}

impl<K: Key> At<'_, K> {
    fn page_key(&self, page: u32) -> PageKey<K> {
        PageKey { key: self.key.clone(), collection: self.collection, page }
    }

    /// Whether what was used last at a time is gone.
    fn expired(&self) -> impl Fn(i64) -> bool + use<K> {
        let (ttl, now_ms) = (self.ttl, self.now_ms);
        move |time| ttl.is_some_and(|ttl| ttl.has_expired(time, now_ms))
    }

    /// Whether to look at something is to use it.
    fn is_renewed_by_reading(&self) -> bool {
        self.ttl.is_some_and(Ttl::is_renewed_by_reading)
    }

    /// A page to be looked at, if it is there.
    fn leaf<E: Data>(&mut self, page: u32) -> Option<&mut Leaf<E>> {
        let (hash, key, id) = (self.hash, self.key, self.collection);
        let (expires, place) = (self.ttl.is_some(), place(hash, id, page));
        let is = |other: &PageKey<K>| other.collection == id && other.page == page && other.key == *key;
        let make = || PageKey { key: key.clone(), collection: id, page };
        let Collections { table, names, .. } = &mut *self.collections;
        let leaf: &mut Leaf<E> = decoded(names, id, table.get_by(place, is, make)?);
        if expires && leaf.times.len() != leaf.items.len() {
            return Some(self.change(page));
        }
        // Looked up once more, as the borrow checker cannot tell the two ways apart.
        let Collections { table, names, .. } = &mut *self.collections;
        Some(decoded(names, id, table.get_by(place, is, make)?))
    }

    /// A page to be changed, empty if there was none.
    fn change<E: Data>(&mut self, page: u32) -> &mut Leaf<E> {
        let (hash, key, id) = (self.hash, self.key, self.collection);
        let (ttl, now_ms, place) = (self.ttl, self.now_ms, place(hash, id, page));
        let is = |other: &PageKey<K>| other.collection == id && other.page == page && other.key == *key;
        let make = || PageKey { key: key.clone(), collection: id, page };
        if self.collections.before.is_some() {
            let before = self.collections.table.get_by(place, is, make).map(|page| page.clone());
            self.collections.remember(&make(), before);
        }
        let Collections { table, names, .. } = &mut *self.collections;
        let leaf: &mut Leaf<E> = decoded(names, id, table.entry_by(place, is, make).1);
        match ttl {
            None => leaf.times.clear(),
            // What was kept without times begins its life now.
            Some(_) => leaf.times.resize(leaf.items.len(), now_ms),
        }
        leaf
    }

    /// Removes a page, if it is there.
    fn remove(&mut self, page: u32) {
        let key = self.page_key(page);
        self.collections.remove_page(self.hash, &key);
    }

    /// How many pages there are; 0 if there is nothing.
    fn pages<E: Data>(&mut self) -> u32 {
        self.leaf::<E>(0).map_or(0, |leaf| leaf.pages)
    }

    /// Removes everything.
    fn clear(&mut self) {
        self.collections.clear(self.hash, self.key, self.collection);
    }
}

fn decoded<'p, E: Data>(names: &Names, collection: u32, page: &'p mut Page) -> &'p mut Leaf<E> {
    let error = match page.leaf::<E>() {
        Ok(Some(leaf)) => return leaf,
        Ok(None) => CodecError::Short { inside: "a page of another type" },
        Err(error) => error,
    };
    failed(names, collection, error)
}

#[cold]
fn failed(names: &Names, collection: u32, source: CodecError) -> ! {
    let name = names.name_of(collection);
    StateFault::from(CodecError::Collection { name, source: Box::new(source) }).throw()
}
