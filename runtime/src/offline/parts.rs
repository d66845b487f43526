//! The files of an operator in the making: sections are written as they fill up, each into the file of the instance
//! that has their key group.

use std::collections::BTreeMap;

use watershed_state::{
    CodecError, InstancePart, KeyGroups, OperatorPart, PartWriter, Section, SectionKind, SnapshotPlace,
    StoreError,
};

/// The files of one operator.
#[derive(Debug)]
pub(super) struct Parts {
    place: SnapshotPlace,
    operator: String,
    checkpoint: u64,
    /// Tells the names of this try from those of others, which may have left something.
    stamp: String,
    groups: KeyGroups,
    /// One for each instance; `None` as long as it has nothing.
    files: Vec<Option<PartWriter>>,
    open: BTreeMap<(SectionKind, u16), Open>,
    open_bytes: usize,
}

/// A section that may still grow.
#[derive(Debug, Default)]
struct Open {
    entries: u32,
    bytes: Vec<u8>,
}

/// A section is written when it has so many bytes.
const SECTION_BYTES: usize = 64 * 1024;
/// All are, when they have so many together.
const OPEN_BYTES: usize = 32 * 1024 * 1024;

impl Parts {
    /// No files yet, of an operator with so many instances.
    pub(super) fn new(
        place: &SnapshotPlace,
        operator: &str,
        checkpoint: u64,
        (groups, instances): (KeyGroups, usize),
        stamp: &str,
    ) -> Self {
        Self {
            place: place.clone(),
            operator: operator.to_string(),
            checkpoint,
            stamp: stamp.to_string(),
            groups,
            files: (0..instances).map(|_| None).collect(),
            open: BTreeMap::new(),
            open_bytes: 0,
        }
    }

    /// How many instances there are.
    pub(super) fn instances(&self) -> usize {
        self.files.len()
    }

    /// The instance that has a key group.
    pub(super) fn instance_of(&self, group: u16) -> usize {
        self.groups.instance_of(group, self.files.len())
    }

    /// Adds an entry, as `encode` writes it.
    pub(super) fn entry(
        &mut self,
        kind: SectionKind,
        group: u16,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), StoreError> {
        let open = self.open.entry((kind, group)).or_default();
        let before = open.bytes.len();
        encode(&mut open.bytes).map_err(|source| {
            open.bytes.truncate(before);
            StoreError::Codec { path: self.place.location(), source }
        })?;
        open.entries += 1;
        self.open_bytes += open.bytes.len() - before;
        if open.bytes.len() >= SECTION_BYTES {
            let open = std::mem::take(open);
            self.open_bytes -= open.bytes.len();
            self.write(self.instance_of(group), &open.into_section(kind, group))?;
        } else if self.open_bytes >= OPEN_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes a section into the file of an instance.
    pub(super) fn write(&mut self, instance: usize, section: &Section) -> Result<(), StoreError> {
        self.file(instance)?.write(section)
    }

    /// The file of an instance.
    pub(super) fn file(&mut self, instance: usize) -> Result<&mut PartWriter, StoreError> {
        let name = self.name(instance);
        match &mut self.files[instance] {
            Some(file) => Ok(file),
            none => Ok(none.insert(PartWriter::create(&self.place.objects, &format!("{name}.part"))?)),
        }
    }

    /// What the names of an instance's files begin with.
    pub(super) fn name(&self, instance: usize) -> String {
        format!("chk-{}/{}-{instance}-{}", self.checkpoint, self.operator, self.stamp)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.open_bytes = 0;
        for ((kind, group), open) in std::mem::take(&mut self.open) {
            if open.entries > 0 {
                self.write(self.instance_of(group), &open.into_section(kind, group))?;
            }
        }
        Ok(())
    }

    /// Makes the files durable.
    pub(super) fn finish(mut self, kind: &str) -> Result<OperatorPart, StoreError> {
        self.flush()?;
        let mut instances = Vec::with_capacity(self.files.len());
        for (instance, file) in std::mem::take(&mut self.files).into_iter().enumerate() {
            let mut part = InstancePart::nothing(instance as u32, self.checkpoint);
            part.file = file.map(PartWriter::finish).transpose()?;
            instances.push(part);
        }
        Ok(OperatorPart {
            name: self.operator.clone(),
            kind: kind.to_string(),
            key_groups: self.groups.count(),
            parallelism: instances.len() as u32,
            instances,
        })
    }
}

impl Drop for Parts {
    /// What was begun and is not wanted does not stay behind.
    fn drop(&mut self) {
        self.files.drain(..).flatten().for_each(PartWriter::discard);
    }
}

impl Open {
    fn into_section(self, kind: SectionKind, group: u16) -> Section {
        Section { kind, group, entries: self.entries, bytes: self.bytes }
    }
}

#[cfg(test)]
impl Parts {
    /// What is in memory.
    pub(super) fn open_bytes(&self) -> usize {
        self.open_bytes
    }
}
