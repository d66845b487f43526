//! What is to go wrong on a simulated disk, by the number of the operation.

use std::ops::Range;

use super::SimulatedDisk;

/// Operations are numbered from 1, since the disk was made.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// From this operation on everything fails.
    dies_at: Option<u64>,
    /// After so many further renames something begins.
    after_renames: Vec<(u64, Begin)>,
    /// These operations find no room for anything new.
    full: Range<u64>,
    /// These operations fail.
    failing: Range<u64>,
}

/// What begins after a rename.
#[derive(Debug, Clone, Copy)]
enum Begin {
    Death,
    Full(u64),
    Failure(u64),
}

impl Faults {
    pub(super) fn is_dead(&self, operation: u64) -> bool {
        self.dies_at.is_some_and(|at| operation >= at)
    }

    /// A rename was made, as this operation.
    pub(super) fn renamed(&mut self, operation: u64) {
        let next = operation + 1;
        for (left, begin) in &mut self.after_renames {
            *left = left.saturating_sub(1);
            match begin {
                _ if *left > 0 => {}
                Begin::Death => self.dies_at = Some(next),
                Begin::Full(operations) => self.full = next..next + *operations,
                Begin::Failure(operations) => self.failing = next..next + *operations,
            }
        }
        self.after_renames.retain(|(left, _)| *left > 0);
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
        self.after_rename(n, Begin::Death);
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

    /// [`full_during`](Self::full_during) for so many operations from the one on that follows the `n`-th further rename.
    pub fn full_after_rename(&self, n: u64, operations: u64) {
        self.after_rename(n, Begin::Full(operations));
    }

    /// [`fail_during`](Self::fail_during) for so many operations from the one on that follows the `n`-th further rename.
    pub fn fail_after_rename(&self, n: u64, operations: u64) {
        self.after_rename(n, Begin::Failure(operations));
    }

    fn after_rename(&self, n: u64, begin: Begin) {
        self.lock().faults.after_renames.push((n.max(1), begin));
    }

    /// Nothing goes wrong any more of what was asked for.
    pub fn mend(&self) {
        self.lock().faults = Faults::default();
    }
}

fn further(from: u64, operations: &Range<u64>) -> Range<u64> {
    from.saturating_add(operations.start)..from.saturating_add(operations.end)
}
