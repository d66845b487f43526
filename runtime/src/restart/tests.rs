use super::*;

const SECOND: u64 = 1_000_000_000;

fn policy() -> Restart {
    Restart::from_snapshot()
        .backoff(Duration::from_millis(100), Duration::from_millis(300))
        .at_most(3, Duration::from_mins(1))
}

fn budget(policy: Restart) -> RestartBudget {
    RestartBudget::new(policy, 7)
}

fn after_ms(ms: u64) -> Verdict {
    Verdict::Restart(Duration::from_millis(ms))
}

#[test]
fn backoff_doubles_up_to_its_limit_and_then_the_budget_is_spent() {
    let mut budget = budget(policy());
    let mut fail = || budget.failed(SECOND);
    assert_eq!(
        [fail(), fail(), fail(), fail()],
        [after_ms(100), after_ms(200), after_ms(300), Verdict::Spent]
    );
}

#[test]
fn backoff_grows_by_its_factor() {
    let mut budget = budget(policy().factor(1.5));
    assert_eq!([0, 1, 2].map(|at| budget.failed(at)), [after_ms(100), after_ms(150), after_ms(225)]);
}

#[test]
fn a_fixed_delay_stays_the_same() {
    let mut budget = budget(policy().fixed(Duration::from_millis(70)));
    assert_eq!([0, 1, 2].map(|at| budget.failed(at)), [after_ms(70); 3]);
}

#[test]
fn backoff_begins_anew_only_after_a_calm_that_follows_the_last_wait() {
    let calm = 10 * SECOND;
    let policy = policy().at_most(10, Duration::from_hours(1)).reset_after(Duration::from_nanos(calm));
    let mut budget = budget(policy);
    assert_eq!(budget.failed(0), after_ms(100));
    // The calm after the wait of 100 ms is one nanosecond short.
    let second = calm + SECOND / 10 - 1;
    assert_eq!(budget.failed(second), after_ms(200));
    assert_eq!(budget.failed(second + calm + SECOND / 5), after_ms(100));
}

#[test]
fn a_rate_of_failures_is_kept_up_for_ever_and_one_above_it_is_not() {
    let delay = Duration::from_millis(20);
    let mut budget = budget(Restart::failure_rate(2, Duration::from_secs(10), delay));
    for n in 0..1_000 {
        assert_eq!(budget.failed(n * 51 * SECOND / 10), Verdict::Restart(delay));
    }
    assert_eq!(budget.failed(999 * 51 * SECOND / 10 + 1), Verdict::Spent);
}

#[test]
fn waiting_for_room_on_a_disk_costs_nothing_of_the_budget() {
    let mut budget = budget(policy());
    for _ in 0..1_000 {
        assert_eq!(budget.out_of_space(), Verdict::Restart(Duration::from_secs(1)));
    }
    assert_eq!(budget.failed(SECOND), after_ms(100));
    assert_eq!(RestartBudget::new(Restart::never(), 0).out_of_space(), Verdict::Spent);
}

#[test]
fn failures_outside_the_window_are_forgotten() {
    let mut budget = budget(policy());
    for minute in 0..100 {
        assert_eq!(budget.failed(minute * 61 * SECOND), after_ms(100));
    }
}

#[test]
fn never_means_that_the_first_failure_goes_to_the_level_above() {
    assert_eq!(budget(Restart::never()).failed(0), Verdict::Spent);
}

#[test]
fn a_renewed_budget_is_full_and_waits_as_little_as_at_the_beginning() {
    let mut budget = budget(policy());
    while budget.failed(SECOND) != Verdict::Spent {}
    budget.renew();
    assert_eq!(budget.failed(SECOND), after_ms(100));
}

#[test]
fn jitter_is_the_same_for_the_same_job_and_spreads_the_waits_of_others() {
    let policy = policy().backoff(Duration::from_secs(1), Duration::from_secs(2)).jitter(0.5);
    let first = |salt| match RestartBudget::new(policy, salt).failed(0) {
        Verdict::Restart(wait) => wait.as_millis(),
        Verdict::Spent => 0,
    };
    let waits: Vec<u128> = (0..200).map(first).collect();
    assert_eq!(waits, (0..200).map(first).collect::<Vec<_>>());
    assert!(waits.iter().all(|wait| (500..1_500).contains(wait)), "{waits:?}");
    for tenth in 5..15 {
        let count = waits.iter().filter(|wait| **wait / 100 == tenth).count();
        assert!(count > 5, "only {count} of 200 waits are of {tenth} tenths of a second");
    }
}

#[test]
fn input_and_output_that_fail_are_tried_again_without_end_and_ever_less_often() {
    let policy = Restart::from_snapshot().at_most(2, Duration::from_mins(5));
    let mut budget = RestartBudget::new(policy, 0);
    let mut waits = Vec::new();
    let mut now = 0;
    for _ in 0..100 {
        let Verdict::Restart(wait) = budget.input_or_output_failed(now) else { panic!("it has no end") };
        now += nanos_of(wait) + 1;
        waits.push(wait.as_millis());
    }
    assert_eq!(waits[..8], [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000]);
    assert_eq!((waits[99], budget.left(now)), (10_000, 2), "it costs nothing");
    let later = now + 11 * 60 * SECOND;
    assert_eq!(budget.input_or_output_failed(later), Verdict::Restart(Duration::from_millis(100)));
    assert_eq!(RestartBudget::new(Restart::never(), 0).input_or_output_failed(0), Verdict::Spent);
}

#[test]
fn input_and_output_that_fail_cost_restarts_if_the_policy_says_so() {
    let mut budget =
        RestartBudget::new(Restart::from_snapshot().at_most(2, Duration::from_mins(5)).count_io(), 0);
    assert!(matches!(budget.input_or_output_failed(0), Verdict::Restart(_)));
    assert_eq!(budget.left(0), 1);
    assert!(matches!(budget.input_or_output_failed(0), Verdict::Restart(_)));
    assert_eq!(budget.input_or_output_failed(0), Verdict::Spent);
}

proptest::proptest! {
    #[test]
    fn no_window_ever_holds_more_restarts_than_the_budget(gaps in proptest::collection::vec(0..40 * SECOND, 1..200)) {
        let mut budget = budget(policy());
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

    #[test]
    fn whatever_the_policy_no_wait_is_longer_than_its_limit_and_none_shorter_than_jitter_allows(
        (min, more, factor, jitter) in (0..1_000u64, 0..100_000u64, -1.0..1e9, 0.0..1.0),
        (salt, gaps) in (proptest::num::u64::ANY, proptest::collection::vec(0..10 * SECOND, 1..50)),
    ) {
        let (min, max) = (Duration::from_millis(min), Duration::from_millis(min + more));
        let policy = Restart::from_snapshot().backoff(min, max).factor(factor).jitter(jitter);
        let mut budget = RestartBudget::new(policy.at_most(1_000, Duration::from_hours(1)), salt);
        let mut now = 0;
        for gap in gaps {
            now += gap;
            let Verdict::Restart(wait) = budget.failed(now) else { panic!("the budget is large") };
            // A nanosecond for what floating point rounds off.
            let shortest = min.mul_f64(1.0 - jitter).saturating_sub(Duration::from_nanos(1));
            proptest::prop_assert!(wait <= max && wait >= shortest, "{wait:?} of {min:?} to {max:?}");
        }
    }
}
