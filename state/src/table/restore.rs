//! Filling a table with what snapshots have.

use std::any::type_name;
use std::iter;

use super::cache::Cache;
use super::{Entry, KeyedTable, Stamp, TableKey, TableState};
use crate::{CodecError, SavedInstance, Section, SectionKind};

/// So many entries of a layer are believed without a look at how long they are.
const BELIEVED: usize = 1 << 20;
/// A key and its state take at least so many bytes where there are more entries than that: so many keys are not told
/// apart by less.
const ENTRY_BYTES_MIN: usize = 4;

/// How many entries sections say that they have.
#[derive(Default)]
struct Claim {
    entries: usize,
    bytes: usize,
}

impl Claim {
    fn and(self, section: &Section) -> Self {
        Self {
            entries: self.entries.saturating_add(section.entries as usize),
            bytes: self.bytes.saturating_add(section.bytes.len()),
        }
    }

    /// As many of them as room is made for before they are read: an entry in memory is many times as long as a byte,
    /// and the number may be forged. If there are more, the table grows.
    fn entries(&self) -> usize {
        self.entries.min(BELIEVED.max(self.bytes / ENTRY_BYTES_MIN))
    }
}

impl<K: TableKey, S: TableState> KeyedTable<K, S> {
    /// Adds what instances have saved for the key groups of this one. What their databases have is there already.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_saved(&mut self, saved: &[SavedInstance]) -> Result<(), CodecError> {
        let owned = self.owned.clone();
        let is_mine = |section: &&Section| owned.contains(&section.group);
        let count = |layer: &[Section]| {
            let of_kind = layer.iter().filter(|section| section.kind == K::KINDS.0);
            of_kind.filter(is_mine).fold(Claim::default(), Claim::and).entries()
        };
        if let Some(cache) = &mut self.below {
            let layers = saved.iter().flat_map(|saved| iter::once(&saved.sections).chain(&saved.changes));
            for section in layers.flatten().filter(|section| section.kind == K::KINDS.0) {
                cache.gauge.measured_many::<K, S>(section.entries as usize, section.bytes.len());
            }
            cache.gauge.refresh();
        }
        // What the databases had may be there already.
        let all = self.filled() + saved.iter().map(|saved| count(&saved.sections)).sum::<usize>();
        self.prepare_for(all);
        let mut done = self.filled();
        for saved in saved {
            done += count(&saved.sections);
            let mine = saved.sections.iter().filter(is_mine);
            if saved.database.is_some() {
                self.restore_removed(&mine)?;
                self.restore_changed(&mine)?;
            } else {
                for section in mine.filter(|section| section.kind == K::KINDS.0) {
                    self.restore(section)?;
                }
            }
            for changes in &saved.changes {
                let mine = changes.iter().filter(is_mine);
                self.restore_removed(&mine)?;
                // Most changes are of keys that are there: which are not is only looked at if it matters.
                let keys = (all + self.filled()).saturating_sub(done);
                if keys + count(changes) > self.room() {
                    let new = self.count_new(&mine)?;
                    self.prepare_for(keys + new);
                }
                self.restore_changed(&mine)?;
            }
        }
        self.prepare_for(0);
        Ok(())
    }

    /// There will be so many keys in all, as far as is known.
    fn prepare_for(&mut self, keys: usize) {
        self.reserve(keys);
        if let Some(cache) = &mut self.below {
            cache.fills(keys);
        }
    }

    /// How many keys there are.
    fn filled(&self) -> usize {
        self.entries.len() + self.below.as_ref().map_or(0, Cache::filled)
    }

    /// So many keys are in memory without anything having to grow or to go; any number where it is known that not all
    /// have room.
    fn room(&self) -> usize {
        match &self.below {
            Some(cache) if !cache.has_room_for_all() => usize::MAX,
            Some(cache) => cache.limit().min(self.entries.room()),
            None => self.entries.room(),
        }
    }

    /// How many keys sections have that are not in memory.
    fn count_new<'s>(
        &mut self,
        sections: &(impl Iterator<Item = &'s Section> + Clone),
    ) -> Result<usize, CodecError> {
        let mut new = 0;
        for section in sections.clone().filter(|section| section.kind == K::KINDS.0) {
            self.restore_with(section, K::KINDS.0, |table, tag, key, input| {
                S::read(input)?;
                new += usize::from(table.entries.find(tag, |entry| entry.key == key).is_err());
                Ok(())
            })?;
        }
        Ok(new)
    }

    /// Adds the entries of a section of a full snapshot. Not to be called while a snapshot is running.
    ///
    /// # Errors
    /// If the section is of another kind or of a group that is not owned, does not decode, holds a key that hashes
    /// into another group, or one that is there already. The table is to be thrown away then.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    pub fn restore(&mut self, section: &Section) -> Result<(), CodecError> {
        let Section { kind, group, .. } = *section;
        self.restore_with(section, K::KINDS.0, |table, tag, key, input| {
            let state = S::read(input)?;
            if table.entries.find(tag, |entry| entry.key == key).is_ok() || table.is_below(&key) {
                return Err(CodecError::Duplicate { kind, group });
            }
            table.fill(tag, key, state);
            Ok(())
        })
    }

    /// Applies what has changed since the snapshots that were restored before: first the keys that are gone, then those
    /// that have another state. Not to be called while a snapshot is running.
    ///
    /// # Errors
    /// As [`restore`](Self::restore), only that keys may be there already.
    ///
    /// # Panics
    /// As [`entry`](Self::entry).
    pub fn restore_changes<'s>(
        &mut self,
        sections: &(impl Iterator<Item = &'s Section> + Clone),
    ) -> Result<(), CodecError> {
        self.restore_removed(sections)?;
        self.restore_changed(sections)
    }

    fn restore_removed<'s>(
        &mut self,
        sections: &(impl Iterator<Item = &'s Section> + Clone),
    ) -> Result<(), CodecError> {
        for section in sections.clone().filter(|section| section.kind == K::KINDS.1) {
            self.restore_with(section, K::KINDS.1, |table, _, key, _| {
                table.remove(key.place(), &key);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn restore_changed<'s>(
        &mut self,
        sections: &(impl Iterator<Item = &'s Section> + Clone),
    ) -> Result<(), CodecError> {
        for section in sections.clone().filter(|section| section.kind == K::KINDS.0) {
            self.restore_with(section, K::KINDS.0, |table, tag, key, input| {
                let state = S::read(input)?;
                match table.entries.find(tag, |entry| entry.key == key) {
                    Ok(slot) => {
                        let touched = table.touched;
                        let entry = table.entries.at_mut(slot);
                        (entry.state, entry.stamp) = (state, touched);
                    }
                    Err(_) => table.fill(tag, key, state),
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Adds an entry as a database has it.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn restore_entry(&mut self, key: &[u8], state: &[u8]) -> Result<(), CodecError> {
        let Some((group, _, key)) = crate::database::split_key(key) else {
            return Err(CodecError::Trailing { bytes: key.len() });
        };
        let bytes = [key, state].concat();
        self.restore(&Section { kind: K::KINDS.0, group, entries: 1, bytes })
    }

    /// Adds an entry that is not in memory, or gives it to the database if there is no room for all. Entries come in
    /// the order of their hashes: were all put into memory until there is no room, those of the first key groups would
    /// crowd each other.
    fn fill(&mut self, tag: u32, key: K, state: S) {
        let Some(cache) = &mut self.below else {
            self.entries.insert(Entry { key, state, stamp: Stamp::loaded(), tag });
            return;
        };
        if !cache.keeps(tag) {
            cache.fill(self.epoch, self.groups, &key, &state);
            return;
        }
        self.make_room(1);
        // A database does not have it.
        self.entries.insert(Entry { key, state, stamp: self.touched, tag });
    }

    /// Calls `apply` with each key of a section, and with the bytes that follow it.
    fn restore_with(
        &mut self,
        section: &Section,
        expected: SectionKind,
        mut apply: impl FnMut(&mut Self, u32, K, &mut &[u8]) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let Section { kind, group, entries, ref bytes } = *section;
        if kind != expected {
            return Err(CodecError::WrongKind { expected, found: kind });
        }
        if !self.owned.contains(&group) {
            return Err(CodecError::GroupNotOwned { group });
        }
        let mut input = bytes.as_slice();
        for _ in 0..entries {
            let key = K::read(&mut input)?;
            let hash = key.place();
            let found = self.groups.group_of(hash);
            if found != group {
                return Err(CodecError::WrongGroup { type_name: type_name::<K>(), expected: group, found });
            }
            let tag = self.tag_of(hash);
            apply(self, tag, key, &mut input)?;
        }
        if input.is_empty() { Ok(()) } else { Err(CodecError::Trailing { bytes: input.len() }) }
    }
}
