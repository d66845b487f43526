//! Maps.

use std::marker::PhantomData;

use super::page::Leaf;
use super::{At, CollectionKind, Collections, Declared};
use crate::{Data, Key, Ttl, hash_key};

/// Declares a map that each key of an operator has, besides its state: a field of the behaviour, opened through the
/// context. It may be large: what is saved, and read from a database, are the pages of it that are in use, not the
/// whole. (An actor without keys has all of it in memory.)
#[derive(Debug)]
pub struct MapState<K, V> {
    pub(super) declared: Declared,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Data> MapState<K, V> {
    /// A map of this name, which is unique among the collections of the operator and stays what it is: by it a restored
    /// job finds what was saved.
    pub fn new(name: &str) -> Self {
        Self { declared: Declared::new(name, CollectionKind::Map), types: PhantomData }
    }

    /// Lets each entry expire.
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.declared.ttl = Some(ttl);
        self
    }

    /// The map of one key, whose [`hash_key`](crate::hash_key) this is. The time, in milliseconds, is only asked for if
    /// it expires.
    pub fn open<'c, Of: Key>(
        &self,
        collections: &'c mut Collections<Of>,
        key: &'c Of,
        hash: u64,
        now_ms: impl FnOnce() -> i64,
    ) -> OpenMap<'c, Of, K, V> {
        OpenMap { at: collections.at::<(K, V)>(&self.declared, (key, hash), now_ms), types: PhantomData }
    }
}

/// The map of one key. The order of its entries is a function of what was done with it.
#[derive(Debug)]
pub struct OpenMap<'c, Of, K, V> {
    at: At<'c, Of>,
    types: PhantomData<fn() -> (K, V)>,
}

/// Entries to a page, on average, before there is another.
const PER_PAGE: u64 = 32;

