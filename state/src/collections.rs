//! Collections: maps, lists and values that a key has besides its state, each found by a name.
//!
//! What a key has in a collection lies in pages, each of them an entry of one table for all collections of an instance.
//! So a snapshot holds the pages that have changed and not whole collections, and a database below is read by the page.
//! A map grows by one page at a time, by linear hashing (W. Litwin, "Linear hashing: a new tool for file and table
//! addressing", 1980): the number of pages and the hash of a key say which page it is on. Pages of collections that the
//! program does not use (any more) stay as they are.

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
use std::collections::BTreeSet;
use std::ops::Range;

pub use aggregating::{Aggregate, AggregatingState, OpenAggregating};
pub use any::Collection;
pub(crate) use key::split_numbers;
use key::{PageKey, id_of, place};
pub use list::{ListState, OpenList};
pub use map::{MapState, OpenMap};
pub use names::{CollectionKind, CollectionName, names_in};
use names::{Names, Used};
use page::{Leaf, Page, open};
pub(crate) use page::{header_of, items_of};
pub use reducing::{OpenReducing, ReducingState};
pub use value::{OpenValue, ValueState};

use crate::history::Additions;
use crate::table::Sweep;
use crate::{
    CodecError, Data, Key, KeyGroups, KeyedTable, OpenBackend, SavedInstance, Section, SectionKind,
    SliceProgress, SnapshotBegun, StateFault, TableKey, Ttl,
};

/// The collections of an operator instance.
#[derive(Debug)]
pub struct Collections<K> {
    table: KeyedTable<PageKey<K>, Page>,
    names: Names,
    /// Whether what the record in process changes may have to be taken back.
    keeps: bool,
    /// The pages that it has changed, as they were.
    before: Vec<(PageKey<K>, Option<Page>)>,
    /// Which those are: all of one key.
    touched: BTreeSet<(u32, u32)>,
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
        Self { name: name.to_owned(), id: id_of(name), kind, ttl: None }
    }
}

impl<K: Key> Collections<K> {
    /// Without any.
    pub fn new(groups: KeyGroups, owned: Range<u16>) -> Self {
        Self {
            table: KeyedTable::new(groups, owned.clone()),
            names: Names::default(),
            keeps: false,
            before: Vec::new(),
            touched: BTreeSet::new(),
            sweep: Sweep::default(),
            backend: OpenBackend::in_memory(groups, owned),
        }
    }

    /// Whether there is something in what was saved. The table of states has to leave room for it then, by
    /// [`OpenBackend::shared_by`].
    pub fn are_in(saved: &[SavedInstance]) -> bool {
        let mut sections = saved.iter().flat_map(|saved| &saved.sections);
        sections.any(|section| section.kind == SectionKind::CollectionNames && section.entries > 0)
    }

