//! The records that count against a limit of skipped ones: those of the last while.

use serde::{Deserialize, Serialize};

/// When counting began anew, and what the totals were then. It is saved, so that restarts do not begin anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// In milliseconds since 1970.
    began_ms: i64,
    skipped: u64,
    seen: u64,
    /// The totals when the window before began: all that has ever come counts as long as there has been none.
    #[serde(default)]
    prior_skipped: u64,
    #[serde(default)]
    prior_seen: u64,
}

/// What counts against the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// Records skipped in this window.
    pub(super) skipped: u64,
    /// Records skipped, and records taken in, in this window and the one before: a share of few records says little.
    pub(super) lately: (u64, u64),
}

impl Window {
    /// Counts anew if the window is over. `skipped` and `seen` are the totals before the record at hand.
    pub(super) fn turn(&mut self, now_ms: i64, within_ms: u64, (skipped, seen): (u64, u64)) {
        // A clock that was set back does not make it longer.
        let age_ms = u64::try_from(now_ms.saturating_sub(self.began_ms)).unwrap_or(u64::MAX);
        if age_ms >= within_ms {
            let (prior_skipped, prior_seen) = (self.skipped, self.seen);
            *self = Self { began_ms: now_ms, skipped, seen, prior_skipped, prior_seen };
        }
    }

    /// What of these totals counts.
    pub(super) fn since(&self, (skipped, seen): (u64, u64)) -> Counted {
        Counted {
            skipped: skipped.saturating_sub(self.skipped),
            lately: (skipped.saturating_sub(self.prior_skipped), seen.saturating_sub(self.prior_seen)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn counted(skipped: u64, lately: (u64, u64)) -> Counted {
        Counted { skipped, lately }
    }

    #[test]
    fn what_was_skipped_long_ago_does_not_count_any_more() {
        let mut window = Window::default();
        window.turn(1_000_000, HOUR_MS, (0, 0));
        assert_eq!(window.since((900, 5_000)), counted(900, (900, 5_000)), "the clock may begin at 0");
        let mut window = Window::default();
        window.turn(10_000_000, HOUR_MS, (7, 100));
        assert_eq!(window.since((9, 150)), counted(2, (9, 150)));
        window.turn(13_599_999, HOUR_MS, (900, 5_000));
        assert_eq!(window.since((900, 5_000)), counted(893, (900, 5_000)));
        window.turn(13_600_000, HOUR_MS, (900, 5_000));
        assert_eq!(window.since((901, 5_001)), counted(1, (894, 4_901)));
        window.turn(0, HOUR_MS, (950, 6_000));
        assert_eq!(window.since((951, 6_001)), counted(1, (51, 1_001)));
        window.turn(20_000_000, HOUR_MS, (950, 7_000));
        assert_eq!(window.since((951, 7_001)), counted(1, (1, 1_001)));
    }

    #[test]
    fn a_share_is_that_of_all_records_since_the_beginning_until_a_window_is_over() {
        let mut window = Window::default();
        // The first bad record comes late.
        window.turn(1_700_000_000_000, HOUR_MS, (0, 1_000_000));
        assert_eq!(window.since((11, 1_001_000)), counted(11, (11, 1_001_000)));
        window.turn(1_700_003_600_000, HOUR_MS, (11, 2_000_000));
        // Eleven of the first thousand of an hour would be more than one in a hundred.
        assert_eq!(window.since((22, 2_001_000)), counted(11, (22, 1_001_000)));
    }

    #[test]
    fn a_window_that_was_saved_without_the_one_before_is_taken_over() {
        let saved = r#"{"began_ms":5,"skipped":2,"seen":30}"#;
        let window: Window = serde_json::from_str(saved).unwrap();
        assert_eq!(window.since((3, 40)), counted(1, (3, 40)));
    }
}
