//! The ranges of settings, as they are looked at when a job starts.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::Config;
use crate::error::Error;
use crate::event::Then;
use crate::simulation::Simulation;
use crate::supervision::Supervision;

/// The most instances of an actor: a slip of the finger is not to take down a job.
pub(crate) const INSTANCES_MAX: usize = 4_096;
const SLOTS_MAX: usize = 1_024;
const CREDITS_MAX: u32 = 4_096;
const BATCH_RECORDS_MAX: usize = 1 << 20;
/// A step takes about a millisecond, and others want the processor, too.
const HANG_TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// In virtual time a step takes no longer than it is told to.
const SIMULATED_HANG_TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// Refuses a setting that is out of its range.
pub(crate) fn within<T: PartialOrd + Display + Copy>(
    setting: &str,
    value: T,
    range: &RangeInclusive<T>,
) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    // A number that is none is in no range.
    let (least, most) = (range.start(), range.end());
    Err(Error::config(format!("`{setting}({value})` is out of its range, which is from {least} to {most}")))
}

/// Refuses a time that is nothing.
pub(crate) fn above_zero(setting: &str, time: Duration) -> Result<(), Error> {
    if time > Duration::ZERO {
        return Ok(());
    }
    Err(Error::config(format!(
        "`{setting}` is {time:?}: it must be above 0, and may be `Duration::MAX`, for never"
    )))
}

impl Config {
    /// Looks whether each setting is in its range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(slots) = self.slots {
            within("Config::slots", slots, &(1..=SLOTS_MAX))?;
        }
        if let Some(instances) = self.parallelism {
            within("Config::parallelism", instances, &(1..=INSTANCES_MAX))?;
        }
        within("Config::credits", self.credits, &(1..=CREDITS_MAX))?;
        within("Config::batch_records", self.limits.records, &(1..=BATCH_RECORDS_MAX))?;
        within("Config::retain", self.retain, &(1..=usize::MAX))?;
        if let Some(interval) = self.checkpoint_interval {
            above_zero("Config::checkpoint_interval", interval)?;
        }
        above_zero("Config::checkpoint_timeout", self.checkpoint_timeout)?;
        let least = if self.simulation.is_some() { SIMULATED_HANG_TIMEOUT_MIN } else { HANG_TIMEOUT_MIN };
        if let Some(timeout) = self.hang_timeout.filter(|timeout| *timeout < least) {
            return Err(Error::config(format!(
                "`Config::hang_timeout` is {timeout:?}: it must be at least {least:?}, or 0, which turns it off"
            )));
        }
        if let Some(simulation) = &self.simulation {
            simulation.check()?;
        }
        self.supervision.check("Config::supervise")
    }
}

impl Simulation {
    /// Looks whether each setting is in its range. Steps are counted from 1: at the step 0 nothing would ever happen.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let step = |setting: &str, step: u64| within(setting, step, &(1..=u64::MAX));
        step("Simulation::at_most_steps", self.steps_max)?;
        self.panic_at.iter().try_for_each(|at| step("Simulation::panic_at", *at))?;
        self.hang_at.iter().try_for_each(|at| step("Simulation::hang_at", *at))?;
        self.die_at.map_or(Ok(()), |at| step("Simulation::die_at", at))?;
        self.stop_at.map_or(Ok(()), |at| step("Simulation::stop_at", at))?;
        for (at, _, then) in &self.savepoint_at {
            let setting = match then {
                Then::GoOn => "Simulation::savepoint_at",
                Then::Stop | Then::Drain => "Simulation::stop_with_savepoint_at",
            };
            step(setting, *at)?;
        }
        for (at, operator, instances) in &self.rescale_at {
            step("Simulation::rescale_at", *at)?;
            within("Simulation::rescale_at", *instances, &(1..=INSTANCES_MAX))
                .map_err(|error| Error::config(format!("the parallelism of `{operator}`: {error}")))?;
        }
        Ok(())
    }
}

impl Supervision {
    /// Looks whether each setting is in its range; `place` is where it was set.
    pub(crate) fn check(&self, place: &str) -> Result<(), Error> {
        let in_place = |error: Error| Error::config(format!("{place}: {error}"));
        within("Supervision::attempts", self.policy.attempts, &(1..=u32::MAX)).map_err(in_place)?;
        above_zero("Supervision::count_skipped_within", self.policy.cap.within).map_err(in_place)?;
        within("Supervision::at_most_fraction", self.policy.cap.fraction, &(0.0..=1.0)).map_err(in_place)
    }
}