impl<Of: Key, K: Key, V: Data> OpenMap<'_, Of, K, V> {
    /// The value of a key.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let (page, index) = self.find(key)?;
        if self.at.is_renewed_by_reading() {
            self.renew(page, index);
        }
        let leaf = self.at.leaf::<(K, V)>(page)?;
        leaf.items.get(index).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (page, index) = self.find(key)?;
        self.renew(page, index);
        self.at.change::<(K, V)>(page).items.get_mut(index).map(|(_, value)| value)
    }

    /// The value of a key, which becomes the default if it has none, to be changed.
    pub fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let (page, index) = match self.find(&key) {
            Some(found) => found,
            None => self.put(key, V::default()).1,
        };
        self.renew(page, index);
        &mut self.at.change::<(K, V)>(page).items[index].1
    }

    /// Whether a key has a value.
    pub fn contains_key(&mut self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Gives a key another value, and returns the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.put(key, value).0
    }

    /// Removes a key, and returns the value it had.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (page, index) = self.find(key)?;
        let (_, value) = take(self.at.change::<(K, V)>(page), index);
        self.forget(1);
        Some(value)
    }

    /// How many entries there are. To count those that expire is to look at each.
    pub fn len(&mut self) -> usize {
        if self.at.ttl.is_none() {
            return self.at.leaf::<(K, V)>(0).map_or(0, |leaf| leaf.len) as usize;
        }
        let mut count = 0;
        self.each_page(|leaf, expired| {
            count += (0..leaf.items.len()).filter(|index| !gone(leaf, *index, expired)).count();
        });
        count
    }

    /// Whether there is no entry.
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    /// Looks at all entries.
    pub fn for_each(&mut self, mut each: impl FnMut(&K, &V)) {
        if self.at.is_renewed_by_reading() {
            for page in 0..self.at.pages::<(K, V)>() {
                self.renew_live(page);
            }
        }
        self.each_page(|leaf, expired| {
            for (index, (key, value)) in leaf.items.iter().enumerate() {
                if !gone(leaf, index, expired) {
                    each(key, value);
                }
            }
        });
    }

    /// All entries. The map may be changed, and something else be done with the context, while one goes through them.
    pub fn entries(&mut self) -> Vec<(K, V)> {
        let mut entries = Vec::new();
        self.for_each(|key, value| entries.push((key.clone(), value.clone())));
        entries
    }

    /// All keys.
    pub fn keys(&mut self) -> Vec<K> {
        let mut keys = Vec::new();
        self.for_each(|key, _| keys.push(key.clone()));
        keys
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let mut out = Vec::new();
        self.each_page(|leaf, expired| {
            for (index, (key, value)) in leaf.items.iter().enumerate() {
                if !gone(leaf, index, expired) && !keep(key, value) {
                    out.push(key.clone());
                }
            }
        });
        for key in out {
            self.remove(&key);
        }
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.at.clear();
    }

    /// Where an entry is that has not expired.
    fn find(&mut self, key: &K) -> Option<(u32, usize)> {
        let hash = hash_key(key) as u32;
        let first = self.at.leaf::<(K, V)>(0)?;
        let page = page_of(hash, first.pages);
        let expired = self.at.expired();
        let leaf = self.at.leaf::<(K, V)>(page)?;
        let index = search(leaf, hash, key)?;
        (!gone(leaf, index, &expired)).then_some((page, index))
    }

    fn renew(&mut self, page: u32, index: usize) {
        let now_ms = self.at.now_ms;
        if self.at.ttl.is_some()
            && let Some(time) = self.at.change::<(K, V)>(page).times.get_mut(index)
        {
            *time = now_ms;
        }
    }

    fn renew_live(&mut self, page: u32) {
        let (expired, now_ms) = (self.at.expired(), self.at.now_ms);
        if self.at.leaf::<(K, V)>(page).is_some() {
            let times = &mut self.at.change::<(K, V)>(page).times;
            times.iter_mut().filter(|time| !expired(**time)).for_each(|time| *time = now_ms);
        }
    }

    fn each_page(&mut self, mut each: impl FnMut(&Leaf<(K, V)>, &dyn Fn(i64) -> bool)) {
        let expired = self.at.expired();
        for page in 0..self.at.pages::<(K, V)>() {
            if let Some(leaf) = self.at.leaf::<(K, V)>(page) {
                each(leaf, &expired);
            }
        }
    }

    /// Puts an entry where it belongs. Returns the value there was, and where that is.
    fn put(&mut self, key: K, value: V) -> (Option<V>, (u32, usize)) {
        let (hash, now_ms, expired) = (hash_key(&key) as u32, self.at.now_ms, self.at.expired());
        let has_times = self.at.ttl.is_some();
        let page = page_of(hash, self.at.pages::<(K, V)>().max(1));
        let leaf = self.at.change::<(K, V)>(page);
        if let Some(index) = search(leaf, hash, &key) {
            let was_gone = gone(leaf, index, &expired);
            if has_times {
                leaf.times[index] = now_ms;
            }
            let before = std::mem::replace(&mut leaf.items[index].1, value);
            return ((!was_gone).then_some(before), (page, index));
        }
        leaf.items.push((key, value));
        leaf.tags.push(hash);
        if has_times {
            leaf.times.push(now_ms);
        }
        let at = (page, leaf.items.len() - 1);
        let first = self.at.change::<(K, V)>(0);
        first.len += 1;
        let is_full = |len: u64, pages: u32| len > u64::from(pages) * PER_PAGE;
        let (len, pages) = (first.len, first.pages);
        // A page with so few entries tells that many have expired that are still counted.
        let is_doubtful = has_times && (at.1 as u64) < PER_PAGE / 4;
        if is_full(len, pages) && (!is_doubtful || is_full(self.count_anew(), pages)) {
            return (None, self.grow(at));
        }
        (None, at)
    }

    /// Counts the entries of all pages, and remembers how many those are.
    fn count_anew(&mut self) -> u64 {
        let mut len = 0;
        self.each_page(|leaf, _| len += leaf.items.len() as u64);
        self.at.change::<(K, V)>(0).len = len;
        len
    }

    /// Adds a page, with entries from the one that was split the longest time ago. Returns where the last entry of a
    /// page is then.
    fn grow(&mut self, last: (u32, usize)) -> (u32, usize) {
        let pages = self.at.pages::<(K, V)>();
        let from = split_from(pages);
        let leaf = self.at.change::<(K, V)>(from);
        let mut moved: Leaf<(K, V)> = Leaf::default();
        tag(leaf);
        let mut at = last;
        // From the end, so that what is moved into a gap has been looked at.
        for index in (0..leaf.items.len()).rev() {
            if page_of(leaf.tags[index], pages + 1) == pages {
                if (from, index) == last {
                    at = (pages, moved.items.len());
                } else if from == last.0 && at.0 == from && at.1 == leaf.items.len() - 1 {
                    at.1 = index;
                }
                give(leaf, index, &mut moved);
            }
        }
        if moved.items.is_empty() {
            // Something may be there that has expired.
            self.at.remove(pages);
        } else {
            *self.at.change::<(K, V)>(pages) = moved;
        }
        self.at.change::<(K, V)>(0).pages = pages + 1;
        at
    }

    /// So many entries are gone. Gives up a page where there are too many.
    fn forget(&mut self, entries: u64) {
        let first = self.at.change::<(K, V)>(0);
        first.len = first.len.saturating_sub(entries);
        let (len, pages) = (first.len, first.pages);
        if len == 0 {
            self.at.clear();
        } else if pages > 1 && len < u64::from(pages) * PER_PAGE / 4 {
            let last = pages - 1;
            if let Some(leaf) = self.at.leaf::<(K, V)>(last) {
                tag(leaf);
                let mut moved = leaf.clone();
                let into = self.at.change::<(K, V)>(split_from(last));
                tag(into);
                while !moved.items.is_empty() {
                    give(&mut moved, 0, into);
                }
                self.at.remove(last);
            }
            self.at.change::<(K, V)>(0).pages = last;
        }
    }
}

