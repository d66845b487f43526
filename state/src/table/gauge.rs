//! How many entries of a table have room in memory, going by how large they turn out to be.

use std::fmt;
use std::mem::needs_drop;

use super::ordered::TAGS;
use super::{KeyedTable, TableKey, TableState};

/// How large entries are, and how many of them have room.
pub(super) struct Gauge {
    /// The most entries in memory, if one takes so many bytes.
    limit_for: Box<dyn Fn(usize) -> usize + Send>,
    /// What an entry takes in the table itself.
    entry_bytes: usize,
    /// The most entries in memory, as far as is known of their size.
    limit: usize,
    /// How long entries are when they are encoded, which is taken for what they have outside of the table.
    encoded: Mean,
    /// Where entries are looked at next for how long they are.
    at: u64,
    /// So many bytes have been encoded for that which the time since did not pay for yet.
    owed: usize,
    /// For an entry in the making.
    buffer: Vec<u8>,
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauge")
            .field("limit", &self.limit)
            .field("encoded", &self.encoded)
            .finish_non_exhaustive()
    }
}

/// A mean of numbers, of which the latest count most.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: usize,
    count: usize,
}

impl Mean {
    fn add(&mut self, sum: usize, count: usize) {
        self.sum += sum;
        self.count += count;
        if self.count >= 2 * LATEST {
            (self.sum, self.count) = (self.get().saturating_mul(LATEST), LATEST);
        }
    }

    fn get(&self) -> usize {
        self.sum / self.count.max(1)
    }
}

/// So many entries, and up to as many before them, say what the others are like: few enough to tell when they grow.
const LATEST: usize = 64;

/// So many entries are looked at before something follows from them, unless they are long.
const ENTRIES_AT_LEAST: usize = 16;

/// The bytes that may be encoded for each batch, only to know how many they are.
const BYTES_PER_BATCH: usize = 4096;

/// So many bytes are enough to know something, from however few entries.
const ENOUGH_BYTES: usize = ENTRIES_AT_LEAST * BYTES_PER_BATCH;

/// The slots that are looked at for them.
const SLOTS_PER_BATCH: usize = 64;

impl Gauge {
    pub(super) fn new(limit_for: Box<dyn Fn(usize) -> usize + Send>, entry_bytes: usize) -> Self {
        let limit = limit_for(entry_bytes).max(1);
        let (encoded, buffer) = (Mean::default(), Vec::new());
        Self { limit_for, entry_bytes, limit, encoded, at: 0, owed: 0, buffer }
    }

    /// The most entries that may be in memory.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// So long was an entry when it was encoded. What follows from it does so with the next [`refresh`](Self::refresh).
    #[inline]
    pub(super) fn measured<K, S>(&mut self, bytes: usize) {
        self.measured_many::<K, S>(1, bytes);
    }

    /// So long were entries together.
    #[inline]
    pub(super) fn measured_many<K, S>(&mut self, entries: usize, bytes: usize) {
        // A number or a struct of numbers has all that it has in the table.
        if const { has_more::<K, S>() } {
            self.encoded.add(bytes, entries);
        }
    }

    /// So many entries are to be looked at next.
    fn wanted(&self) -> usize {
        ENTRIES_AT_LEAST.saturating_sub(self.encoded.count).max(1)
    }

    /// Asks anew how many have room: there may be others now who share it.
    pub(super) fn refresh(&mut self) {
        // What the table was made for it cannot exceed.
        let most = (self.limit_for)(self.entry_bytes).max(1);
        let Mean { sum, count } = self.encoded;
        self.limit = if count >= ENTRIES_AT_LEAST || sum >= ENOUGH_BYTES {
            (self.limit_for)(self.entry_bytes + self.encoded.get()).clamp(1, most)
        } else {
            most
        };
    }
}

/// Whether an entry may have something outside of the table.
const fn has_more<K, S>() -> bool {
    needs_drop::<K>() || needs_drop::<S>()
}

impl<K: TableKey, S: TableState> KeyedTable<K, S> {
    /// Looks now and then at how long an entry is: one that grows where it is is neither read nor written otherwise.
    pub(super) fn gauge(&mut self) {
        let Self { below, entries, .. } = self;
        let Some(cache) = below else { return };
        let gauge = &mut cache.gauge;
        gauge.owed = gauge.owed.saturating_sub(BYTES_PER_BATCH);
        if const { has_more::<K, S>() } && gauge.owed == 0 {
            let (mut slots, wanted, mut seen) = (SLOTS_PER_BATCH, gauge.wanted(), 0);
            let buffer = &mut gauge.buffer;
            buffer.clear();
            gauge.at = entries.visit(gauge.at, |entry| {
                if slots > 0
                    && let Some(entry) = entry
                {
                    // What cannot be encoded is told by the snapshot that needs it.
                    let _ = entry.key.write(buffer).and_then(|()| entry.state.write(buffer));
                    seen += 1;
                }
                let enough = seen == wanted || buffer.len() >= ENOUGH_BYTES;
                slots = if enough { 0 } else { slots.saturating_sub(1) };
                slots > 0
            });
            if gauge.at == TAGS {
                gauge.at = 0;
            }
            let bytes = gauge.buffer.len();
            // Long ones must not keep their room for good.
            gauge.buffer.shrink_to(ENOUGH_BYTES);
            gauge.owed = bytes;
            gauge.measured_many::<K, S>(seen, bytes);
        }
        gauge.refresh();
    }
}
