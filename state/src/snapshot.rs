//! What the snapshots of tables and timers share: progress, and sections in the making.

use crate::bug::{self, Bug};
use crate::{CodecError, Sampler, Section, SectionKind};

/// Whether a snapshot needs further slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceProgress {
    /// Entries remain to be written.
    More,
    /// Everything that existed at the beginning is written; or no snapshot is running.
    Done,
}

/// A section is closed when it has this many bytes. All groups may have one open at a time, so it bounds the
/// memory of a snapshot that nobody has taken sections from; one entry can be larger than that by itself.
const CLOSE_AT: usize = 64 * 1024;

/// A slice is asked for in slots, and its time is mostly encoding: so many bytes written count as one more slot.
const BYTES_PER_SLOT: usize = 128;

/// Collects the entries of a running snapshot into sections.
#[derive(Debug)]
pub(crate) struct SectionWriter {
    kind: SectionKind,
    /// By group, as far as there has been something to write.
    open: Vec<Open>,
    closed: Vec<Section>,
    failed: Option<CodecError>,
    sampler: Sampler,
}

#[derive(Debug, Default)]
struct Open {
    entries: u32,
    bytes: Vec<u8>,
}

impl SectionWriter {
    pub(crate) fn new(kind: SectionKind) -> Self {
        Self { kind, open: Vec::new(), closed: Vec::new(), failed: None, sampler: Sampler::default() }
    }

    /// Appends what `encode` writes as one entry of `group`. A failure is kept for [`check`](Self::check),
    /// because the place that causes it, the first change of an entry, can't report it.
    ///
    /// Returns what the entry costs of a slice's budget: large entries count for several.
    pub(crate) fn write(
        &mut self,
        group: u16,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> usize {
        if self.failed.is_some() {
            return 0;
        }
        let at = usize::from(group);
        if at >= self.open.len() {
            self.open.resize_with(at + 1, Open::default);
        }
        let open = &mut self.open[at];
        let before = open.bytes.len();
        if let Err(error) = encode(&mut open.bytes) {
            self.failed = Some(error);
            self.sampler.failed();
            return 0;
        }
        open.entries += 1;
        let cost = (open.bytes.len() - before) / BYTES_PER_SLOT;
        if open.bytes.len() >= CLOSE_AT {
            self.close(group);
        }
        cost
    }

    /// Whether the entry that is written next is to be read back.
    pub(crate) fn is_due(&mut self) -> bool {
        self.sampler.is_due() && !bug::is(Bug::UnreadableStateSaved)
    }

    /// The first failure since the beginning, if there was one.
    pub(crate) fn check(&mut self) -> Result<(), CodecError> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Makes the entries of `group` available to [`take`](Self::take).
    pub(crate) fn close(&mut self, group: u16) {
        if let Some(open) = self.open.get_mut(usize::from(group)) {
            let open = std::mem::take(open);
            self.push(group, open);
        }
    }

    /// All is written: makes all entries available to [`take`](Self::take).
    pub(crate) fn close_all(&mut self) {
        for (group, open) in std::mem::take(&mut self.open).into_iter().enumerate() {
            self.push(group as u16, open);
        }
        self.sampler.passed();
    }

    pub(crate) fn take(&mut self) -> Vec<Section> {
        std::mem::take(&mut self.closed)
    }

    /// Forgets the entries. Which of the next are read back does not begin anew with a snapshot: the first ones of a
    /// table would be read back in each, and those of a short one all of them.
    pub(crate) fn clear(&mut self) {
        let sampler = std::mem::take(&mut self.sampler);
        *self = Self { sampler, ..Self::new(self.kind) };
    }

    fn push(&mut self, group: u16, open: Open) {
        if open.entries > 0 {
            let Open { entries, bytes } = open;
            self.closed.push(Section { kind: self.kind, group, entries, bytes });
        }
    }
}
