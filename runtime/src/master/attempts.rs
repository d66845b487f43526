//! Remembers what has become of the last checkpoints.

use std::collections::VecDeque;

use crate::attempts::{AttemptOutcome, CheckpointAttempt, CheckpointHistory};
use crate::master::Master;
use crate::master::ledger::Purpose;

/// Checkpoints that are remembered.
const REMEMBERED: usize = 100;

/// The last checkpoints, oldest first.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    last: VecDeque<CheckpointAttempt>,
    completed: u64,
    failed: u64,
}

impl Attempts {
    /// A checkpoint is triggered, or cannot be: then it has no id.
    pub(super) fn begins(&mut self, id: Option<u64>, purpose: Purpose, now_ms: i64) {
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        let outcome = AttemptOutcome::Making { waits_for: Vec::new() };
        let purpose = purpose.name().to_string();
        self.last.push_back(CheckpointAttempt { id, purpose, began_ms: now_ms, duration_ms: 0, outcome });
    }

    /// The last one has come to its end.
    pub(super) fn ends(&mut self, outcome: AttemptOutcome, now_ms: i64) {
        match outcome {
            AttemptOutcome::Complete { .. } => self.completed += 1,
            AttemptOutcome::Failed { .. } => self.failed += 1,
            AttemptOutcome::Making { .. } => {}
        }
        if let Some(last) = self.last.back_mut() {
            last.duration_ms = u64::try_from(now_ms.saturating_sub(last.began_ms)).unwrap_or(0);
            last.outcome = outcome;
        }
    }

    /// All of them at this time; the one in the making waits for this.
    fn history(&self, taken_ms: i64, waits_for: Vec<String>) -> CheckpointHistory {
        let mut attempts: Vec<CheckpointAttempt> = self.last.iter().cloned().collect();
        if let Some(last) = attempts.last_mut()
            && matches!(last.outcome, AttemptOutcome::Making { .. })
        {
            last.duration_ms = u64::try_from(taken_ms.saturating_sub(last.began_ms)).unwrap_or(0);
            last.outcome = AttemptOutcome::Making { waits_for };
        }
        CheckpointHistory { taken_ms, completed: self.completed, failed: self.failed, attempts }
    }
}

impl Purpose {
    /// In a word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Periodic => "periodic",
            Self::Final => "last",
            Self::Savepoint => "savepoint",
            Self::Rescale => "rescale",
            Self::Stop => "stop",
        }
    }
}

impl Master {
    /// What has become of the last checkpoints.
    pub(super) fn checkpoint_history(&self) -> CheckpointHistory {
        self.attempts.history(self.wall_ms(), self.checkpoint_waits_for())
    }

    /// A checkpoint could not even begin.
    pub(super) fn attempt_could_not_begin(&mut self, purpose: Purpose, reason: String) {
        let now_ms = self.wall_ms();
        self.attempts.begins(None, purpose, now_ms);
        self.attempts.ends(AttemptOutcome::Failed { reason }, now_ms);
    }

    /// The checkpoint in the making has failed.
    pub(super) fn attempt_failed(&mut self, reason: &str) {
        let now_ms = self.wall_ms();
        self.attempts.ends(AttemptOutcome::Failed { reason: reason.to_string() }, now_ms);
    }

    pub(super) fn wall_ms(&self) -> i64 {
        self.host.surroundings().clock.wall_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hundred_are_remembered_with_what_became_of_them_and_all_are_counted() {
        let mut attempts = Attempts::default();
        for id in 1..=150 {
            attempts.begins(Some(id), Purpose::Periodic, id as i64 * 1_000);
            let outcome = if id % 3 == 0 {
                AttemptOutcome::Failed { reason: "it took too long".to_string() }
            } else {
                AttemptOutcome::Complete { bytes: id, new_bytes: 1 }
            };
            attempts.ends(outcome, id as i64 * 1_000 + 40);
        }
        attempts.begins(Some(151), Purpose::Savepoint, 151_000);
        let history = attempts.history(151_250, vec!["count[1]: writes its part".to_string()]);
        assert_eq!((history.completed, history.failed, history.attempts.len()), (100, 50, 100));
        assert_eq!(history.attempts[0].id, Some(52));
        assert_eq!((history.attempts[2].id, history.attempts[2].duration_ms), (Some(54), 40));
        assert!(
            matches!(&history.attempts[2].outcome, AttemptOutcome::Failed { reason } if reason == "it took too long")
        );
        let making = &history.attempts[99];
        assert_eq!((making.purpose.as_str(), making.duration_ms), ("savepoint", 250));
        assert!(matches!(&making.outcome, AttemptOutcome::Making { waits_for } if waits_for.len() == 1));
    }
}
