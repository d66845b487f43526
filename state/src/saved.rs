//! What one instance has saved for one checkpoint: its file, and what that builds on.

use std::iter;

use crate::part::{TIMERS_ADD_UP, VALUES_ARE_MARKED, read_versioned};
use crate::{DatabaseCopy, InstancePart, Objects, PartFile, Section, SectionKind, StoreError};

/// What an instance acknowledges: everything that it has written for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedPart {
    /// The file with its sections.
    pub file: PartFile,
    /// The checkpoint whose keyed state and timers the file only adds changes to; `None` if it holds all of it.
    pub base: Option<u64>,
    /// The database that has the keys that the file does not hold.
    pub database: Option<DatabaseCopy>,
}

impl SavedPart {
    /// A file that holds everything.
    pub fn full(file: PartFile) -> Self {
        Self { file, base: None, database: None }
    }

    /// What the manifest of this checkpoint says of it, where `before` is what it says of the instance in the newest
    /// complete checkpoint. `None` if this part adds to another one than that.
    pub fn into_part(
        self,
        instance: u32,
        checkpoint: u64,
        before: Option<&InstancePart>,
    ) -> Option<InstancePart> {
        let changes_of = match self.base {
            None => Vec::new(),
            Some(base) => {
                let before = before.filter(|before| before.checkpoint == base)?;
                before.changes_of.iter().chain(&before.file).cloned().collect()
            }
        };
        let (file, database) = (Some(self.file), self.database);
        Some(InstancePart { file, changes_of, database, ..InstancePart::nothing(instance, checkpoint) })
    }
}

/// A database that is part of a snapshot, and where its files are.
#[derive(Clone, Debug)]
pub struct SavedDatabase {
    /// Where the snapshot is.
    pub objects: Objects,
    /// The files.
    pub copy: DatabaseCopy,
    /// Whether a version has written it that wrote some keys in another way, so that they have to be written anew.
    pub has_old_keys: bool,
    /// Whether later checkpoints may refer to these files, as they stay as long as a checkpoint does.
    pub can_be_shared: bool,
}

/// What an instance has saved, as far as it is read at once.
#[derive(Clone, Debug, Default)]
pub struct SavedInstance {
    /// All sections; those of keyed state and timers as they were when all of that was written last.
    pub sections: Vec<Section>,
    /// The sections of keyed state and timers that changed it since, oldest first.
    pub changes: Vec<Vec<Section>>,
    /// The database with the keys that are not in the sections, which are changes to it then.
    pub database: Option<SavedDatabase>,
}

impl SavedInstance {
    /// What was written when everything was written last, and then each change of it.
    pub fn layers(&self) -> impl Iterator<Item = &[Section]> {
        iter::once(&self.sections).chain(&self.changes).map(Vec::as_slice)
    }
}

impl From<Vec<Section>> for SavedInstance {
    fn from(sections: Vec<Section>) -> Self {
        Self { sections, ..Self::default() }
    }
}

/// Reads what an instance has saved.
///
/// # Errors
/// If a file is missing, damaged, or of a newer version. Those of a database are only looked at when it is opened.
pub fn read_saved(objects: &Objects, part: &InstancePart) -> Result<SavedInstance, StoreError> {
    use SectionKind::{EventTimers, ProcessingTimers};

    let database = part.database.as_ref().map(|copy| SavedDatabase {
        objects: Objects::clone(objects),
        copy: copy.clone(),
        has_old_keys: false,
        can_be_shared: true,
    });
    let mut saved = SavedInstance { database, ..SavedInstance::default() };
    let Some(newest) = &part.file else { return Ok(saved) };
    let mut layers: Vec<Vec<Section>> = Vec::new();
    // Of older files only what adds up still counts.
    let mut others = Vec::new();
    for file in part.changes_of.iter().chain([newest]) {
        let (version, mut sections) = read_versioned(objects, file)?;
        others = sections.extract_if(.., |section| !section.kind.adds_up()).collect();
        if version < TIMERS_ADD_UP {
            for before in &mut layers {
                before.retain(|section| !matches!(section.kind, EventTimers | ProcessingTimers));
            }
        }
        layers.push(sections);
        // The database is as old as the newest file, which comes last.
        if let Some(database) = &mut saved.database {
            database.has_old_keys = version < VALUES_ARE_MARKED;
        }
    }
    let mut layers = layers.into_iter();
    saved.sections = layers.next().unwrap_or_default();
    saved.sections.extend(others);
    saved.changes = layers.collect();
    Ok(saved)
}
