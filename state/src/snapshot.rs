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
            return 0;
        }
        open.entries += 1;
        let cost = (open.bytes.len() - before) / BYTES_PER_SLOT;
        if open.bytes.len() >= CLOSE_AT {
            self.close(group);
        }
        cost
    }

    /// A snapshot begins.
    pub(crate) fn begin(&mut self) {
        self.sampler = Sampler::default();
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

    /// Makes all entries available to [`take`](Self::take).
    pub(crate) fn close_all(&mut self) {
        for (group, open) in std::mem::take(&mut self.open).into_iter().enumerate() {
            self.push(group as u16, open);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Section> {
        std::mem::take(&mut self.closed)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.kind);
    }

    fn push(&mut self, group: u16, open: Open) {
        if open.entries > 0 {
            let Open { entries, bytes } = open;
            self.closed.push(Section { kind: self.kind, group, entries, bytes });
        }
    }
}
