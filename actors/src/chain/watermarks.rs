//! What fused operators remember across a restart: how far event time had come, by the names of the operators.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use watershed_state::{CodecError, Section, SectionKind, decode};

use crate::error::chain_of;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::restored::Restored;
use crate::snapshot::{SnapshotItem, small_section};

/// The watermark of each operator that is fused into an instance, by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FusedWatermarks {
    named: BTreeMap<String, i64>,
    /// Those in a snapshot of version 0.1-3 and before, which told them apart by their place in the chain.
    placed: VecDeque<i64>,
}

/// Which watermarks of fused operators a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavedWatermarks {
    /// Of these operators.
    Named(BTreeSet<String>),
    /// Of so many, told apart by their place in the chain, as versions up to 0.1-3 have saved them.
    Placed(usize),
}

impl FusedWatermarks {
    /// Notes the watermark of an operator. The branches of a union have an operator each under one name: the least
    /// counts, as it does where they meet.
    pub fn note(&mut self, name: &str, watermark: i64) {
        match self.named.get_mut(name) {
            Some(known) => *known = watermark.min(*known),
            None => {
                self.named.insert(name.to_string(), watermark);
            }
        }
    }

    /// The watermark that an operator of this name had. Those without names are given out in the order of the chain.
    pub fn give(&mut self, name: &str) -> Option<i64> {
        self.named.get(name).copied().or_else(|| self.placed.pop_front())
    }

    /// The section of a snapshot that holds them, if there are any.
    pub(crate) fn section(&self) -> Option<SnapshotItem> {
        (!self.named.is_empty()).then(|| small_section(SectionKind::FusedWatermarks, &self.named))
    }

    /// What an instance goes on with: its own if the parallelism is the same, else the least of all, of each name.
    pub(crate) fn restore(restored: &Restored, instance: &Instance) -> Result<Self, Failure> {
        let saved = restored.instances.iter().map(|saved| Self::of(&saved.sections));
        let mut saved: Vec<Option<Self>> =
            saved.collect::<Result<_, _>>().map_err(|error| Failure::state(chain_of(&error)))?;
        if saved.len() == instance.parallelism {
            return Ok(saved.swap_remove(instance.index).unwrap_or_default());
        }
        // An instance that has saved nothing has seen nothing: then nothing is known of all together.
        let saved: Option<Vec<Self>> = saved.into_iter().collect();
        Ok(saved.and_then(|saved| saved.into_iter().reduce(Self::least)).unwrap_or_default())
    }

    /// What the sections of one instance hold.
    fn of(sections: &[Section]) -> Result<Option<Self>, CodecError> {
        for section in sections {
            let mut bytes = section.bytes.as_slice();
            match section.kind {
                SectionKind::FusedWatermarks => {
                    return Ok(Some(Self { named: decode(&mut bytes)?, ..Self::default() }));
                }
                SectionKind::ChainState => {
                    return Ok(Some(Self { placed: decode(&mut bytes)?, ..Self::default() }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// What both know, each as far as the slower one.
    fn least(self, other: Self) -> Self {
        let both = |(name, watermark)| Some((other.named.get(&name)?.min(&watermark).to_owned(), name));
        let named = self.named.into_iter().filter_map(both).map(|(watermark, name)| (name, watermark));
        let placed = self.placed.into_iter().zip(other.placed).map(|(one, two)| one.min(two));
        Self { named: named.collect(), placed: placed.collect() }
    }
}

impl SavedWatermarks {
    /// Of which fused operators a snapshot of an actor holds watermarks.
    ///
    /// # Errors
    /// What cannot be decoded.
    pub fn of(restored: &Restored) -> Result<Self, CodecError> {
        let mut names = BTreeSet::new();
        for saved in &restored.instances {
            let Some(FusedWatermarks { named, placed }) = FusedWatermarks::of(&saved.sections)? else {
                continue;
            };
            if !placed.is_empty() {
                return Ok(Self::Placed(placed.len()));
            }
            // One that knew nothing has nothing to lose.
            let known = named.into_iter().filter(|(_, watermark)| *watermark > i64::MIN);
            names.extend(known.map(|(name, _)| name));
        }
        Ok(Self::Named(names))
    }
}
