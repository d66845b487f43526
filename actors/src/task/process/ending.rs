//! Timers at the end of the input. There event time goes to the end of all time, so one that sets another fires for
//! ever.

use crate::task::Env;

/// Counts the timers that fire since the input has ended.
#[derive(Debug)]
pub(super) struct Ending {
    /// Timers that were set when it ended.
    set: usize,
    fired: usize,
    /// It goes on and on: more have fired than were set, for some time.
    is_endless: bool,
    /// When the next warning may be given, in clock nanoseconds.
    warn_nanos: u64,
}

/// How long timers may set timers before that is said, and the least time until it is said again.
const WARN_AFTER_NANOS: u64 = 1_000_000_000;
const WARN_AGAIN_NANOS: u64 = 60_000_000_000;

impl Ending {
    /// The input has ended, and so many timers are set.
    pub(super) fn begin(set: usize, env: &Env) -> Self {
        Self {
            set,
            fired: 0,
            is_endless: false,
            warn_nanos: env.clock.nanos().saturating_add(WARN_AFTER_NANOS),
        }
    }

    /// Whether timers set timers for so long that checkpoints have to be made meanwhile.
    pub(super) fn is_endless(&self) -> bool {
        self.is_endless
    }

    /// So many more have fired; the next is for this time.
    pub(super) fn note(&mut self, fired: usize, next: Option<i64>, env: &Env) {
        self.fired += fired;
        let now = env.clock.nanos();
        if self.fired > self.set && now >= self.warn_nanos {
            self.is_endless = true;
            self.warn_nanos = now.saturating_add(WARN_AGAIN_NANOS);
            tracing::warn!(
                operator = &*env.instance.operator,
                set = self.set,
                fired = self.fired,
                next_at_ms = next,
                "the input has ended, and event-time timers set new ones, all of which fire: this goes on as long as they do. An \
                 `on_timer` that sets a timer should not do so once `context.watermark()` is `MAX_WATERMARK`. The job can be \
                 stopped or cancelled meanwhile, and checkpoints go on"
            );
        }
    }
}
