//! What a simulation reports when something is wrong.

use std::fmt;

use crate::simulate::fault::Fault;
use crate::simulate::journal::Journal;
use crate::simulate::outputs::Difference;
use crate::simulate::seed::Seed;

/// A run that did not do what it should: which one, what was wrong, and the fewest faults that it takes.
///
/// Both `Display` and `Debug` print the whole report, so that `unwrap` in a test shows it.
pub struct SimulationFailure {
    /// The seed of the run.
    pub seed: Seed,
    /// What was wrong.
    pub violation: Violation,
    /// The faults that are left after all were taken out that it does not take.
    pub faults: Vec<Fault>,
    pub(crate) story: Box<Story>,
}

/// What else is told of a failure.
pub(crate) struct Story {
    /// Parallelism, checkpoint interval and so on, of the first life.
    pub(crate) settings: String,
    pub(crate) topology: String,
    pub(crate) journal: Journal,
    /// Whether it is the run that others are compared with.
    pub(crate) calm: bool,
}

/// What to do about output that depends on the order of events.
const BY_CHANCE: &str = "if that is about late records, see `Lateness::per_record`; a sink whose output may depend on the order of \
     events or on processing time is left out by `Simulator::ignore_output`, or checked by `Simulator::check_output`";

/// What can be wrong with a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The output is not that of a run without faults.
    Output {
        /// Whether the job said that it had finished.
        finished: bool,
        /// Sink by sink.
        differences: Vec<Difference>,
    },
    /// A check of the output of a sink has failed ([`Simulator::check_output`](crate::Simulator::check_output)).
    Check {
        /// The sink.
        sink: String,
        /// What the check says.
        why: String,
    },
    /// It goes on for too long, or nothing can happen any more.
    Hang(String),
    /// The job ended with an error, although nothing happened that would excuse it.
    Error(String),
    /// The engine broke a promise of its protocol.
    Broken(String),
    /// The control plane panicked.
    Panic(String),
}

impl Violation {
    /// Whether it is the same sort of thing.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output { finished, differences } => {
                let when =
                    if *finished { "when the job said that it had finished" } else { "before its end" };
                writeln!(f, "the output is another one than without faults, {when}:")?;
                differences.iter().try_for_each(|difference| write!(f, "{difference}"))
            }
            Self::Check { sink, why } => writeln!(f, "what `{sink}` shows does not pass its check: {why}"),
            Self::Hang(what) => writeln!(f, "the job does not end: {what}"),
            Self::Error(what) => writeln!(f, "the job ended with an error: {what}"),
            Self::Broken(what) => writeln!(f, "a promise of the engine is broken: {what}"),
            Self::Panic(what) => writeln!(f, "the control plane panicked: {what}"),
        }
    }
}

impl fmt::Display for SimulationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed: Seed(seed), violation, faults, story } = self;
        let Story { settings, topology, journal, calm } = &**story;
        writeln!(f, "simulation of `{topology}` with seed {seed}: {violation}")?;
        match faults.len() {
            0 if *calm => writeln!(f, "it is so in the run without faults, with {settings}")?,
            0 if matches!(violation, Violation::Output { .. }) => writeln!(
                f,
                "no fault is needed: with another order of events the result is another one, with {settings}\n{BY_CHANCE}"
            )?,
            0 => writeln!(f, "no fault is needed, with {settings}")?,
            1 => writeln!(f, "it takes one fault, with {settings}:")?,
            many => writeln!(f, "it takes {many} faults, with {settings}:")?,
        }
        for fault in faults {
            writeln!(f, "  {fault}")?;
        }
        writeln!(f, "\nwhat happened:\n{journal}")?;
        write!(
            f,
            "to run it again: `simulate(&topology, Seed({seed}))`, or `Simulator::run` with the same options"
        )
    }
}

impl fmt::Debug for SimulationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SimulationFailure {}
