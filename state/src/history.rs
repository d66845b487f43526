//! Which snapshots there were, and so which changes the next one has to hold.

/// The epoch of what was loaded or restored: changed before every snapshot that is made of it.
pub(crate) const RESTORED: u32 = 1;
/// The epoch to begin with. The next one begins with each snapshot.
pub(crate) const FIRST: u32 = 2;

/// The snapshots of a table, or of timers, that an addition can be made to. The first one is full, the next ones hold
/// what has changed since the one before that is part of a complete checkpoint, until there are so many that a full one
/// is cheaper.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Begun last; whether its checkpoint was completed is not known.
    begun: Option<Begun>,
    /// The newest one whose checkpoint is complete.
    base: Option<Base>,
    /// Changes are saved however many they are.
    always_changes: bool,
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    checkpoint: u64,
    epoch: u32,
    bytes: u64,
    is_full: bool,
}

#[derive(Clone, Copy, Debug)]
struct Base {
    checkpoint: u64,
    epoch: u32,
    full_bytes: u64,
    changes_bytes: u64,
    changes: u32,
}

/// The snapshots of changes since the last full one.
#[derive(Clone, Copy, Debug)]
pub struct Additions {
    changes: u32,
    changes_bytes: u64,
    full_bytes: u64,
    always: bool,
}

impl Additions {
    /// Whether there are so many, of all these tables together, that the next snapshot had better hold everything. So
    /// it has to if one of them has none.
    pub fn are_enough<const TABLES: usize>(tables: [Option<Additions>; TABLES]) -> bool {
        let (mut changes_bytes, mut full_bytes, mut always) = (0_u64, 0_u64, false);
        for table in tables {
            let Some(additions) = table.filter(|additions| additions.changes < CHANGES_AT_MOST) else {
                return true;
            };
            changes_bytes = changes_bytes.saturating_add(additions.changes_bytes);
            full_bytes = full_bytes.saturating_add(additions.full_bytes);
            always |= additions.always;
        }
        !always && changes_bytes.saturating_mul(2) > full_bytes
    }
}

/// What a snapshot has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Entries that were changed in this epoch or later.
    pub(crate) since: u32,
    /// The checkpoint whose snapshot has the others; `None` if this one is full.
    pub(crate) base: Option<u64>,
}

/// Files of changes on top of a full snapshot, before the next full one: each of them is read by a restore, and keeps
/// older folders alive.
const CHANGES_AT_MOST: u32 = 32;

impl History {
    /// What the next snapshot could add to; `None` if it has to hold everything.
    pub(crate) fn additions(&self) -> Option<Additions> {
        let Base { full_bytes, changes_bytes, changes, .. } = self.base?;
        Some(Additions { changes, changes_bytes, full_bytes, always: self.always_changes })
    }

    /// A snapshot begins for this checkpoint, and with it this epoch. `all` says whether it holds everything.
    pub(crate) fn begin(&mut self, checkpoint: u64, epoch: u32, all: bool) -> Extent {
        let base = self.base.filter(|_| !all);
        self.begun = Some(Begun { checkpoint, epoch, bytes: 0, is_full: base.is_none() });
        match base {
            Some(base) => Extent { since: base.epoch, base: Some(base.checkpoint) },
            None => Extent { since: RESTORED, base: None },
        }
    }

    /// So much more of it has been written.
    pub(crate) fn wrote(&mut self, bytes: u64) {
        if let Some(begun) = &mut self.begun {
            begun.bytes += bytes;
        }
    }

    /// This checkpoint is complete. Returns the epoch since which changes count from now on, if it is news.
    pub(crate) fn complete(&mut self, checkpoint: u64) -> Option<u32> {
        let begun = self.begun.take_if(|begun| begun.checkpoint == checkpoint)?;
        let Begun { epoch, bytes, .. } = begun;
        self.base = Some(match self.base {
            Some(base) if !begun.is_full => Base {
                checkpoint,
                epoch,
                changes_bytes: base.changes_bytes + bytes,
                changes: base.changes + 1,
                ..base
            },
            _ => Base { checkpoint, epoch, full_bytes: bytes, changes_bytes: 0, changes: 0 },
        });
        Some(epoch)
    }

    /// The snapshot that was begun is given up.
    pub(crate) fn give_up(&mut self) {
        self.begun = None;
    }

    /// The next snapshot has to be full, as not all changes are known.
    pub(crate) fn forget(&mut self) {
        (self.begun, self.base) = (None, None);
    }

    /// Asks for no full snapshot because of the size of the changes.
    pub(crate) fn always_save_changes(&mut self) {
        self.always_changes = true;
    }

    /// Whether a later snapshot may have to tell which keys are gone. `adds` is whether it could be an addition to the
    /// newest complete one; to one that is not complete yet it may be in any case.
    #[inline]
    pub(crate) fn needs_removals(&self, adds: bool) -> bool {
        self.begun.is_some() || (adds && self.base.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(history: &mut History, checkpoint: u64, bytes: u64) -> Option<u64> {
        let extent = history.begin(
            checkpoint,
            checkpoint as u32 + FIRST,
            Additions::are_enough([history.additions()]),
        );
        history.wrote(bytes);
        extent.base
    }

    #[test]
    fn the_first_snapshot_is_full_and_the_next_one_holds_what_changed_since() {
        let mut history = History::default();
        assert_eq!(
            history.begin(1, 3, Additions::are_enough([history.additions()])),
            Extent { since: RESTORED, base: None }
        );
        history.wrote(1_000);
        assert_eq!(history.complete(1), Some(3));
        assert_eq!(
            history.begin(2, 4, Additions::are_enough([history.additions()])),
            Extent { since: 3, base: Some(1) }
        );
    }

    #[test]
    fn what_was_not_completed_is_no_base() {
        let mut history = History::default();
        snapshot(&mut history, 1, 1_000);
        history.complete(1);
        assert_eq!(snapshot(&mut history, 2, 10), Some(1));
        assert_eq!(snapshot(&mut history, 3, 10), Some(1));
        assert_eq!(history.complete(2), None);
        history.give_up();
        assert_eq!(history.complete(3), None);
        assert_eq!(snapshot(&mut history, 4, 10), Some(1));
    }

    #[test]
    fn a_full_one_comes_when_the_changes_are_half_as_large_or_too_many() {
        let mut history = History::default();
        snapshot(&mut history, 1, 1_000);
        history.complete(1);
        for checkpoint in 2..5 {
            assert_eq!(snapshot(&mut history, checkpoint, 200), Some(checkpoint - 1));
            history.complete(checkpoint);
        }
        assert_eq!(snapshot(&mut history, 5, 900), None);
        history.complete(5);
        for checkpoint in 6..6 + u64::from(CHANGES_AT_MOST) {
            assert!(snapshot(&mut history, checkpoint, 0).is_some());
            history.complete(checkpoint);
        }
        assert_eq!(snapshot(&mut history, 100, 0), None);
    }

    #[test]
    fn if_asked_to_it_saves_changes_however_large_they_are() {
        let mut history = History::default();
        history.always_save_changes();
        for checkpoint in 1..=u64::from(CHANGES_AT_MOST) + 1 {
            assert_eq!(
                snapshot(&mut history, checkpoint, 1_000),
                checkpoint.checked_sub(1).filter(|id| *id > 0)
            );
            history.complete(checkpoint);
        }
        assert_eq!(snapshot(&mut history, 100, 0), None);
    }
}
