//! What is to go wrong on a simulated disk, by the number of the operation.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::SimulatedDisk;

/// Operations are numbered from 1, since the disk was made.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// From this operation on everything fails.
    dies_at: Option<u64>,
    /// After so many further renames something begins.
    after_renames: Vec<(u64, Begin)>,
    /// Operations that the disk refuses.
    troubles: Vec<Trouble>,
    /// Somebody else is quicker to take a name.
    takers: Vec<Taker>,
}

/// Another process, which writes a file under the name that one of this process is about to get.
#[derive(Debug)]
struct Taker {
    fault: DiskFault,
    /// From this further rename on.
    renames: u64,
    /// Not below this folder.
    except: PathBuf,
}

/// What another process writes.
const OF_SOMEBODY_ELSE: &[u8] = b"of somebody else\n";

/// Something that was asked to go wrong for some operations; tells it from what else was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFault(usize);

/// Some operations that are refused.
#[derive(Debug, Clone)]
struct Trouble {
    fault: DiskFault,
    operations: Range<u64>,
    refusal: Refusal,
}

/// Which operations are refused, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// Those that need room.
    Full,
    /// All.
    Failure,
}

/// What begins after a rename.
#[derive(Debug, Clone, Copy)]
enum Begin {
    Death,
    /// For so many operations.
    Refusals(DiskFault, Refusal, u64),
}

impl Faults {
    pub(super) fn is_dead(&self, operation: u64) -> bool {
        self.dies_at.is_some_and(|at| operation >= at)
    }

    /// A rename was made, as this operation.
    pub(super) fn renamed(&mut self, operation: u64) {
        let next = operation + 1;
        for taker in &mut self.takers {
            taker.renames = taker.renames.saturating_sub(1);
        }
        for (left, begin) in &mut self.after_renames {
            *left = left.saturating_sub(1);
            match *begin {
                _ if *left > 0 => {}
                Begin::Death => self.dies_at = Some(self.dies_at.map_or(next, |at| at.min(next))),
                Begin::Refusals(fault, refusal, count) => {
                    let operations = next..next.saturating_add(count);
                    self.troubles.push(Trouble { fault, operations, refusal });
                }
            }
        }
        self.after_renames.retain(|(left, _)| *left > 0);
    }

    /// Whether an operation is refused: because of which fault, and what the disk says.
    pub(super) fn refuse(&self, operation: u64, needs_room: bool) -> Option<(DiskFault, io::Error)> {
        let due = |trouble: &&Trouble| {
            trouble.operations.contains(&operation) && (needs_room || trouble.refusal == Refusal::Failure)
        };
        let Trouble { fault, refusal, .. } = self.troubles.iter().find(due)?;
        let error = match refusal {
            Refusal::Full => io::ErrorKind::StorageFull.into(),
            Refusal::Failure => io::Error::other("the simulated disk fails (EIO)"),
        };
        Some((*fault, error))
    }
}

/// How many operations were refused, fault by fault.
#[derive(Debug, Default)]
pub(super) struct Refused(Vec<u64>);

impl Refused {
    fn next_fault(&mut self) -> DiskFault {
        self.0.push(0);
        DiskFault(self.0.len() - 1)
    }

    pub(super) fn count(&mut self, fault: DiskFault) {
        self.0[fault.0] += 1;
    }
}

impl SimulatedDisk {
    /// From the `n`-th further operation on (1 is the next one) every operation fails as if the process were
    /// dead, until [`crash`](Self::crash) or [`kill`](Self::kill).
    pub fn die_at_operation(&self, n: u64) {
        let mut shared = self.lock();
        shared.faults.dies_at = Some(shared.operations.saturating_add(n));
    }

    /// [`die_at_operation`](Self::die_at_operation) for the operation that follows the `n`-th further rename: when a
    /// name is there and not yet durable.
    pub fn die_after_rename(&self, n: u64) {
        self.lock().faults.after_renames.push((n.max(1), Begin::Death));
    }

