use super::*;

const SECOND: u64 = 1_000_000_000;

/// So many restarts, ever.
fn restarts(most: usize) -> Restart {
    Restart::failure_rate(most, Duration::from_hours(1), Duration::from_millis(1))
}

/// Two regions with the operators 0 and 1, of which 1 has a budget of its own.
fn escalation(job: usize, region: usize, operator: usize) -> Escalation {
    let operators = vec![vec![(1, restarts(operator))]; 2];
    Escalation::new(restarts(job), restarts(region), operators, 7)
}

fn panic_in(region: usize, operator: usize) -> Incident {
    let (kind, directive) = (FailureKind::Panic, Directive::Restart);
    Incident { region, operator, kind, directive, finding: Finding::NotPoison }
}

/// Lets the same happen again and again until the job ends, and tells the levels that decided.
fn levels(escalation: &mut Escalation, incident: Incident) -> (Vec<Level>, Hopeless) {
    let mut levels = Vec::new();
    loop {
        match escalation.failed(incident, SECOND) {
            Decision::Restart { level, .. } => levels.push(level),
            Decision::GiveUp(why) => return (levels, why),
        }
    }
}

#[test]
fn a_spent_budget_passes_the_failure_up_and_gets_a_fresh_one_from_there() {
    use Level::{Job, Operator, Region};
    let (levels, why) = levels(&mut escalation(1, 2, 1), panic_in(0, 1));
    let before_the_job = [Operator, Region, Operator, Region, Operator];
    assert_eq!(levels, [&before_the_job[..], &[Job], &before_the_job[..]].concat());
    assert_eq!(why, Hopeless::Spent);
}

#[test]
fn an_operator_without_a_budget_of_its_own_uses_that_of_its_region() {
    let (levels, _) = levels(&mut escalation(0, 3, 100), panic_in(0, 0));
    assert_eq!(levels, [Level::Region; 3]);
}

#[test]
fn what_is_escalated_passes_over_the_operator_and_leaves_its_budget_alone() {
    let mut escalation = escalation(0, 2, 1);
    let escalated = Incident { directive: Directive::Escalate, ..panic_in(0, 1) };
    assert_eq!(levels(&mut escalation, escalated).0, [Level::Region; 2]);
    assert_eq!(levels(&mut escalation, panic_in(0, 1)).0, [Level::Operator]);
}

#[test]
fn one_region_does_not_use_up_the_budgets_of_another() {
    let mut escalation = escalation(0, 2, 1);
    levels(&mut escalation, panic_in(0, 1));
    assert_eq!(levels(&mut escalation, panic_in(1, 0)).0, [Level::Region; 2]);
}

#[test]
fn a_restart_of_the_job_fills_up_the_budgets_of_all_regions() {
    let mut escalation = escalation(1, 1, 1);
    let backoff = Duration::from_millis(1);
    let region = Decision::Restart { level: Level::Region, backoff };
    assert_eq!(escalation.failed(panic_in(0, 0), SECOND), region);
    assert_eq!(levels(&mut escalation, panic_in(1, 0)).0, [Level::Region, Level::Job, Level::Region]);
    // What the other region had used up before that is there again.
    assert_eq!(levels(&mut escalation, panic_in(0, 0)).0, [Level::Region]);
}

#[test]
fn stop_ends_the_job_whatever_budgets_there_are() {
    let stop = Incident { directive: Directive::Stop, ..panic_in(0, 1) };
    assert_eq!(levels(&mut escalation(9, 9, 9), stop), (vec![], Hopeless::Stop));
}

#[test]
fn a_state_that_cannot_be_restored_ends_the_job_whatever_budgets_there_are() {
    let state = Incident { kind: FailureKind::State, ..panic_in(0, 1) };
    assert_eq!(levels(&mut escalation(9, 9, 9), state), (vec![], Hopeless::Unchanging));
}

#[test]
fn a_full_disk_is_waited_out_by_the_lowest_level_that_restarts_at_all_and_costs_nothing() {
    for (budgets, level) in
        [((1, 1, 1), Level::Operator), ((1, 1, 0), Level::Region), ((1, 0, 0), Level::Job)]
    {
        let mut escalation = escalation(budgets.0, budgets.1, budgets.2);
        let full = Incident { kind: FailureKind::NoSpace, ..panic_in(0, 1) };
        for _ in 0..100 {
            let backoff = Duration::from_secs(1);
            assert_eq!(escalation.failed(full, SECOND), Decision::Restart { level, backoff });
        }
        assert!(matches!(escalation.failed(panic_in(0, 1), SECOND), Decision::Restart { .. }));
    }
    let full = Incident { kind: FailureKind::NoSpace, ..panic_in(0, 1) };
    assert_eq!(escalation(0, 0, 0).failed(full, SECOND), Decision::GiveUp(Hopeless::Spent));
}

proptest::proptest! {
    /// However failures are spread over places, the job as a whole restarts no more often than its levels allow.
    #[test]
    fn no_pattern_of_failures_gets_more_restarts_than_the_levels_allow_together(
        (job, region, operator) in (0..3usize, 0..4usize, 0..4usize),
        places in proptest::collection::vec((0..2usize, 0..2usize), 300),
    ) {
        let mut escalation = escalation(job, region, operator);
        let mut by_level = BTreeMap::new();
        for (region, operator) in places {
            match escalation.failed(panic_in(region, operator), SECOND) {
                Decision::Restart { level, .. } => *by_level.entry(level).or_insert(0) += 1,
                Decision::GiveUp(why) => {
                    proptest::prop_assert_eq!(why, Hopeless::Spent);
                    break;
                }
            }
        }
        let of = |level| by_level.get(&level).copied().unwrap_or(0);
        let (jobs, regions, operators) = (of(Level::Job), of(Level::Region), of(Level::Operator));
        proptest::prop_assert!(jobs <= job);
        proptest::prop_assert!(regions <= 2 * region * (jobs + 1));
        proptest::prop_assert!(operators <= operator * (regions + 2 * (jobs + 1)));
    }
}

#[test]
fn a_record_that_is_found_out_costs_one_restart_until_it_is_and_none_after() {
    let mut escalation = escalation(0, 1, 0);
    let found = |finding| Incident { directive: Directive::Quarantine, finding, ..panic_in(0, 0) };
    for _ in 0..50 {
        for finding in [Finding::FirstTry, Finding::Retry(2), Finding::Convicted] {
            let decision = escalation.failed(found(finding), SECOND);
            assert!(matches!(decision, Decision::Restart { level: Level::Region, .. }), "{decision:?}");
        }
    }
    escalation.failed(found(Finding::FirstTry), SECOND);
    for counts in [Finding::FirstTry, Finding::Missed] {
        assert_eq!(escalation.failed(found(counts), SECOND), Decision::GiveUp(Hopeless::Spent));
    }
}

#[test]
fn input_and_output_that_fail_end_no_job_unless_its_policy_is_to_stop() {
    let mut escalation = escalation(0, 1, 0);
    let io = |directive| Incident { directive, kind: FailureKind::Io, ..panic_in(0, 0) };
    for second in 0..100 {
        let decision = escalation.failed(io(Directive::Restart), second * SECOND);
        assert!(matches!(decision, Decision::Restart { level: Level::Region, .. }), "{decision:?}");
    }
    assert_eq!(escalation.restarts_left(0, 100 * SECOND), 1);
    assert_eq!(escalation.failed(io(Directive::Stop), 100 * SECOND), Decision::GiveUp(Hopeless::Stop));
}
