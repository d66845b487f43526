//! Records from an iterator.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use watershed_state::Data;

use crate::error::UserResult;
use crate::source::{Polled, Reader, Records, Source, SourceContext, Split};

/// Gives out what an iterator gives. The iterator is made anew at each start and must then give the same items;
/// after a restart, those handed over before the snapshot are skipped.
///
/// There is one split, so one instance reads.
pub struct Items<F> {
    make: F,
}

impl Items<()> {
    /// The items of a collection, like a `Vec` or a range.
    pub fn of<C>(items: C) -> Items<impl Fn() -> C + Send + Sync + 'static>
    where
        C: IntoIterator + Clone + Send + Sync + 'static,
    {
        Items { make: move || items.clone() }
    }
}

impl<F> Items<F> {
    /// The items of the iterator that `make` returns. It is asked for the next item on the data path, so it should
    /// not wait for anything.
    pub fn new<I>(make: F) -> Self
    where
        F: Fn() -> I + Send + Sync + 'static,
        I: IntoIterator,
    {
        Self { make }
    }
}

impl<F, I> Source for Items<F>
where
    F: Fn() -> I + Send + Sync + 'static,
    I: IntoIterator<Item: Data, IntoIter: Send + 'static>,
{
    type Item = I::Item;
    type Split = ItemsSplit;
    type Reader = ItemsReader<I::IntoIter>;

    fn splits(&self) -> UserResult<Vec<ItemsSplit>> {
        Ok(vec![ItemsSplit])
    }

    fn open(
        &self,
        _split: &ItemsSplit,
        position: Option<u64>,
        _context: &SourceContext,
    ) -> UserResult<ItemsReader<I::IntoIter>> {
        let mut items = (self.make)().into_iter();
        let position = position.unwrap_or(0);
        if let Some(last) = position.checked_sub(1)
            && items.nth(usize::try_from(last)?).is_none()
        {
            return Err(ItemsError { expected: position }.into());
        }
        Ok(ItemsReader { items, position })
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

impl<F> fmt::Debug for Items<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

/// All items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemsSplit;

impl Split for ItemsSplit {
    fn id(&self) -> String {
        "all".to_owned()
    }
}

/// Gives out items. Its position is how many it has given out.
pub struct ItemsReader<I> {
    items: I,
    position: u64,
}

impl<I: Iterator + Send> Reader for ItemsReader<I> {
    type Item = I::Item;
    type Position = u64;

    fn poll(&mut self, records: &mut Records<'_, I::Item>, limit: usize) -> UserResult<Polled> {
        let before = self.position;
        records.extend(self.items.by_ref().take(limit).inspect(|_| self.position += 1));
        let ended = self.position - before < limit as u64;
        Ok(if ended { Polled::End } else { Polled::Ready })
    }

    fn position(&self) -> u64 {
        self.position
    }
}

impl<I> fmt::Debug for ItemsReader<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemsReader").field("position", &self.position).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the iterator of the source now gives fewer than the {expected} items that were handed over before the snapshot; \
     it must give the same items each time it is made"
)]
struct ItemsError {
    expected: u64,
}
