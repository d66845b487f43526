//! The snapshot that is meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use watershed_state::{
    CodecError, CollectionEntry, CollectionName, KeyedEntry, Manifest, OperatorPart, SavedState, Section,
    SectionKind, SnapshotPlace, Snapshots, StoreError, chain_of, decode, names_in,
};

use crate::error::Error;
use crate::screen::note;

/// There is no snapshot as it is asked for, or none that can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// A folder or a file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It has no checkpoint of this id.
    #[error("there is no complete checkpoint {id} in {}; there are: {}", folder.display(), listed(there))]
    NoCheckpoint { folder: PathBuf, id: u64, there: Vec<u64> },
    /// It has no checkpoint that can be read.
    #[error(
        "{} has no complete checkpoint whose manifest can be read; `watershed snapshots list` shows what there is",
        folder.display()
    )]
    Nothing { folder: PathBuf },
    /// The job has removed it.
    #[error(
        "the job has removed checkpoint {id} while it was being read; name a newer one, or a savepoint, which stays"
    )]
    Gone { id: u64 },
    /// No operator of this name has keyed state.
    #[error("no operator `{name}` has keyed state in checkpoint {id}; those that have: {}", listed(there))]
    NoOperator { name: String, id: u64, there: Vec<String> },
    /// A key, state or position is not as this tool knows them.
    #[error("{what} of operator `{operator}` cannot be decoded")]
    Undecoded { what: &'static str, operator: String, source: CodecError },
    /// There is no place for what is being read.
    #[error("cannot create a folder for temporary files; `TMPDIR` says where they go")]
    Scratch(#[source] std::io::Error),
}

fn listed<T: ToString>(there: &[T]) -> String {
    let there: Vec<String> = there.iter().map(ToString::to_string).collect();
    if there.is_empty() { "none".to_string() } else { there.join(", ") }
}

/// A snapshot whose manifest could be read.
pub(crate) struct Snapshot {
    pub(crate) folder: Snapshots,
    pub(crate) manifest: Manifest,
}

/// What instances have saved that is not tied to a key.
pub(crate) type OfInstances = Vec<(u32, SavedState)>;

/// The snapshots of a folder, which may be written as a URI.
pub(crate) fn open(dir: &str) -> Result<Snapshots, StoreError> {
    Snapshots::open(SnapshotPlace::parse(dir)?)
}

impl Snapshot {
    /// The one with this id, or the newest that can be read.
    pub(crate) fn choose(dir: &str, id: Option<u64>) -> Result<Self, SnapshotError> {
        let folder = open(dir)?;
        let path = || folder.place().location();
        let all = folder.all()?;
        let there = all.iter().filter_map(|found| found.checkpoint).collect();
        for found in all {
            let wanted = id.is_none_or(|id| found.checkpoint == Some(id));
            match found.manifest {
                Ok(manifest) if wanted => return Ok(Self { folder, manifest }),
                Err(error) if wanted && id.is_some() => return Err(error.into()),
                Err(error) if wanted => note(format_args!("not used: {}", chain_of(&error))),
                _ => {}
            }
        }
        Err(match id {
            Some(id) => SnapshotError::NoCheckpoint { folder: path(), id, there },
            None => SnapshotError::Nothing { folder: path() },
        })
    }

    /// `FOLDER`, or `FOLDER@ID`.
    pub(crate) fn parse(text: &str) -> Result<Self, SnapshotError> {
        let named = text.rsplit_once('@').and_then(|(dir, id)| Some((dir, id.parse().ok()?)));
        match named {
            Some((dir, id)) => Self::choose(dir, Some(id)),
            None => Self::choose(text, None),
        }
    }

    /// The operators that have keyed state.
    pub(crate) fn keyed(&self) -> impl Iterator<Item = &OperatorPart> {
        self.manifest.operators.iter().filter(|operator| operator.key_groups > 0)
    }

    /// The operator of this name, which has keyed state.
    pub(crate) fn operator(&self, name: &str) -> Result<&OperatorPart, SnapshotError> {
        self.keyed().find(|operator| operator.name == name).ok_or_else(|| SnapshotError::NoOperator {
            name: name.to_string(),
            id: self.manifest.checkpoint,
            there: self.keyed().map(|operator| operator.name.clone()).collect(),
        })
    }

    /// The operator of this name, which has state of any kind, and what it has beside keys, with the instances that
    /// have saved it.
    pub(crate) fn operator_with_state(
        &self,
        name: &str,
    ) -> Result<(&OperatorPart, OfInstances), SnapshotError> {
        let found = self.manifest.operators.iter().find(|operator| operator.name == name);
        let mut states = Vec::new();
        for part in found.iter().flat_map(|operator| &operator.instances) {
            let sections = self.folder.sections(part).map_err(|error| self.why(error))?;
            let of_instance = operator_states(name, &sections)?.into_iter();
            states.extend(of_instance.map(|state| (part.instance, state)));
        }
        match found {
            Some(operator) if !states.is_empty() => Ok((operator, states)),
            _ => self.operator(name).map(|operator| (operator, states)),
        }
    }

    /// Shows all keys of an operator with their state, until `visit` fails or has had enough.
    pub(crate) fn keyed_state(
        &self,
        operator: &OperatorPart,
        mut visit: impl FnMut(KeyedEntry<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.visit(|scratch, goes_on| {
            self.folder.keyed_state(operator, scratch, &mut |entry| goes_on(visit(entry)))
        })
    }

    /// Shows all pages of the collections of an operator, in the same way.
    pub(crate) fn collections(
        &self,
        operator: &OperatorPart,
        mut visit: impl FnMut(CollectionEntry<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.visit(|scratch, goes_on| {
            self.folder.collections(operator, scratch, &mut |entry| goes_on(visit(entry)))
        })
    }

    /// The collections of an operator, by their numbers.
    pub(crate) fn collection_names(
        &self,
        operator: &OperatorPart,
    ) -> Result<BTreeMap<u32, CollectionName>, SnapshotError> {
        let mut names = BTreeMap::new();
        for part in &operator.instances {
            let sections = self.folder.sections(part).map_err(|error| self.why(error))?;
            for section in sections.iter().filter(|section| section.kind == SectionKind::CollectionNames) {
                let there = names_in(section).map_err(|source| SnapshotError::Undecoded {
                    what: "the names of collections",
                    operator: operator.name.clone(),
                    source,
                })?;
                names.extend(there.into_iter().map(|name| (name.id, name)));
            }
        }
        Ok(names)
    }

    fn visit(
        &self,
        read: impl FnOnce(&Path, &mut dyn FnMut(Result<bool, Error>) -> bool) -> Result<(), StoreError>,
    ) -> Result<(), Error> {
        let scratch = tempfile::Builder::new().prefix("watershed-").tempdir();
        let scratch = scratch.map_err(SnapshotError::Scratch)?;
        let mut visited = Ok(true);
        let read = read(scratch.path(), &mut |wants_more| {
            visited = wants_more;
            matches!(visited, Ok(true))
        });
        read.map_err(|error| self.why(error))?;
        visited.map(drop)
    }

    /// What an error in reading means: a job removes the checkpoints that it does not need any more.
    pub(crate) fn why(&self, error: StoreError) -> SnapshotError {
        let id = self.manifest.checkpoint;
        if self.folder.has(id) { error.into() } else { SnapshotError::Gone { id } }
    }
}

/// What an instance has saved that is not tied to a key.
pub(crate) fn operator_states(
    operator: &str,
    sections: &[Section],
) -> Result<Vec<SavedState>, SnapshotError> {
    let of_kind = sections.iter().filter(|section| section.kind == SectionKind::OperatorState);
    let undecoded = |source| {
        let (what, operator) = ("an operator state", operator.to_string());
        SnapshotError::Undecoded { what, operator, source }
    };
    of_kind.map(|section| SavedState::read(section).map_err(undecoded)).collect()
}

/// Decodes what an operator has saved.
pub(crate) fn decoded<T: DeserializeOwned>(
    mut bytes: &[u8],
    what: &'static str,
    operator: &str,
) -> Result<T, SnapshotError> {
    let undecoded = |source| SnapshotError::Undecoded { what, operator: operator.to_string(), source };
    decode(&mut bytes).map_err(undecoded)
}
