//! How a failure climbs the supervision tree, as a state machine: instance → operator → region → job.
//!
//! Whatever level decides, it is a region that is rolled back, as its instances would disagree with each other else;
//! the job rolls back all of them. The levels differ in whose budget pays and how long the wait is.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use watershed_actors::{Directive, FailureKind};

use crate::poison::Finding;
use crate::restart::{Restart, RestartBudget, Verdict};
use crate::tree::SupervisionLevel as Level;

/// What is done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Roll back: the region of the failure, or all of them if it is the job that decides.
    Restart { level: Level, backoff: Duration },
    /// The job ends.
    GiveUp(Hopeless),
}

/// Why nothing more is done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hopeless {
    /// No level has a restart left.
    Spent,
    /// It would fail again.
    Unchanging,
    /// The operator's policy wants it so.
    Stop,
}

impl Hopeless {
    /// As the end of a sentence that says what failed.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Spent => "its restart budget is spent",
            Self::Unchanging => "a restart would not change that",
            Self::Stop => "its policy is to stop the job then",
        }
    }
}

/// A failure, as far as the decision depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incident {
    pub(crate) region: usize,
    /// The operator's number in the plan.
    pub(crate) operator: usize,
    pub(crate) kind: FailureKind,
    /// What the operator's policy says of it.
    pub(crate) directive: Directive,
    /// Whether a record is known that is left out after so many attempts.
    pub(crate) finding: Finding,
}

/// The budgets of all levels.
///
/// Each level has its own. One that is spent passes the failure to the level above, whose restart fills up those below
/// again: they begin anew as well.
#[derive(Debug)]
pub(crate) struct Escalation {
    job: RestartBudget,
    regions: Vec<RegionBudgets>,
    /// Who has paid for the last failure of an operator of which it may come out that a record was at fault.
    first_tries: BTreeMap<usize, Payment>,
}

/// A failure that was counted against a budget.
#[derive(Debug, Clone, Copy)]
struct Payment {
    region: usize,
    level: Level,
    at_nanos: u64,
}

#[derive(Debug)]
struct RegionBudgets {
    own: RestartBudget,
    /// Of those operators that have one.
    operators: BTreeMap<usize, RestartBudget>,
}

impl Escalation {
    /// Full budgets. For each region its operators that have one of their own, by their number in the plan. The salt
    /// tells the job from others.
    pub(crate) fn new(
        job: Restart,
        region: Restart,
        operators: impl IntoIterator<Item = Vec<(usize, Restart)>>,
        salt: u64,
    ) -> Self {
        let place = |number: usize| salt.wrapping_add((number as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let regions = operators.into_iter().enumerate().map(|(index, operators)| RegionBudgets {
            own: RestartBudget::new(region, place(index + 1)),
            operators: operators
                .into_iter()
                .map(|(operator, policy)| {
                    // Regions of the same operator wait apart from each other, too.
                    (
                        operator,
                        RestartBudget::new(policy, place(index + 1) ^ place(operator + 1).rotate_left(32)),
                    )
                })
                .collect(),
        });
        let (regions, first_tries) = (regions.collect(), BTreeMap::new());
        Self { job: RestartBudget::new(job, salt), regions, first_tries }
    }

    /// Decides about a failure at this time (clock nanoseconds).
    pub(crate) fn failed(&mut self, incident: Incident, now_nanos: u64) -> Decision {
        let free = |attempts| move |budget: &mut RestartBudget| budget.free(attempts);
        match (incident.directive, incident.kind, incident.finding) {
            (Directive::Stop, ..) => Decision::GiveUp(Hopeless::Stop),
            (_, FailureKind::State, _) => Decision::GiveUp(Hopeless::Unchanging),
            // The number of attempts is limited already.
            (.., Finding::Retry(attempts)) => self.climb(incident, free(attempts), false),
            (.., Finding::Convicted) => {
                self.forgive(incident.operator);
                self.climb(incident, free(0), false)
            }
            (_, FailureKind::Io, _) => {
                self.climb(incident, |budget| budget.input_or_output_failed(now_nanos), false)
            }
            (_, FailureKind::NoSpace, _) => self.climb(incident, |budget| budget.out_of_space(), false),
            _ => {
                let decision = self.climb(incident, |budget| budget.failed(now_nanos), true);
                if let (Finding::FirstTry, Decision::Restart { level, .. }) = (incident.finding, decision) {
                    let payment = Payment { region: incident.region, level, at_nanos: now_nanos };
                    self.first_tries.insert(incident.operator, payment);
                }
                decision
            }
        }
    }

    /// How many restarts the budget of a region has left.
    pub(crate) fn restarts_left(&self, region: usize, now_nanos: u64) -> usize {
        self.regions.get(region).map_or(0, |budgets| budgets.own.left(now_nanos))
    }

    /// A region that is down cannot come back yet, for a reason of the machine's.
    pub(crate) fn cannot_restart(&mut self, region: usize, kind: FailureKind, now_nanos: u64) -> Decision {
        let (directive, finding) = (Directive::Restart, Finding::NotPoison);
        self.failed(Incident { region, operator: usize::MAX, kind, directive, finding }, now_nanos)
    }

    /// It is known now which record of an operator it was, and it does not come again: its first try is given back to
    /// who paid for it.
    fn forgive(&mut self, operator: usize) {
        let Some(Payment { region, level, at_nanos }) = self.first_tries.remove(&operator) else { return };
        let region = &mut self.regions[region];
        let budget = match level {
            Level::Operator => region.operators.get_mut(&operator),
            Level::Region => Some(&mut region.own),
            Level::Job => Some(&mut self.job),
        };
        if let Some(budget) = budget {
            budget.forgive(at_nanos);
        }
    }

    /// Asks one level after the other, from the bottom up. One that pays with its own budget gives the levels below it
    /// a fresh one.
    fn climb(
        &mut self,
        incident: Incident,
        ask: impl Fn(&mut RestartBudget) -> Verdict,
        renews: bool,
    ) -> Decision {
        let restart = |level, backoff| Decision::Restart { level, backoff };
        let region = &mut self.regions[incident.region];
        if incident.directive != Directive::Escalate
            && let Some(budget) = region.operators.get_mut(&incident.operator)
            && let Verdict::Restart(backoff) = ask(budget)
        {
            return restart(Level::Operator, backoff);
        }
        if let Verdict::Restart(backoff) = ask(&mut region.own) {
            if renews {
                region.operators.values_mut().for_each(RestartBudget::renew);
            }
            return restart(Level::Region, backoff);
        }
        if let Verdict::Restart(backoff) = ask(&mut self.job) {
            if renews {
                self.regions.iter_mut().for_each(RegionBudgets::renew);
            }
            return restart(Level::Job, backoff);
        }
        Decision::GiveUp(Hopeless::Spent)
    }
}

impl RegionBudgets {
    fn renew(&mut self) {
        self.own.renew();
        self.operators.values_mut().for_each(RestartBudget::renew);
    }
}
