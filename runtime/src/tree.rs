//! The supervision tree as data.

use std::fmt;

use serde::Serialize;

/// A picture of the supervision tree: job → region → operator → instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// Name of the topology.
    pub job: String,
    /// Identity of this history of the job.
    pub lineage: String,
    /// The newest complete checkpoint.
    pub checkpoint: Option<u64>,
    /// What is rolled back together.
    pub regions: Vec<RegionNode>,
}

/// A region of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegionNode {
    /// Number, from 0.
    pub region: usize,
    /// Where it is in its life.
    pub state: String,
    /// Its run; grows with each restart.
    pub run: u32,
    /// Restarts since the process began.
    pub restarts: u32,
    /// Why it was restarted last.
    pub last_failure: Option<String>,
    /// Its operators.
    pub operators: Vec<OperatorNode>,
}

/// An operator of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorNode {
    /// Name.
    pub operator: String,
    /// What it is: source, process, sink.
    pub kind: String,
    /// Its instances.
    pub instances: Vec<InstanceNode>,
}

/// An instance of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceNode {
    /// Number, from 0.
    pub instance: usize,
    /// Number of the arbiter (thread) it lives on.
    pub arbiter: usize,
    /// Where it is in its life.
    pub state: String,
    /// Its run; grows with each restart of its region.
    pub run: u32,
    /// Records taken in since the process began (read, for a source).
    pub records: u64,
    /// How often it was the one that failed.
    pub failures: u32,
    /// How it failed last.
    pub last_failure: Option<String>,
}

impl Tree {
    /// One line a node, in order, without line ends.
    pub fn lines(&self) -> Vec<String> {
        let checkpoint = self.checkpoint.map_or("none".to_string(), |id| id.to_string());
        let mut lines = vec![format!("job {} lineage={} checkpoint={checkpoint}", self.job, self.lineage)];
        let failed = |failure: &Option<String>| {
            failure.as_ref().map_or(String::new(), |failure| format!(" last_failure=\"{failure}\""))
        };
        for region in &self.regions {
            lines.push(format!(
                "  region {} state={} run={} restarts={}{}",
                region.region,
                region.state,
                region.run,
                region.restarts,
                failed(&region.last_failure)
            ));
            for operator in &region.operators {
                lines.push(format!(
                    "    {} ({}) instances={}",
                    operator.operator,
                    operator.kind,
                    operator.instances.len()
                ));
                for instance in &operator.instances {
                    lines.push(format!(
                        "      {}[{}] arbiter={} state={} run={} restarts={} failures={} records={}{}",
                        operator.operator,
                        instance.instance,
                        instance.arbiter,
                        instance.state,
                        instance.run,
                        region.restarts,
                        instance.failures,
                        instance.records,
                        failed(&instance.last_failure)
                    ));
                }
            }
        }
        lines
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_a_line_for_each_node() {
        let instance = |instance, last_failure: Option<&str>| InstanceNode {
            instance,
            arbiter: instance,
            state: "running".to_string(),
            run: 4,
            records: 120,
            failures: u32::from(last_failure.is_some()),
            last_failure: last_failure.map(str::to_string),
        };
        let operator = OperatorNode {
            operator: "count".to_string(),
            kind: "process".to_string(),
            instances: vec![instance(0, None), instance(1, Some("panicked: oh (key 7)"))],
        };
        let region = RegionNode {
            region: 0,
            state: "running".to_string(),
            run: 4,
            restarts: 3,
            last_failure: Some("count[1] panicked: oh (key 7)".to_string()),
            operators: vec![operator],
        };
        let (job, lineage) = ("words".to_string(), "8a".to_string());
        let tree = Tree { job, lineage, checkpoint: Some(9), regions: vec![region] };
        assert_eq!(
            tree.lines(),
            [
                "job words lineage=8a checkpoint=9",
                "  region 0 state=running run=4 restarts=3 last_failure=\"count[1] panicked: oh (key 7)\"",
                "    count (process) instances=2",
                "      count[0] arbiter=0 state=running run=4 restarts=3 failures=0 records=120",
                "      count[1] arbiter=1 state=running run=4 restarts=3 failures=1 records=120 last_failure=\"panicked: oh (key 7)\"",
            ]
        );
    }
}
