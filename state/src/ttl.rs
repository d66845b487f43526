//! How long state lives that nobody uses.

use std::time::Duration;

/// How long a state lives, by processing time. One that has expired is never seen again, and its memory is freed in the
/// background.
///
/// The time is above 0: whoever uses a state that lives for no time at all is told so. It is counted in milliseconds,
/// and what is between two of them is the longer one; `Duration::MAX` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    after_ms: i64,
    by_reading: bool,
}

const NANOS_OF_MS: u128 = 1_000_000;

impl Ttl {
    /// For so long after it was written last.
    pub fn after_write(time: Duration) -> Self {
        let after_ms = time.as_nanos().div_ceil(NANOS_OF_MS);
        Self { after_ms: i64::try_from(after_ms).unwrap_or(i64::MAX), by_reading: false }
    }

    /// Whether it is 0, in which nothing could ever be found.
    pub fn is_nothing(self) -> bool {
        self.after_ms == 0
    }

    /// For so long after it was read or written last.
    pub fn after_access(time: Duration) -> Self {
        Self { by_reading: true, ..Self::after_write(time) }
    }

    /// Whether what was written (or read) last at `used_ms` is gone at `now_ms`.
    #[inline]
    pub fn has_expired(self, used_ms: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(used_ms) >= self.after_ms
    }

    /// Whether all of a collection is gone, whose newest item was used last at about this time.
    pub(crate) fn has_expired_altogether(self, newest_ms: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(newest_ms) >= self.after_ms.saturating_add(self.slack_ms())
    }

    /// Whether that time has to be noted anew.
    pub(crate) fn is_worth_renewing(self, newest_ms: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(newest_ms) >= self.slack_ms()
    }

    /// How exactly it is known.
    fn slack_ms(self) -> i64 {
        self.after_ms / 8
    }

    /// Whether reading counts.
    #[inline]
    pub fn is_renewed_by_reading(self) -> bool {
        self.by_reading
    }

    /// The time, in milliseconds.
    pub fn after_ms(self) -> i64 {
        self.after_ms
    }
}
