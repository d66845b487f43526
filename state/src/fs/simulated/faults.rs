//! What is to go wrong on a simulated disk, by the number of the operation.

use std::ops::Range;

use super::SimulatedDisk;

/// Operations are numbered from 1, since the disk was made.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// From this operation on everything fails.
    dies_at: Option<u64>,
    /// So many renames from now, everything after that one fails.
    dies_after_renames: Option<u64>,
    /// These operations find no room for anything new.
    full: Range<u64>,
    /// These operations fail.
    failing: Range<u64>,
}

impl Faults {
    pub(super) fn is_dead(&self, operation: u64) -> bool {
        self.dies_at.is_some_and(|at| operation >= at)
    }

    /// A rename was made, as this operation.
    pub(super) fn renamed(&mut self, operation: u64) {
        if let Some(left) = &mut self.dies_after_renames {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.dies_after_renames = None;
                self.dies_at = Some(operation + 1);
            }
        }
    }

    pub(super) fn is_full(&self, operation: u64) -> bool {
        self.full.contains(&operation)
    }

    pub(super) fn fails(&self, operation: u64) -> bool {
        self.failing.contains(&operation)
    }
}

impl SimulatedDisk {
    /// From the `n`-th further operation on (1 is the next one) every operation fails as if the process were
    /// dead, until [`crash`](Self::crash) or [`kill`](Self::kill).
    pub fn die_at_operation(&self, n: u64) {
        let mut shared = self.lock();
        shared.faults.dies_at = Some(shared.operations.saturating_add(n));
    }

    /// [`die_at_operation`](Self::die_at_operation) for the operation that follows the `n`-th further rename: when a name
    /// is there and not yet durable.
    pub fn die_after_rename(&self, n: u64) {
        self.lock().faults.dies_after_renames = Some(n.max(1));
    }

    /// Whether the operation has been attempted at which the process was to die.
    pub fn is_dead(&self) -> bool {
        let shared = self.lock();
        shared.faults.is_dead(shared.operations)
    }

    /// During these further operations (1 is the next one) the disk is full: no file can be created or appended to;
    /// everything else works.
    pub fn full_during(&self, operations: Range<u64>) {
        let mut shared = self.lock();
        shared.faults.full = further(shared.operations, &operations);
    }

    /// These further operations (1 is the next one) fail as on a disk with a defect, without an effect.
    pub fn fail_during(&self, operations: Range<u64>) {
        let mut shared = self.lock();
        shared.faults.failing = further(shared.operations, &operations);
    }

    /// Nothing goes wrong any more of what was asked for.
    pub fn mend(&self) {
        self.lock().faults = Faults::default();
    }
}

fn further(from: u64, operations: &Range<u64>) -> Range<u64> {
    from.saturating_add(operations.start)..from.saturating_add(operations.end)
}
