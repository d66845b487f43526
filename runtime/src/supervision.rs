//! How an operator is supervised, as it is wired.

use std::fmt;
use std::time::Duration;

use watershed_actors::{Directive, Policy, SkipCap, Stage};

use crate::restart::Restart;

/// What becomes of an operator's failures.
///
/// ```
/// use watershed_runtime::{Directive, Restart, Stage, Supervision, millis, minutes, seconds};
///
/// // Bad records go to the dead letters, whether they end in an error or in a panic; a timer that fails ends the job.
/// let strict_timers = Supervision::quarantine().on(Stage::Timer, Directive::Stop).at_most(100);
/// // Every failure restarts from the newest checkpoint, five times in a minute at most.
/// let patient: Supervision = Restart::from_snapshot().backoff(millis(100), seconds(10)).at_most(5, minutes(1)).into();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Supervision {
    pub(crate) policy: Policy,
    /// The operator's own budget of restarts; without one, failures count against that of its region.
    pub(crate) restart: Option<Restart>,
}

impl Supervision {
    /// The record that fails is left out and only counted.
    pub fn skip() -> Self {
        Self { policy: Policy::of(Directive::Skip), restart: None }
    }

    /// The record that fails goes to the dead letters, with what is known of it, and all others are processed.
    ///
    /// An error takes back what its record wrote. A panic rolls back the region to the newest checkpoint, and so does a
    /// record that the operator does not come back from (see `Config::hang_timeout`); a record that causes three of
    /// them (see [`Supervision::attempts`]) is left out when it comes again. A source that panics or hangs while it
    /// reads has no record yet that could be left out: it restarts within its budget. Dead letters are kept beside the
    /// checkpoints, where the program `watershed` lists, shows and replays them, and are a stream too:
    /// [`Stream::dead_letters`](crate::Stream::dead_letters).
    pub fn quarantine() -> Self {
        Self { policy: Policy::of(Directive::Quarantine), restart: None }
    }

    /// A failure goes to the level above: to the budget of the region, then to that of the job.
    pub fn escalate() -> Self {
        Self { policy: Policy::of(Directive::Escalate), restart: None }
    }

    /// The first failure ends the job.
    pub fn stop() -> Self {
        Self { policy: Policy::of(Directive::Stop), restart: None }
    }

    /// Another directive for one stage.
    pub fn on(mut self, stage: Stage, directive: Directive) -> Self {
        self.policy.set(stage, directive);
        self
    }

    /// The budget of restarts of this operator. One that is spent passes the failure on to the region.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = Some(restart);
        self
    }

    /// How often a record may make the operator panic or hang before it is left out (3, and at least once). Those after
    /// the first cost nothing of the restart budget; the wait before the next grows as its policy says. A transient
    /// failure of something outside that takes longer than all these attempts costs a good record, so give them time:
    /// [`Restart::backoff`].
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.policy.attempts = attempts;
        self
    }

    /// Where a record is left out, the later ones of its key, and its timers, wait until the record is replayed or
    /// discarded: the order within the key stays whole.
    pub fn park_keys(mut self) -> Self {
        self.policy.parks_keys = true;
        self
    }

    /// How many records of parked keys an instance keeps (100,000); the job stops before there are more.
    pub fn park_at_most(mut self, records: usize) -> Self {
        self.policy.parked_max = records;
        self
    }

    /// The job stops when an instance has skipped more records than this in an hour (1,000), or in the time that
    /// [`Supervision::count_skipped_within`] says.
    pub fn at_most(mut self, records: u64) -> Self {
        self.policy.cap = SkipCap { records, ..self.policy.cap };
        self
    }

    /// The job stops when an instance has skipped a larger share of its records than this (0.01, and from 0 to 1), of
    /// this hour and the one before, so that a few bad records at the start of an hour do not stop it; looked at from a
    /// thousand records on.
    pub fn at_most_fraction(mut self, fraction: f64) -> Self {
        self.policy.cap = SkipCap { fraction, ..self.policy.cap };
        self
    }

    /// In what time skipped records are counted (an hour), above 0; then counting begins anew. `Duration::MAX` counts
    /// all that there ever were.
    pub fn count_skipped_within(mut self, within: Duration) -> Self {
        self.policy.cap = SkipCap { within, ..self.policy.cap };
        self
    }

    /// Says that user code returns its errors before it has written state or timers, so that the engine need not keep
    /// what was there before each record. Worth it where a state is large and costly to clone.
    pub fn errors_before_writes(mut self) -> Self {
        self.policy.errors_before_writes = true;
        self
    }
}

impl fmt::Display for Supervision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said: Vec<String> = Stage::ALL
            .iter()
            .map(|stage| format!("{stage} {}", self.policy.directive(*stage).name()))
            .collect();
        f.write_str(&said.join(", "))?;
        f.write_str(if self.policy.parks_keys { ", keys are parked" } else { "" })?;
        f.write_str(if self.restart.is_some() { ", a budget of its own" } else { "" })
    }
}

impl From<Restart> for Supervision {
    fn from(restart: Restart) -> Self {
        Self { policy: Policy::default(), restart: Some(restart) }
    }
}