    /// Whether the operation has been attempted at which the process was to die.
    pub fn is_dead(&self) -> bool {
        let shared = self.lock();
        shared.faults.is_dead(shared.operations)
    }

    /// During these further operations (1 is the next one) the disk is full: no file can be created, and of what is
    /// appended only half finds room; everything else works.
    pub fn full_during(&self, operations: Range<u64>) -> DiskFault {
        self.refuse_during(&operations, Refusal::Full)
    }

    /// These further operations (1 is the next one) fail as on a disk with a defect. They have no effect, with two
    /// exceptions: half of what was to be appended is there, and what was to be made durable never will be, although a
    /// later attempt succeeds, as on Linux.
    pub fn fail_during(&self, operations: Range<u64>) -> DiskFault {
        self.refuse_during(&operations, Refusal::Failure)
    }

    /// [`full_during`](Self::full_during) for so many operations from the one on that follows the `n`-th further
    /// rename.
    pub fn full_after_rename(&self, n: u64, operations: u64) -> DiskFault {
        self.refuse_after_rename(n, Refusal::Full, operations)
    }

    /// [`fail_during`](Self::fail_during) for so many operations from the one on that follows the `n`-th further
    /// rename.
    pub fn fail_after_rename(&self, n: u64, operations: u64) -> DiskFault {
        self.refuse_after_rename(n, Refusal::Failure, operations)
    }

    /// From the `n`-th further rename on another process is quicker, once: it has written a file under the name that a
    /// file is about to get, unless that is below the folder `except`. It counts as a refusal, also where the file is
    /// replaced.
    pub fn take_name_at_rename(&self, n: u64, except: impl Into<PathBuf>) -> DiskFault {
        let mut shared = self.lock();
        let fault = shared.refused.next_fault();
        shared.faults.takers.push(Taker { fault, renames: n.max(1), except: except.into() });
        fault
    }

    /// Removes what other processes have written since this was called last. Returns the files that are not as those
    /// have left them.
    pub fn remove_taken(&self) -> Vec<PathBuf> {
        let mut shared = self.lock();
        let taken = std::mem::take(&mut shared.taken);
        let mut replaced = Vec::new();
        for path in taken {
            if shared.disk.read(&path).is_ok_and(|bytes| bytes == OF_SOMEBODY_ELSE) {
                shared.disk.remove_at_once(&path);
            } else {
                replaced.push(path);
            }
        }
        replaced
    }

    /// A file is about to get this name.
    pub(super) fn comes_to_rename(&self, from: &Path, to: &Path) {
        let mut shared = self.lock();
        let due = |taker: &Taker| taker.renames <= 1 && !to.starts_with(&taker.except);
        let Some(index) = shared.faults.takers.iter().position(due) else { return };
        if shared.disk.exists(from).unwrap_or(false)
            && shared.disk.write_at_once(to, OF_SOMEBODY_ELSE).is_ok()
        {
            let fault = shared.faults.takers.remove(index).fault;
            shared.refused.count(fault);
            shared.taken.push(to.to_owned());
        }
    }

    /// How many operations were refused because of this fault.
    pub fn refused(&self, fault: DiskFault) -> u64 {
        self.lock().refused.0[fault.0]
    }

    /// Nothing goes wrong any more of what was asked for.
    pub fn mend(&self) {
        self.lock().faults = Faults::default();
    }

    fn refuse_during(&self, operations: &Range<u64>, refusal: Refusal) -> DiskFault {
        let mut shared = self.lock();
        let fault = shared.refused.next_fault();
        let operations = further(shared.operations, operations);
        shared.faults.troubles.push(Trouble { fault, operations, refusal });
        fault
    }

    fn refuse_after_rename(&self, n: u64, refusal: Refusal, operations: u64) -> DiskFault {
        let mut shared = self.lock();
        let fault = shared.refused.next_fault();
        shared.faults.after_renames.push((n.max(1), Begin::Refusals(fault, refusal, operations)));
        fault
    }
}

fn further(from: u64, operations: &Range<u64>) -> Range<u64> {
    from.saturating_add(operations.start)..from.saturating_add(operations.end)
}
