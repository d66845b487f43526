//! Barrier alignment as a state machine.

use watershed_state::bug::{self, Bug};

/// Waits until a checkpoint's barrier has come on every channel; channels that have brought it are blocked until then.
///
/// After chapter 1.1 of Flink's `SingleCheckpointBarrierHandler`, made simpler by one decision: an ended channel still
/// carries barriers, so the barrier always has to come on all channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aligner {
    phase: Phase,
    /// Per channel, whether the barrier of the running alignment has come.
    arrived: Vec<bool>,
    /// Highest id that was completed or given up; barriers up to it are obsolete.
    done: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// All channels flow.
    Flowing,
    /// Some channels have brought the barrier of this checkpoint and are blocked.
    Aligning { checkpoint: u64, missing: usize },
    /// All have; they stay blocked until the snapshot point has passed.
    Aligned { checkpoint: u64 },
}

/// What a barrier does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The channel is blocked until the others have brought theirs.
    Blocked,
    /// It was the last one.
    Complete,
    /// It belongs to a checkpoint that was given up or is over.
    Obsolete,
}

impl Aligner {
    /// For so many channels.
    pub fn new(channels: usize) -> Self {
        Self { phase: Phase::Flowing, arrived: vec![false; channels], done: 0 }
    }

    /// A barrier has come on `channel`. One of a newer checkpoint than the running alignment's replaces that.
    pub fn arrive(&mut self, channel: usize, checkpoint: u64) -> Arrival {
        if checkpoint <= self.done {
            return Arrival::Obsolete;
        }
        let missing = match self.phase {
            Phase::Aligning { checkpoint: current, missing } if checkpoint == current => missing,
            Phase::Aligning { checkpoint: current, .. } | Phase::Aligned { checkpoint: current }
                if checkpoint <= current =>
            {
                return Arrival::Obsolete;
            }
            _ => {
                self.arrived.fill(false);
                self.arrived.len()
            }
        };
        if std::mem::replace(&mut self.arrived[channel], true) {
            return Arrival::Obsolete;
        }
        if missing == 1 || bug::is(Bug::FirstBarrierCounts) {
            self.phase = Phase::Aligned { checkpoint };
            Arrival::Complete
        } else {
            self.phase = Phase::Aligning { checkpoint, missing: missing - 1 };
            Arrival::Blocked
        }
    }

    /// The snapshot point has passed: all channels flow.
    pub fn complete(&mut self) {
        if let Phase::Aligned { checkpoint } = self.phase {
            self.release(checkpoint);
        }
    }

    /// The checkpoint was given up: its channels flow, and its late barriers are obsolete.
    pub fn abort(&mut self, checkpoint: u64) {
        match self.phase {
            // The running alignment has made this one's barriers obsolete already.
            Phase::Aligning { checkpoint: current, .. } | Phase::Aligned { checkpoint: current }
                if current > checkpoint => {}
            _ => self.release(checkpoint),
        }
    }

    fn release(&mut self, checkpoint: u64) {
        self.done = self.done.max(checkpoint);
        self.arrived.fill(false);
        self.phase = Phase::Flowing;
    }

    /// Whether nothing may be taken from `channel`.
    #[inline]
    pub fn is_blocked(&self, channel: usize) -> bool {
        self.phase != Phase::Flowing && self.arrived[channel] && !bug::is(Bug::AlignedChannelNotBlocked)
    }
}

#[cfg(test)]
#[path = "aligner_tests.rs"]
mod tests;
