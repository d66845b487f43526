//! Plans of the same wiring in which some actors have another parallelism.

use std::sync::Arc;

use watershed_state::{RescaledOperator, shown};

use crate::config::{Config, INSTANCES_MAX};
use crate::error::Error;
use crate::plan::{LETTER_SINK, Plan};

impl Plan {
    /// The plan with another number of instances of one actor, and what a process that is started again has to know of
    /// it, where `before` is what it has to know of this plan. Sinks without a parallelism of their own follow.
    ///
    /// # Errors
    /// Why this actor cannot have so many.
    pub(crate) fn rescaled(
        &self,
        operator: &str,
        instances: usize,
        before: &[RescaledOperator],
        config: &Config,
    ) -> Result<(Self, Vec<RescaledOperator>), Error> {
        let Some(index) = self.nodes.iter().position(|node| *node.name == *operator) else {
            let names: Vec<&str> = self.nodes.iter().map(|node| &*node.name).collect();
            let names = names.join(", ");
            return Err(Error::config(format!("there is no operator `{operator}`; there are {names}")));
        };
        let refused = |why: String| {
            Error::config(format!("`{operator}` cannot be rescaled to {instances} instances: {why}"))
        };
        if let Some(quarantined) = operator.strip_suffix(LETTER_SINK) {
            return Err(refused(format!("it has as many as `{quarantined}`, which can be rescaled")));
        }
        if instances == self.nodes[index].parallelism {
            return Err(refused("it has so many already".to_string()));
        }
        if instances > INSTANCES_MAX {
            return Err(refused(format!("{INSTANCES_MAX} are the most")));
        }
        let wired = self.wiring.widths[index] as u32;
        let rescaled =
            RescaledOperator { operator: operator.to_string(), wired, parallelism: instances as u32 };
        let others = before.iter().filter(|other| other.operator != operator);
        let all: Vec<RescaledOperator> = others.cloned().chain([rescaled]).collect();
        let plan = self.with_parallelism(&all, config).map_err(|error| refused(error.to_string()))?;
        Ok((plan, all))
    }

    /// The plan that a process goes on with which is started again, after these operators were rescaled, and what of
    /// that still counts: where wiring and configuration say something else than they did then, that does.
    pub(crate) fn goes_on_from(
        self,
        before: &[RescaledOperator],
        config: &Config,
    ) -> (Self, Vec<RescaledOperator>) {
        let still = |rescaled: &RescaledOperator| {
            let index = self.called(&rescaled.operator)?;
            let operator = self.nodes[index].name.to_string();
            (self.wiring.widths[index] == rescaled.wired as usize)
                .then(|| RescaledOperator { operator, ..rescaled.clone() })
        };
        let rescaled: Vec<RescaledOperator> = before.iter().filter_map(still).collect();
        if rescaled.is_empty() {
            return (self, rescaled);
        }
        match self.with_parallelism(&rescaled, config) {
            Ok(plan) => {
                for RescaledOperator { operator, wired, parallelism } in &rescaled {
                    tracing::info!(
                        operator = %shown(operator),
                        wired,
                        parallelism,
                        "it was rescaled by an earlier process, and stays so until its wiring says something else"
                    );
                }
                (plan, rescaled)
            }
            Err(error) => {
                tracing::warn!(%error, "what earlier processes were rescaled to does not fit the wiring any more");
                (self, Vec::new())
            }
        }
    }

