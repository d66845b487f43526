//! Sinks whose output is judged otherwise than by comparing it with that of a run without faults.

use std::collections::BTreeMap;
use std::fmt;

use watershed_actors::{UserResult, in_simulation};

use crate::error::Error;
use crate::plan::Plan;
use crate::simulate::failure::Violation;
use crate::simulate::outputs::{Difference, Shown};
use crate::tree::ActorKind;

/// Looks at what a sink shows when the job has finished.
type Check<'a> = Box<dyn Fn(&[String]) -> UserResult + 'a>;

/// The sinks that are not compared, by name, each with what looks at its output instead, if anything does.
#[derive(Default)]
pub(crate) struct Judges<'a>(BTreeMap<String, Option<Check<'a>>>);

impl fmt::Debug for Judges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'a> Judges<'a> {
    /// The output of this sink may be another one in each run.
    pub(crate) fn ignore(&mut self, sink: &str) {
        self.0.insert(sink.to_string(), None);
    }

    /// The output of this sink has to pass a check.
    pub(crate) fn check(&mut self, sink: &str, check: impl Fn(&[String]) -> UserResult + 'a) {
        self.0.insert(sink.to_string(), Some(Box::new(check)));
    }

    /// Each of them is a sink of the topology.
    pub(crate) fn fit(&self, plan: &Plan) -> Result<(), Error> {
        let is_sink = |kind| matches!(kind, ActorKind::Sink | ActorKind::ExactlyOnceSink);
        let sinks: Vec<&str> =
            plan.nodes.iter().filter(|node| is_sink(node.kind)).map(|node| &*node.name).collect();
        match self.0.keys().find(|name| !sinks.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Error::config(format!(
                "there is no sink `{name}` whose output could be ignored or checked; there are {}",
                sinks.join(", ")
            ))),
        }
    }

    /// Leaves out the differences of sinks that are not compared.
    pub(crate) fn retain(&self, differences: &mut Vec<Difference>) {
        differences.retain(|difference| !self.0.contains_key(&difference.sink));
    }

    /// What is wrong with the output of a job that has finished, by the checks.
    pub(crate) fn violation(&self, shown: &Shown) -> Option<Violation> {
        self.0.iter().find_map(|(sink, check)| {
            let records = shown.get(sink).map_or(&[][..], |(_, records)| records);
            let why = match in_simulation(|| check.as_ref().map_or(Ok(()), |check| check(records))) {
                Ok(Ok(())) => return None,
                Ok(Err(error)) => error.to_string(),
                // As a failed assertion does.
                Err(panic) => panic,
            };
            Some(Violation::Check { sink: sink.clone(), why })
        })
    }
}
