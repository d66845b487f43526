//! The policy of an operator, as its tasks and the control plane read it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which part of an operator's work failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A source made a record of what it had read.
    Decode,
    /// A process function or a fused closure took a record.
    Process,
    /// A process function was told of a timer.
    Timer,
    /// A sink wrote a record.
    Sink,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Decode, Self::Process, Self::Timer, Self::Sink];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Process => "process",
            Self::Timer => "timer",
            Self::Sink => "sink",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is done about a failure.
///
/// An error is told apart from a panic: what a record wrote before its error is taken back, so nothing needs to be
/// rolled back; a panic always rolls back the region, and a record is left out only after it has made the operator
/// panic again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Directive {
    /// The record is left out and counted.
    Skip,
    /// The record is left out and goes to the dead letters.
    Quarantine,
    /// The region is rolled back to the newest checkpoint, and the record comes again.
    #[default]
    Restart,
    /// The level above decides: the operator's own budget is passed over.
    Escalate,
    /// The job ends with the failure as its error.
    Stop,
}

impl Directive {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Quarantine => "quarantine",
            Self::Restart => "restart",
            Self::Escalate => "escalate",
            Self::Stop => "stop",
        }
    }

    /// Whether the record is left out.
    pub fn leaves_out(self) -> bool {
        matches!(self, Self::Skip | Self::Quarantine)
    }
}

/// How many records may be skipped in a while before the job stops. Those of the while before do not count any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SkipCap {
    /// So many of one instance.
    pub records: u64,
    /// Such a share of what an instance has taken in, in this while and the one before, looked at from
    /// [`SkipCap::FRACTION_FROM`] records on.
    pub fraction: f64,
    /// The while. Counting begins anew each time it is over.
    pub within: Duration,
}

impl SkipCap {
    /// Records that an instance must have seen before the share of those left out says anything.
    pub const FRACTION_FROM: u64 = 1_000;

    /// Whether so many left out are too many: in the while, and of so many records `lately`, in it and the one before.
    /// A share of those that have come since counting began anew would be too great by chance sooner or later.
    pub fn is_exceeded(self, skipped: u64, lately: (u64, u64)) -> bool {
        let (left_out, seen) = lately;
        skipped > self.records || seen >= Self::FRACTION_FROM && left_out as f64 > self.fraction * seen as f64
    }
}

impl Default for SkipCap {
    /// A thousand records in an hour, and no more than one in a hundred.
    fn default() -> Self {
        Self { records: 1_000, fraction: 0.01, within: Duration::from_hours(1) }
    }
}

/// What an operator does about failures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// By stage: decode, process, timer, sink.
    directives: [Directive; 4],
    /// How often a record may make the operator panic before it is left out.
    pub attempts: u32,
    /// Whether the key of a record that was left out waits until it is released.
    pub parks_keys: bool,
    /// Records of parked keys that one instance keeps at most.
    pub parked_max: usize,
    /// Whether user code returns an error only before it has written anything.
    pub errors_before_writes: bool,
    /// When leaving out becomes too much.
    pub cap: SkipCap,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            directives: [Directive::Restart; 4],
            attempts: 3,
            parks_keys: false,
            parked_max: 100_000,
            errors_before_writes: false,
            cap: SkipCap::default(),
        }
    }
}

impl Policy {
    /// The same for all stages.
    pub fn of(directive: Directive) -> Self {
        Self { directives: [directive; 4], ..Self::default() }
    }

    /// What is done about a failure in a stage.
    pub fn directive(&self, stage: Stage) -> Directive {
        self.directives[stage as usize]
    }

    /// Sets what is done about a failure in a stage.
    pub fn set(&mut self, stage: Stage, directive: Directive) {
        self.directives[stage as usize] = directive;
    }

    /// Whether records may be left out in any stage.
    pub fn leaves_out(&self) -> bool {
        self.directives.iter().any(|directive| directive.leaves_out())
    }

    /// Whether there may be dead letters.
    pub fn quarantines(&self) -> bool {
        self.directives.contains(&Directive::Quarantine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_records_counts_only_when_there_are_enough_of_them() {
        let cap = SkipCap { records: 50, fraction: 0.01, ..SkipCap::default() };
        assert!(!cap.is_exceeded(50, (50, 60)));
        assert!(cap.is_exceeded(51, (51, 1_000_000)));
        assert!(!cap.is_exceeded(10, (10, 1_000)));
        assert!(cap.is_exceeded(11, (11, 1_000)));
        assert!(!cap.is_exceeded(11, (11, 2_000)));
    }

    #[test]
    fn stages_have_directives_of_their_own() {
        let mut policy = Policy::of(Directive::Quarantine);
        policy.set(Stage::Timer, Directive::Stop);
        assert_eq!(policy.directive(Stage::Sink), Directive::Quarantine);
        assert_eq!(policy.directive(Stage::Timer), Directive::Stop);
        assert!(policy.quarantines() && !Policy::default().leaves_out());
    }
}
