//! Lists.

use std::marker::PhantomData;

use super::{At, CollectionKind, Collections, Declared};
use crate::{Data, Key, Ttl};

/// Declares a list that each key of an operator has, besides its state: a field of the behaviour, opened through the
/// context. It may be large: to add to it is to change its last page.
#[derive(Debug)]
pub struct ListState<T> {
    pub(super) declared: Declared,
    item: PhantomData<fn() -> T>,
}

impl<T: Data> ListState<T> {
    /// A list of this name, which is unique among the collections of the operator and stays what it is: by it a
    /// restored job finds what was saved.
    pub fn new(name: &str) -> Self {
        Self { declared: Declared::new(name, CollectionKind::List), item: PhantomData }
    }

    /// Lets each item expire.
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.declared.ttl = Some(ttl);
        self
    }

    /// The list of one key, whose [`hash_key`](crate::hash_key) this is. The time, in milliseconds, is only asked for
    /// if it expires.
    pub fn open<'c, Of: Key>(
        &self,
        collections: &'c mut Collections<Of>,
        key: &'c Of,
        hash: u64,
        now_ms: impl FnOnce() -> i64,
    ) -> OpenList<'c, Of, T> {
        OpenList { at: collections.at::<T>(&self.declared, (key, hash), now_ms), item: PhantomData }
    }
}

/// The list of one key.
#[derive(Debug)]
pub struct OpenList<'c, Of, T> {
    at: At<'c, Of>,
    item: PhantomData<fn() -> T>,
}

/// Items to a page.
const PER_PAGE: usize = 32;

impl<Of: Key, T: Data> OpenList<'_, Of, T> {
    /// Adds an item at the end.
    pub fn push(&mut self, item: T) {
        let (now_ms, expires) = (self.at.now_ms, self.at.ttl.is_some());
        let first = self.at.change::<T>(0);
        first.len += 1;
        let mut last = first.pages - 1;
        let full = match last {
            0 => first.items.len() >= PER_PAGE,
            _ => self.at.leaf::<T>(last).is_some_and(|leaf| leaf.items.len() >= PER_PAGE),
        };
        if full {
            last += 1;
            self.at.change::<T>(0).pages = last + 1;
            self.at.begin_page::<T>(last);
        }
        let leaf = self.at.change::<T>(last);
        leaf.items.push(item);
        if expires {
            leaf.times.push(now_ms);
        }
    }

    /// Adds items at the end.
    pub fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        items.into_iter().for_each(|item| self.push(item));
    }

    /// Has these items, and no others, from now on.
    pub fn update(&mut self, items: impl IntoIterator<Item = T>) {
        self.clear();
        self.extend(items);
    }

    /// Looks at all items, in their order.
    pub fn for_each(&mut self, each: impl FnMut(&T)) {
        self.visit(self.at.is_renewed_by_reading(), each);
    }

    fn visit(&mut self, renews: bool, mut each: impl FnMut(&T)) {
        let (expired, now_ms) = (self.at.expired(), self.at.now_ms);
        let Some(first) = self.at.leaf::<T>(0) else { return };
        let (begin, pages) = (first.first, first.pages);
        let mut empty_before = begin;
        for page in std::iter::once(0).chain(begin..pages) {
            if self.at.leaf::<T>(page).is_none() {
                // An expired page at the front is not looked for again.
                if page == empty_before && page + 1 < pages {
                    empty_before += 1;
                }
                continue;
            }
            if renews {
                let times = &mut self.at.change::<T>(page).times;
                times.iter_mut().filter(|time| !expired(**time)).for_each(|time| *time = now_ms);
            }
            if let Some(leaf) = self.at.leaf::<T>(page) {
                let mut times = leaf.times.iter();
                leaf.items
                    .iter()
                    .filter(|_| !times.next().is_some_and(|time| expired(*time)))
                    .for_each(&mut each);
            }
        }
        if empty_before > begin {
            self.at.change::<T>(0).first = empty_before;
        }
    }

    /// All items. The list may be changed, and something else be done with the context, while one goes through them.
    pub fn to_vec(&mut self) -> Vec<T> {
        let mut items = Vec::new();
        self.for_each(|item| items.push(item.clone()));
        items
    }

    /// How many items there are. To count those that expire is to look at each.
    pub fn len(&mut self) -> usize {
        if self.at.ttl.is_none() {
            return self.at.leaf::<T>(0).map_or(0, |leaf| leaf.len) as usize;
        }
        let mut count = 0;
        self.visit(false, |_| count += 1);
        count
    }

    /// Whether there is no item.
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    /// Removes all items.
    pub fn clear(&mut self) {
        self.at.clear();
    }
}
