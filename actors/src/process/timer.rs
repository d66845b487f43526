//! A timer, as user code sees it.

use serde::{Deserialize, Serialize};

use crate::clock::{MAX_WATERMARK, NO_TIMESTAMP};

/// A timer that has come due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// For when it was set, in milliseconds.
    pub at: i64,
    /// Which clock.
    pub kind: TimerKind,
}

impl Timer {
    /// What [`Context::timer_at_end`] sets.
    pub(crate) const AT_END: Self = Self { at: MAX_WATERMARK, kind: TimerKind::EventTime };

    /// Whether it stands for the end of the input.
    pub(crate) fn is_at_end(self) -> bool {
        self == Self::AT_END
    }

    /// The event time that it fires with.
    pub(crate) fn timestamp(self) -> i64 {
        match self.kind {
            TimerKind::EventTime if !self.is_at_end() => self.at,
            _ => NO_TIMESTAMP,
        }
    }
}

/// The clock a timer goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// The watermark.
    EventTime,
    /// The clock of the machine.
    ProcessingTime,
}