    /// The same wiring, with so many instances of these operators. Who looks at records of an operator goes on doing
    /// so.
    fn with_parallelism(&self, rescaled: &[RescaledOperator], config: &Config) -> Result<Self, Error> {
        let mut graph = self.wiring.graph.clone();
        for RescaledOperator { operator, parallelism, .. } in rescaled {
            let nodes = graph.nodes.iter_mut().filter(|node| node.name == *operator);
            nodes.for_each(|node| node.parallelism = Some(*parallelism as usize));
        }
        let mut plan = Self::of(&self.topology, &graph, &self.wiring, config)?;
        for (node, before) in plan.nodes.iter_mut().zip(&self.nodes) {
            node.tap = Arc::clone(&before.tap);
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use watershed_actors::sinks::{Collector, SinkFn};
    use watershed_actors::sources::Generator;

    use super::*;
    use crate::Topology;

    /// Numbers that are divided by key, and end in a sink that follows and in one that does not.
    fn topology(forward: bool) -> Topology {
        let topology = Topology::new("numbers");
        let numbers = topology.source("numbers", Generator::bounded(9, |n| n)).parallelism(2);
        let sums = numbers.key_by(|n| n % 3).reduce("sum", |one, other| one + other);
        let sums = if forward { sums.forward() } else { sums };
        sums.sink_exactly_once("follows", Collector::new().sink());
        sums.sink("alone", SinkFn::new(|_| |_: u64| Ok(()))).parallelism(1);
        topology
    }

    fn widths(plan: &Plan) -> Vec<usize> {
        plan.nodes.iter().map(|node| node.parallelism).collect()
    }

    fn config() -> Config {
        Config::local().slots(2).parallelism(3)
    }

    fn plan() -> Plan {
        topology(false).plan(&config()).unwrap()
    }

    #[test]
    fn a_sink_follows_what_comes_before_it_unless_it_has_a_parallelism_of_its_own() {
        assert_eq!(widths(&plan()), [2, 3, 3, 1]);
        let (wider, known) = plan().rescaled("sum", 5, &[], &config()).unwrap();
        assert_eq!(widths(&wider), [2, 5, 5, 1]);
        assert_eq!(wider.tasks.len(), 13);
        let (own, known) = wider.rescaled("follows", 2, &known, &config()).unwrap();
        assert_eq!(widths(&own), [2, 5, 2, 1]);
        let (back, known) = own.rescaled("sum", 3, &known, &config()).unwrap();
        assert_eq!(widths(&back), [2, 3, 2, 1]);
        assert_eq!(known.len(), 2);
    }

    #[test]
    fn the_next_process_goes_on_with_it_until_the_wiring_says_something_else() {
        let (_, known) = plan().rescaled("sum", 5, &[], &config()).unwrap();
        let (same, still) = plan().goes_on_from(&known, &config());
        assert_eq!((widths(&same), &still), (vec![2, 5, 5, 1], &known));
        let other = config().parallelism(4);
        let (other, still) = topology(false).plan(&other).unwrap().goes_on_from(&known, &other);
        assert_eq!((widths(&other), still), (vec![2, 4, 4, 1], Vec::new()));
        // One that is gone says nothing.
        let gone = RescaledOperator { operator: "gone".to_string(), ..known[0].clone() };
        assert_eq!(widths(&plan().goes_on_from(&[gone], &config()).0), [2, 3, 3, 1]);
    }

    #[test]
    fn who_looks_at_records_goes_on_looking() {
        let before = plan();
        let (after, _) = before.rescaled("sum", 1, &[], &config()).unwrap();
        assert!(before.nodes.iter().zip(&after.nodes).all(|(one, two)| Arc::ptr_eq(&one.tap, &two.tap)));
    }

    #[test]
    fn what_an_operator_cannot_be_rescaled_to_is_refused_with_the_reason() {
        let refused = |plan: &Plan, operator: &str, instances: usize| {
            let error = plan.rescaled(operator, instances, &[], &config()).err().unwrap();
            assert_eq!(error.kind, crate::ErrorKind::Config);
            error.to_string()
        };
        let plan = plan();
        let unknown = refused(&plan, "sums", 2);
        assert!(unknown.contains("no operator `sums`; there are numbers, sum, follows, alone"), "{unknown}");
        assert!(refused(&plan, "sum", 0).contains("at least one instance"));
        assert!(refused(&plan, "sum", 129).contains("more than the 128 key groups"));
        assert!(refused(&plan, "sum", 3).contains("it has so many already"));
        assert!(refused(&plan, "numbers", 1 << 40).contains("4096 are the most"));
        let forward = topology(true).plan(&config().parallelism(1)).unwrap();
        let equal = refused(&forward, "alone", 2);
        assert!(equal.contains("`forward` from `sum` with 3 instances to `alone` with 2"), "{equal}");
    }
}
