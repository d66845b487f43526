//! The records that count against a limit of skipped ones: those of the last while.

use serde::{Deserialize, Serialize};

/// When counting began anew, and what the totals were then. It is saved, so that restarts do not begin anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// In milliseconds since 1970.
    began_ms: i64,
    skipped: u64,
    seen: u64,
}

impl Window {
    /// Counts anew if the window is over. `skipped` and `seen` are the totals before the record at hand.
    pub(super) fn turn(&mut self, now_ms: i64, within_ms: u64, (skipped, seen): (u64, u64)) {
        // A clock that was set back does not make it longer.
        let age_ms = u64::try_from(now_ms.saturating_sub(self.began_ms)).unwrap_or(u64::MAX);
        if age_ms >= within_ms {
            *self = Self { began_ms: now_ms, skipped, seen };
        }
    }

    /// What of these totals falls into the window.
    pub(super) fn since(&self, (skipped, seen): (u64, u64)) -> (u64, u64) {
        (skipped.saturating_sub(self.skipped), seen.saturating_sub(self.seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_long_ago_does_not_count_any_more() {
        let mut window = Window::default();
        window.turn(1_000_000, 3_600_000, (0, 0));
        assert_eq!(window.since((900, 5_000)), (900, 5_000), "the clock may begin at 0");
        let mut window = Window::default();
        window.turn(10_000_000, 3_600_000, (7, 100));
        assert_eq!(window.since((9, 150)), (2, 50));
        window.turn(13_599_999, 3_600_000, (900, 5_000));
        assert_eq!(window.since((900, 5_000)), (893, 4_900));
        window.turn(13_600_000, 3_600_000, (900, 5_000));
        assert_eq!(window.since((901, 5_001)), (1, 1));
        window.turn(0, 3_600_000, (950, 6_000));
        assert_eq!(window.since((951, 6_001)), (1, 1));
    }
}
