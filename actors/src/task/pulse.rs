//! What an instance is at and since when, so that one that hangs is found.

use std::sync::atomic::{AtomicU64, Ordering};

/// Work from which an instance may not come back, as it runs code of the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Being made and restored, on the thread of the instance.
    Boot,
    /// A step, on the thread of the instance.
    Step,
    /// Preparing output for a checkpoint, on a thread of the pool.
    Prepare,
    /// Committing output, on a thread of the pool.
    Commit,
}

impl Work {
    /// All of it.
    pub const ALL: [Self; 4] = [Self::Boot, Self::Step, Self::Prepare, Self::Commit];

    /// Whether nothing else on the thread of the instance can run meanwhile.
    pub fn holds_thread(self) -> bool {
        matches!(self, Self::Boot | Self::Step)
    }

    /// For messages: what takes so long.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boot => "opening and restoring it",
            Self::Step => "a step",
            Self::Prepare => "preparing its output for a checkpoint",
            Self::Commit => "committing its output",
        }
    }
}

/// When each kind of work was begun. The instance writes, whoever watches reads.
///
/// Two relaxed stores for about a millisecond of work; nobody waits for them to be seen.
#[derive(Debug, Default)]
pub struct Pulse([AtomicU64; 4]);

impl Pulse {
    /// The work begins at this time (clock nanoseconds).
    pub fn begin(&self, work: Work, now_nanos: u64) {
        // 0 says that there is none.
        self.0[work as usize].store(now_nanos.max(1), Ordering::Relaxed);
    }

    /// The work is done.
    pub fn end(&self, work: Work) {
        self.0[work as usize].store(0, Ordering::Relaxed);
    }

    /// Since when it is at this work, if it is.
    pub fn since(&self, work: Work) -> Option<u64> {
        Some(self.0[work as usize].load(Ordering::Relaxed)).filter(|since| *since != 0)
    }
}

/// Ends the work when it is dropped, whichever way.
pub(crate) struct AtWork<'a>(pub(super) &'a Pulse, pub(super) Work);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_work_are_told_apart() {
        let pulse = Pulse::default();
        pulse.begin(Work::Step, 0);
        pulse.begin(Work::Commit, 50);
        assert_eq!(Work::ALL.map(|work| pulse.since(work)), [None, Some(1), None, Some(50)]);
        pulse.end(Work::Step);
        assert_eq!(Work::ALL.map(|work| pulse.since(work)), [None, None, None, Some(50)]);
    }
}
