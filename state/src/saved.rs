//! What one instance has saved for one checkpoint: its file, and what that builds on.

use crate::part::read_part;
use crate::{DatabaseCopy, InstancePart, Objects, PartFile, Section, SectionKind, StoreError};

/// What an instance acknowledges: everything that it has written for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedPart {
    /// The file with its sections.
    pub file: PartFile,
    /// The checkpoint whose keyed state the file only adds changes to; `None` if it holds all of it.
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
        Some(InstancePart { instance, checkpoint, file, changes_of, database })
    }
}

/// A database that is part of a snapshot, and where its files are.
#[derive(Clone, Debug)]
pub struct SavedDatabase {
    /// Where the snapshot is.
    pub objects: Objects,
    /// The files.
    pub copy: DatabaseCopy,
    /// Whether later checkpoints may refer to these files, as they stay as long as a checkpoint does.
    pub can_be_shared: bool,
}

/// What an instance has saved, as far as it is read at once.
#[derive(Clone, Debug, Default)]
pub struct SavedInstance {
    /// All sections; those of the keyed state as they were when all of it was written last.
    pub sections: Vec<Section>,
    /// The sections of the keyed state that changed it since, oldest first.
    pub changes: Vec<Vec<Section>>,
    /// The database with the keys that are not in the sections, which are changes to it then.
    pub database: Option<SavedDatabase>,
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
    let database = part.database.as_ref().map(|copy| SavedDatabase {
        objects: Objects::clone(objects),
        copy: copy.clone(),
        can_be_shared: true,
    });
    let mut saved = SavedInstance { database, ..SavedInstance::default() };
    let Some(newest) = &part.file else { return Ok(saved) };
    let mut newest = read_part(objects, newest)?;
    for (layer, file) in part.changes_of.iter().enumerate() {
        // Of older files only the keyed state still counts.
        let keyed = read_part(objects, file)?.into_iter().filter(is_keyed).collect();
        if layer == 0 { saved.sections = keyed } else { saved.changes.push(keyed) }
    }
    if part.changes_of.is_empty() {
        saved.sections = newest;
    } else {
        let changes = newest.extract_if(.., |section| is_keyed(section)).collect();
        saved.changes.push(changes);
        saved.sections.extend(newest);
    }
    Ok(saved)
}

fn is_keyed(section: &Section) -> bool {
    use SectionKind::{Collections, KeyedState, RemovedKeys, RemovedPages};
    matches!(section.kind, KeyedState | RemovedKeys | Collections | RemovedPages)
}
