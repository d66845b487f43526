//! What a snapshot consists of, before it is written.

use watershed_state::{CodecError, Link, Section, SectionKind, encode};

use crate::error::UserResult;

/// A piece of a snapshot.
pub enum SnapshotItem {
    /// Ready to be written.
    Section(Section),
    /// To be finished on the pool first.
    Deferred(Box<dyn FnOnce() -> UserResult<Section> + Send>),
    /// Keyed state and timers are those of this checkpoint, with the changes that the sections hold.
    ChangesOf(u64),
    /// The keyed state is that of this database, with the changes that the sections hold.
    Database(Link),
}

/// A section, or why there is none: then the checkpoint is given up, and the job goes on.
impl From<Result<Section, CodecError>> for SnapshotItem {
    fn from(section: Result<Section, CodecError>) -> Self {
        match section {
            Ok(section) => Self::Section(section),
            Err(error) => Self::Deferred(Box::new(move || Err(error.into()))),
        }
    }
}

impl std::fmt::Debug for SnapshotItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Section(section) => f.debug_tuple("Section").field(&section.kind).finish(),
            Self::Deferred(_) => f.write_str("Deferred"),
            Self::ChangesOf(checkpoint) => f.debug_tuple("ChangesOf").field(checkpoint).finish(),
            Self::Database(_) => f.write_str("Database"),
        }
    }
}

/// A section that is not tied to a key group.
pub(crate) fn small_section<T: serde::Serialize>(kind: SectionKind, value: &T) -> SnapshotItem {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).map(|()| Section { kind, group: 0, entries: 1, bytes }).into()
}
