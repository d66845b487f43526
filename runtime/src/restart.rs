//! Restart policy and the budget that enforces it, as a state machine.

use std::collections::VecDeque;
use std::time::Duration;

/// What a supervisor does with a region that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    backoff_min: Duration,
    backoff_max: Duration,
    restarts: usize,
    within: Duration,
}

impl Restart {
    /// Rolls the region back to the newest checkpoint and goes on: at most 10 times in 5 minutes, after 100 ms, which
    /// doubles with each failure up to 10 s.
    pub fn from_snapshot() -> Self {
        Self {
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            restarts: 10,
            within: Duration::from_mins(5),
        }
    }

    /// Never: the first failure ends the job.
    pub fn never() -> Self {
        Self::from_snapshot().at_most(0, Duration::from_secs(1))
    }

    /// Waits `min` before the first restart and twice as long before each further one, up to `max`.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff_min = min;
        self.backoff_max = max.max(min);
        self
    }

    /// The budget: so many restarts within so long. One more ends the job. Failures longer ago are forgotten, also by
    /// the backoff. A disk that is full costs nothing of it: that is waited out.
    pub fn at_most(mut self, restarts: usize, within: Duration) -> Self {
        self.restarts = restarts;
        self.within = within;
        self
    }
}

/// Counts failures of a region against its policy.
#[derive(Debug, Clone)]
pub(crate) struct RestartBudget {
    policy: Restart,
    /// Times of the failures within the window, in clock nanoseconds, oldest first.
    failures: VecDeque<u64>,
}

/// How long to wait for room on a disk before the next try.
const OUT_OF_SPACE: Duration = Duration::from_secs(1);

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Restart after this long.
    Restart(Duration),
    /// The budget is spent.
    GiveUp,
}

impl RestartBudget {
    /// A full budget.
    pub(crate) fn new(policy: Restart) -> Self {
        Self { policy, failures: VecDeque::new() }
    }

    /// A disk is full: nothing in the job can help that, so it does not count, and is tried again until there is room.
    pub(crate) fn out_of_space(&self) -> Verdict {
        if self.policy.restarts == 0 {
            return Verdict::GiveUp;
        }
        Verdict::Restart(OUT_OF_SPACE.max(self.policy.backoff_min))
    }

    /// A restart that costs nothing, as something else limits the number of them.
    pub(crate) fn free(&self) -> Verdict {
        Verdict::Restart(self.policy.backoff_min)
    }

    /// The same, and the last failure is forgotten: its cause is known and will not come again.
    pub(crate) fn forgive(&mut self) -> Verdict {
        self.failures.pop_back();
        self.free()
    }

    /// A failure at this time (clock nanoseconds).
    pub(crate) fn failed(&mut self, now_nanos: u64) -> Verdict {
        let window = u64::try_from(self.policy.within.as_nanos()).unwrap_or(u64::MAX);
        while self.failures.front().is_some_and(|at| now_nanos.saturating_sub(*at) > window) {
            self.failures.pop_front();
        }
        if self.failures.len() >= self.policy.restarts {
            return Verdict::GiveUp;
        }
        let doublings = u32::try_from(self.failures.len()).unwrap_or(u32::MAX).min(31);
        self.failures.push_back(now_nanos);
        let backoff = self.policy.backoff_min.saturating_mul(1 << doublings);
        Verdict::Restart(backoff.min(self.policy.backoff_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn policy() -> Restart {
        Restart::from_snapshot()
            .backoff(Duration::from_millis(100), Duration::from_millis(300))
            .at_most(3, Duration::from_mins(1))
    }

    #[test]
    fn backoff_doubles_up_to_its_limit_and_then_the_budget_is_spent() {
        let mut budget = RestartBudget::new(policy());
        let mut fail = || budget.failed(SECOND);
        assert_eq!(fail(), Verdict::Restart(Duration::from_millis(100)));
        assert_eq!(fail(), Verdict::Restart(Duration::from_millis(200)));
        assert_eq!(fail(), Verdict::Restart(Duration::from_millis(300)));
        assert_eq!(fail(), Verdict::GiveUp);
    }

    #[test]
    fn waiting_for_room_on_a_disk_costs_nothing_of_the_budget() {
        let mut budget = RestartBudget::new(policy());
        for _ in 0..1_000 {
            assert_eq!(budget.out_of_space(), Verdict::Restart(Duration::from_secs(1)));
        }
        assert_eq!(budget.failed(SECOND), Verdict::Restart(Duration::from_millis(100)));
        assert_eq!(RestartBudget::new(Restart::never()).out_of_space(), Verdict::GiveUp);
    }

    #[test]
    fn failures_outside_the_window_are_forgotten() {
        let mut budget = RestartBudget::new(policy());
        for minute in 0..100 {
            assert_eq!(budget.failed(minute * 61 * SECOND), Verdict::Restart(Duration::from_millis(100)));
        }
    }

    #[test]
    fn never_means_that_the_first_failure_is_the_last() {
        assert_eq!(RestartBudget::new(Restart::never()).failed(0), Verdict::GiveUp);
    }

    proptest::proptest! {
        #[test]
        fn no_window_ever_holds_more_restarts_than_the_budget(gaps in proptest::collection::vec(0..40 * SECOND, 1..200)) {
            let mut budget = RestartBudget::new(policy());
            let (mut now, mut restarts) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                if let Verdict::Restart(backoff) = budget.failed(now) {
                    proptest::prop_assert!(backoff >= Duration::from_millis(100) && backoff <= Duration::from_millis(300));
                    restarts.push(now);
                }
                let recent = restarts.iter().filter(|at| now - **at <= 60 * SECOND).count();
                proptest::prop_assert!(recent <= 3);
            }
        }
    }
}