    /// Begins with what was saved, over what is below this instance.
    ///
    /// # Errors
    /// If the database cannot be read, or something does not decode.
    pub fn restore(&mut self, saved: &[SavedInstance], backend: OpenBackend) -> Result<(), StateFault> {
        for section in saved.iter().flat_map(|saved| &saved.sections) {
            if section.kind == SectionKind::CollectionNames {
                self.names.restore(section)?;
            }
        }
        // Where nothing has a name, there is nothing to be found.
        self.table = if self.names.is_empty() { backend.fresh_table() } else { backend.table()? };
        self.backend = backend;
        self.backend.has_been_read();
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

    /// Whether no key has anything in a collection; where there is a database, as far as is in memory.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Says whether what the next records change may have to be taken back.
    pub fn keep(&mut self, keeps: bool) {
        self.begin_record();
        self.keeps = keeps;
    }

    /// From here on, changes belong to one record and can be taken back.
    #[inline]
    pub fn begin_record(&mut self) {
        if !self.before.is_empty() {
            self.before.clear();
            self.touched.clear();
        }
    }

    /// Takes back what was changed since [`begin_record`](Self::begin_record).
    pub fn take_back(&mut self) {
        self.touched.clear();
        for (key, page) in std::mem::take(&mut self.before).into_iter().rev() {
            let place = key.place();
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

    /// See [`KeyedTable::save_all`].
    pub fn save_all(&mut self) {
        self.table.save_all();
    }

    /// See [`KeyedTable::write_back`].
    pub fn write_back(&mut self, slots: usize) -> bool {
        self.table.write_back(slots)
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
        // What is dropped here was changed by no record.
        self.keeps = false;
        // A round for each quarter of the shortest life keeps a quarter more than there has to be.
        let picked = table.sweep(sweep, slots, (now_ms, shortest / 4), |key, page| {
            let ttl = names.used(key.collection).and_then(|used| used.ttl);
            ttl.is_some_and(|ttl| page.has_expired(key.page, ttl, now_ms))
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
        // It may be gone already, with others that had expired.
        let Some(page) = self.table.get_mut(key.place(), key) else { return Ok(()) };
        let page = page.opened(open)?;
        let all_expired = key.page == 0 && ttl.has_expired_altogether(page.newest(), now_ms);
        let dropped = page.drop_by_time(&|time| ttl.has_expired(time, now_ms));
        let mut len = dropped.len;
        if key.page > 0 {
            let is_empty = dropped.left == 0;
            if is_empty {
                self.table.remove(key.place(), key);
            }
            let first = PageKey { page: 0, ..key.clone() };
            let Some(page) = self.table.get_mut(place(hash, key.collection, 0), &first) else {
                return Ok(());
            };
            let gone = (is_empty && self.names.is_list(key.collection)).then_some(key.page);
            len = page.opened(open)?.forget(dropped.items, gone);
        }
        if len == 0 || all_expired {
            self.clear(hash, &key.key, key.collection);
        }
        Ok(())
    }

    /// Removes all pages of a collection that a key has.
    fn clear(&mut self, hash: u64, key: &K, collection: u32) {
        let first = PageKey { key: key.clone(), collection, page: 0 };
        let Some((begin, pages)) = self.table.get(place(hash, collection, 0), &first).map(Page::extent)
        else {
            return;
        };
        for page in (begin..pages).rev().chain([0]) {
            self.remove_page(hash, &PageKey { page, ..first.clone() });
        }
    }

    fn remove_page(&mut self, hash: u64, key: &PageKey<K>) {
        if let Some(page) = self.table.remove(place(hash, key.collection, key.page), key)
            && self.is_first_change(key.collection, key.page)
        {
            self.before.push((key.clone(), Some(page)));
        }
    }

    /// Whether a page is about to be changed that the record in process has not changed yet, and that may have to be
    /// taken back.
    fn is_first_change(&mut self, collection: u32, page: u32) -> bool {
        self.keeps && self.touched.insert((collection, page))
    }

    /// What a key has in a collection.
    #[inline]
    fn at<'c, E: Data>(
        &'c mut self,
        declared: &Declared,
        (key, hash): (&'c K, u64),
        now_ms: impl FnOnce() -> i64,
    ) -> At<'c, K> {
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
        let now_ms = ttl.map_or(0, |_| now_ms());
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
        let place = place(hash, id, page);
        let is = |other: &PageKey<K>| other.collection == id && other.page == page && other.key == *key;
        let make = || PageKey { key: key.clone(), collection: id, page };
        if self.ttl.is_some() {
            let Collections { table, names, .. } = &mut *self.collections;
            let leaf: &mut Leaf<E> = decoded(names, id, table.get_by(place, is, make)?);
            if leaf.times.len() != leaf.items.len() {
                return Some(self.change(page));
            }
        }
        let Collections { table, names, .. } = &mut *self.collections;
        Some(decoded(names, id, table.get_by(place, is, make)?))
    }

    /// A page to be changed, empty if there was none.
    fn change<E: Data>(&mut self, page: u32) -> &mut Leaf<E> {
        let (hash, key, id) = (self.hash, self.key, self.collection);
        if let Some(ttl) = self.ttl
            && page > 0
        {
            self.renew_newest::<E>(ttl);
        }
        let (ttl, now_ms, place) = (self.ttl, self.now_ms, place(hash, id, page));
        let is = |other: &PageKey<K>| other.collection == id && other.page == page && other.key == *key;
        let make = || PageKey { key: key.clone(), collection: id, page };
        if self.collections.is_first_change(id, page) {
            let before = self.collections.table.get_by(place, is, make).map(|page| page.clone());
            self.collections.before.push((make(), before));
        }
        let Collections { table, names, .. } = &mut *self.collections;
        let leaf: &mut Leaf<E> = decoded(names, id, table.entry_by(place, is, make).1);
        if ttl.is_some() {
            // What was kept without times begins its life now.
            leaf.times.resize(leaf.items.len(), now_ms);
            leaf.newest_ms = now_ms;
        } else {
            leaf.times.clear();
        }
        leaf
    }

    /// Lets the first page know that others are in use, now and then.
    fn renew_newest<E: Data>(&mut self, ttl: Ttl) {
        let now_ms = self.now_ms;
        if self.leaf::<E>(0).is_some_and(|first| ttl.is_worth_renewing(first.newest_ms, now_ms)) {
            self.change::<E>(0);
        }
    }

    /// A page that is new, whatever was there: something may be that had expired when the first page was forgotten.
    fn begin_page<E: Data>(&mut self, page: u32) -> &mut Leaf<E> {
        let leaf = self.change::<E>(page);
        *leaf = Leaf { newest_ms: leaf.newest_ms, ..Leaf::default() };
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
