//! Restart policy and the budget that enforces it, as a state machine.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use watershed_actors::nanos_of;

use crate::dice::Dice;

/// When a supervisor restarts what has failed, and how often before it passes the failure on to the level above it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Restart {
    backoff_min: Duration,
    backoff_max: Duration,
    factor: f64,
    jitter: f64,
    reset_after: Option<Duration>,
    restarts: usize,
    within: Duration,
    counts_io: bool,
}

impl Restart {
    /// Rolls the region back to the newest checkpoint and goes on: at most 10 times in 5 minutes, after 100 ms, which
    /// doubles with each failure up to 10 s.
    pub fn from_snapshot() -> Self {
        Self {
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            factor: 2.0,
            jitter: 0.0,
            reset_after: None,
            restarts: 10,
            within: Duration::from_mins(5),
            counts_io: false,
        }
    }

    /// Never: the first failure goes to the level above.
    pub fn never() -> Self {
        Self::from_snapshot().at_most(0, Duration::from_secs(1))
    }

    /// As long as there are no more than so many failures within so long, each time after the same delay.
    pub fn failure_rate(failures: usize, within: Duration, delay: Duration) -> Self {
        Self::from_snapshot().fixed(delay).at_most(failures, within)
    }

    /// Waits as long before each restart.
    pub fn fixed(self, delay: Duration) -> Self {
        self.backoff(delay, delay)
    }

    /// Waits `min` before the first restart and [twice](Self::factor) as long before each further one, up to `max`.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff_min = min;
        self.backoff_max = max.max(min);
        self
    }

    /// By how much the wait grows with each failure (2).
    pub fn factor(mut self, factor: f64) -> Self {
        // A number that is none is no factor either.
        self.factor = factor.max(1.0);
        self
    }

    /// Lets each wait be longer or shorter by up to this share of it (0), so that jobs that failed together do not all
    /// come back together. By how much is decided by the job's history, the place and the number of the failure.
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.jitter = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        self
    }

    /// The wait begins anew with `min` after so long without a failure (as long as the budget looks back), counted from
    /// the end of the last wait.
    pub fn reset_after(mut self, calm: Duration) -> Self {
        self.reset_after = Some(calm);
        self
    }

    /// The budget: so many restarts within so long; failures longer ago are forgotten. One more goes to the level
    /// above. A disk that is full costs nothing of it: that is waited out.
    pub fn at_most(mut self, restarts: usize, within: Duration) -> Self {
        self.restarts = restarts;
        self.within = within;
        self
    }

    /// Input and output that fail at sources and sinks cost restarts as well. Else they are tried again until they
    /// work, like a disk that is full: with the same waits, but at no cost and without end, as nothing in the job can
    /// help them.
    pub fn count_io(mut self) -> Self {
        self.counts_io = true;
        self
    }

    fn calm(&self) -> Duration {
        self.reset_after.unwrap_or(self.within)
    }
}

/// Counts failures against a policy.
#[derive(Debug, Clone)]
pub(crate) struct RestartBudget {
    policy: Restart,
    /// Decides, with the number of the failure, by how much each wait is off.
    salt: u64,
    /// Failures since the process began.
    number: u64,
    /// Times of the failures within the window, in clock nanoseconds, oldest first.
    failures: VecDeque<u64>,
    /// When the last failure was, and how long the wait after it, before jitter.
    last: Option<(u64, Duration)>,
    /// The same of input or output that failed.
    last_io: Option<(u64, Duration)>,
}

/// How long to wait for room on a disk before the next try.
const OUT_OF_SPACE: Duration = Duration::from_secs(1);

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Restart after this long.
    Restart(Duration),
    /// The budget is spent.
    Spent,
}

impl RestartBudget {
    /// A full budget. The salt tells it from those of other places and other jobs.
    pub(crate) fn new(policy: Restart, salt: u64) -> Self {
        Self { policy, salt, number: 0, failures: VecDeque::new(), last: None, last_io: None }
    }

    /// Fills it up again: the level above has restarted what it is for.
    pub(crate) fn renew(&mut self) {
        self.failures.clear();
        self.last = None;
    }

    /// A disk is full: nothing in the job can help that, so it does not count, and is tried again until there is room.
    pub(crate) fn out_of_space(&self) -> Verdict {
        if self.policy.restarts == 0 {
            return Verdict::Spent;
        }
        Verdict::Restart(OUT_OF_SPACE.max(self.policy.backoff_min))
    }

    /// Input or output of a source or a sink has failed at this time (clock nanoseconds): it costs nothing, unless the
    /// policy says so, and the wait grows as long as it goes on.
    pub(crate) fn input_or_output_failed(&mut self, now_nanos: u64) -> Verdict {
        if self.policy.restarts == 0 {
            return Verdict::Spent;
        }
        if self.policy.counts_io {
            return self.failed(now_nanos);
        }
        self.number += 1;
        let backoff = self.next_backoff(self.last_io, now_nanos);
        self.last_io = Some((now_nanos, backoff));
        Verdict::Restart(self.jittered(backoff))
    }

    /// How many more failures at this time it has room for.
    pub(crate) fn left(&self, now_nanos: u64) -> usize {
        let window = nanos_of(self.policy.within);
        let recent = self.failures.iter().filter(|at| now_nanos.saturating_sub(**at) <= window);
        self.policy.restarts.saturating_sub(recent.count())
    }

    /// A restart that costs nothing, as something else limits the number of them. The wait grows with the attempts
    /// made.
    pub(crate) fn free(&self, attempts: u32) -> Verdict {
        let Restart { backoff_min, backoff_max, factor, restarts, .. } = self.policy;
        if restarts == 0 {
            return Verdict::Spent;
        }
        let grown = factor.powi(i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX));
        Verdict::Restart(self.jittered(scaled(backoff_min, grown).min(backoff_max)))
    }

    /// The failure at this time is forgotten: its cause is known and will not come again.
    pub(crate) fn forgive(&mut self, at_nanos: u64) {
        self.failures.retain(|at| *at != at_nanos);
        if self.failures.is_empty() {
            self.last = None;
        }
    }

    /// A failure at this time (clock nanoseconds).
    pub(crate) fn failed(&mut self, now_nanos: u64) -> Verdict {
        self.number += 1;
        let window = nanos_of(self.policy.within);
        while self.failures.front().is_some_and(|at| now_nanos.saturating_sub(*at) > window) {
            self.failures.pop_front();
        }
        if self.failures.len() >= self.policy.restarts {
            return Verdict::Spent;
        }
        self.failures.push_back(now_nanos);
        let backoff = self.next_backoff(self.last, now_nanos);
        self.last = Some((now_nanos, backoff));
        Verdict::Restart(self.jittered(backoff))
    }

    fn next_backoff(&self, last: Option<(u64, Duration)>, now_nanos: u64) -> Duration {
        let Restart { backoff_min, backoff_max, factor, .. } = self.policy;
        match last {
            Some((at, backoff))
                if now_nanos.saturating_sub(at)
                    < nanos_of(self.policy.calm()).saturating_add(nanos_of(backoff)) =>
            {
                scaled(backoff, factor).min(backoff_max)
            }
            _ => backoff_min,
        }
    }

    fn jittered(&self, backoff: Duration) -> Duration {
        if self.policy.jitter == 0.0 {
            return backoff;
        }
        let roll = Dice::new(self.salt ^ self.number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).roll();
        // From -1 to 1.
        let off = (roll >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        scaled(backoff, 1.0 + self.policy.jitter * off).min(self.policy.backoff_max)
    }
}

/// A duration times a factor that is not negative; the longest there is if it is too long.
fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}
