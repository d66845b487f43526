//! Exactly-once output, taken for this process alone before anything of it is written.

use std::fmt;

use watershed_actors::{Clock, OutputClaim, Owner, chain_of};
use watershed_state::{CheckpointStore, Fs};

use crate::config::Config;
use crate::error::Error;
use crate::plan::Plan;

/// The claims of all sinks. They are released when this is dropped.
pub(crate) struct Claims(Vec<(String, Box<dyn OutputClaim>)>);

impl Claims {
    /// Finds out whether another process has the output of a sink, or a later one had, as that of a copy of the
    /// checkpoint folder would. Nothing is written: the number of the run is not reserved yet, and may be given again.
    pub(crate) fn find(
        (plan, config): (&Plan, &Config),
        store: &CheckpointStore,
        (lineage, run): (&str, u64),
        outputs: &Fs,
        clock: &dyn Clock,
    ) -> Result<Self, Error> {
        let lasts = config.checkpoints.is_some() || config.checkpoints_at.is_some();
        let place = || store.objects().location("").display().to_string();
        let process = if config.simulation.is_some() { 0 } else { std::process::id() };
        let mut claims = Vec::new();
        for node in &plan.nodes {
            let owner = Owner {
                topology: plan.topology.clone(),
                operator: node.name.to_string(),
                lineage: lineage.to_owned(),
                run,
                checkpoints: lasts.then(place),
                process,
                started_ms: clock.wall_ms(),
            };
            let claim = node.build.claim(&owner, outputs).map_err(|error| named(&node.name, &error))?;
            claims.extend(claim.map(|claim| (owner.operator, claim)));
        }
        Ok(Self(claims))
    }

    /// Makes known that all of it is taken, once the number of the run is reserved.
    pub(crate) fn mark(mut self) -> Result<Self, Error> {
        for (operator, claim) in &mut self.0 {
            claim.mark().map_err(|error| {
                Error::config(format!("`{operator}`: its output cannot be taken: {}", chain_of(&*error)))
            })?;
        }
        Ok(self)
    }
}

fn named(operator: &str, error: &Error) -> Error {
    Error::new(error.kind, format!("`{operator}`: {error}"))
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(operator, _)| operator)).finish()
    }
}