/// The page of a key, of so many.
fn page_of(hash: u32, pages: u32) -> u32 {
    let level = pages.next_power_of_two();
    let page = hash & (level - 1);
    if page < pages { page } else { page & (level / 2 - 1) }
}

/// The page whose entries are divided between it and the next one, where there are so many pages.
fn split_from(pages: u32) -> u32 {
    pages & ((pages + 1).next_power_of_two() / 2 - 1)
}

/// Whether an entry has expired.
fn gone<E>(leaf: &Leaf<E>, index: usize, expired: &dyn Fn(i64) -> bool) -> bool {
    leaf.times.get(index).is_some_and(|time| expired(*time))
}

/// Sees to it that the hash of each key is known.
fn tag<K: Key, V>(leaf: &mut Leaf<(K, V)>) {
    if leaf.tags.len() != leaf.items.len() {
        leaf.tags = leaf.items.iter().map(|(key, _)| hash_key(key) as u32).collect();
    }
}

fn search<K: Key, V>(leaf: &mut Leaf<(K, V)>, hash: u32, key: &K) -> Option<usize> {
    tag(leaf);
    leaf.tags.iter().zip(&leaf.items).position(|(tag, (other, _))| *tag == hash && other == key)
}

fn take<K, V>(leaf: &mut Leaf<(K, V)>, index: usize) -> (K, V) {
    if index < leaf.times.len() {
        leaf.times.swap_remove(index);
    }
    if index < leaf.tags.len() {
        leaf.tags.swap_remove(index);
    }
    leaf.items.swap_remove(index)
}

/// Moves an entry to another page, with all that is known of it.
fn give<K, V>(leaf: &mut Leaf<(K, V)>, index: usize, to: &mut Leaf<(K, V)>) {
    to.times.extend(leaf.times.get(index));
    to.tags.extend(leaf.tags.get(index));
    to.items.push(take(leaf, index));
}
