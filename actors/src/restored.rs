//! What an instance starts with.

use watershed_state::{SavedInstance, Section, SectionKind};

/// What a snapshot holds for an operator, for an instance to take its share from.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// What each instance saved, in order of the instances; the parallelism may have been another.
    pub instances: Vec<SavedInstance>,
    /// Whether instances of this process wrote it: then each takes back what it wrote itself, as those of other regions
    /// go on with theirs.
    pub from_this_process: bool,
    /// The first run of this process.
    pub process_run: u64,
}

impl Restored {
    /// All sections of a kind, with the instance that wrote them.
    pub fn sections(&self, kind: SectionKind) -> impl Iterator<Item = (usize, &Section)> {
        let instances = self.instances.iter().enumerate();
        instances.flat_map(move |(instance, saved)| {
            saved
                .sections
                .iter()
                .filter(move |section| section.kind == kind)
                .map(move |section| (instance, section))
        })
    }

    /// Whether there is nothing: a start from the beginning.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}
