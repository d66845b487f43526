//! What a checkpoint consists of, as data.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use watershed_runtime::remote::AnyValue;
use watershed_state::{InstancePart, OperatorPart, SavedState, Section, SectionKind, hash_canary, iso_time};

use crate::snapshot::{Snapshot, SnapshotError, decoded, operator_states};

#[derive(Serialize)]
pub(super) struct Content {
    pub(super) checkpoint: u64,
    pub(super) created_ms: i64,
    pub(super) created_at: String,
    /// From the trigger until all was written, if it is known.
    pub(super) duration_ms: Option<u64>,
    pub(super) topology: String,
    pub(super) lineage: String,
    pub(super) run: u64,
    pub(super) finished: bool,
    /// Whether this build finds keys in the groups in which they were stored.
    pub(super) key_hash_ok: bool,
    pub(super) operators: Vec<Operator>,
}

#[derive(Serialize)]
pub(super) struct Operator {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) key_groups: u16,
    pub(super) parallelism: u32,
    pub(super) bytes: u64,
    pub(super) instances: Vec<Instance>,
}

#[derive(Serialize)]
pub(super) struct Instance {
    #[serde(rename = "instance")]
    pub(super) index: u32,
    pub(super) checkpoint: u64,
    /// From the trigger of that checkpoint until this was written, if it is known.
    pub(super) duration_ms: Option<u64>,
    /// Of its newest file.
    pub(super) sections: Vec<Sum>,
    /// How many files its newest file holds the changes to.
    pub(super) builds_on: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) splits: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) operator_states: Vec<OperatorState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<Database>,
}

/// All sections of a kind.
#[derive(Serialize)]
pub(super) struct Sum {
    pub(super) kind: String,
    /// 0 for kinds without keys.
    pub(super) key_groups: usize,
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// A state that is not tied to a key.
#[derive(Serialize)]
pub(super) struct OperatorState {
    pub(super) name: String,
    /// How it is divided when the parallelism changes.
    pub(super) redistribution: String,
    pub(super) elements: usize,
    pub(super) bytes: usize,
}

impl From<SavedState> for OperatorState {
    fn from(state: SavedState) -> Self {
        Self {
            name: state.name,
            redistribution: state.redistribution.to_string(),
            elements: state.elements.len(),
            bytes: state.elements.iter().map(Vec::len).sum(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Database {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

impl Content {
    /// Reads the newest file of each instance.
    pub(super) fn read(snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        let manifest = &snapshot.manifest;
        let operators = manifest.operators.iter().map(|operator| Operator::read(snapshot, operator));
        Ok(Self {
            checkpoint: manifest.checkpoint,
            created_ms: manifest.created_ms,
            created_at: iso_time(manifest.created_ms),
            duration_ms: manifest.duration_ms,
            topology: manifest.topology.clone(),
            lineage: manifest.lineage.clone(),
            run: manifest.run,
            finished: manifest.finished,
            key_hash_ok: manifest.hash_canary == hash_canary(),
            operators: operators.collect::<Result<_, _>>()?,
        })
    }
}

impl Operator {
    fn read(snapshot: &Snapshot, part: &OperatorPart) -> Result<Self, SnapshotError> {
        let instances = part.instances.iter().map(|instance| Instance::read(snapshot, part, instance));
        Ok(Self {
            name: part.name.clone(),
            kind: part.kind.clone(),
            key_groups: part.key_groups,
            parallelism: part.parallelism,
            bytes: part.instances.iter().flat_map(InstancePart::files).map(|file| file.len).sum(),
            instances: instances.collect::<Result<_, _>>()?,
        })
    }
}

impl Instance {
    fn read(
        snapshot: &Snapshot,
        operator: &OperatorPart,
        part: &InstancePart,
    ) -> Result<Self, SnapshotError> {
        let sections = snapshot.folder.sections(part).map_err(|error| snapshot.why(error))?;
        let mut splits = Vec::new();
        for section in sections.iter().filter(|section| section.kind == SectionKind::Splits) {
            let AnyValue(read) = decoded(&section.bytes, "a position", &operator.name)?;
            if let Value::Array(read) = read { splits.extend(read) } else { splits.push(read) }
        }
        let states = operator_states(&operator.name, &sections)?;
        let database = part.database.as_ref().map(|copy| Database {
            files: copy.files.len(),
            bytes: copy.files.iter().map(|file| file.file.len).sum(),
        });
        Ok(Self {
            index: part.instance,
            checkpoint: part.checkpoint,
            duration_ms: part.duration_ms,
            sections: sums(&sections, operator.key_groups > 0),
            builds_on: part.changes_of.len(),
            splits,
            operator_states: states.into_iter().map(OperatorState::from).collect(),
            database,
        })
    }
}

fn sums(sections: &[Section], is_keyed: bool) -> Vec<Sum> {
    let mut kinds: BTreeMap<SectionKind, Vec<&Section>> = BTreeMap::new();
    for section in sections {
        kinds.entry(section.kind).or_default().push(section);
    }
    let sum = |(kind, sections): (SectionKind, Vec<&Section>)| Sum {
        kind: format!("{kind:?}"),
        key_groups: if is_keyed && has_keys(kind) {
            sections.iter().map(|section| section.group).collect::<BTreeSet<_>>().len()
        } else {
            0
        },
        entries: sections.iter().map(|section| u64::from(section.entries)).sum(),
        bytes: sections.iter().map(|section| section.bytes.len() as u64).sum(),
    };
    kinds.into_iter().map(sum).collect()
}

/// Whether its sections belong to a key group each.
fn has_keys(kind: SectionKind) -> bool {
    matches!(
        kind,
        SectionKind::KeyedState
            | SectionKind::RemovedKeys
            | SectionKind::Collections
            | SectionKind::RemovedPages
            | SectionKind::EventTimers
            | SectionKind::RemovedEventTimers
            | SectionKind::ProcessingTimers
            | SectionKind::RemovedProcessingTimers
            | SectionKind::Watermarks
            | SectionKind::Parked
    )
}
