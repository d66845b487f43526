//! The topology: actors wired in code.

use std::sync::Arc;

use watershed_actors::Source;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::graph::{Node, SharedGraph};
use crate::job::Job;
use crate::nodes::SourceNode;
use crate::outcome::Outcome;
use crate::plan::{Plan, explain, with_dead_letters};
use crate::stream::{Stream, add_node};
use crate::tree::ActorKind;

/// A wiring of actors. It says what happens; [`Config`] says how and where.
///
/// Running it does not use it up: it can be run again, with another configuration.
#[derive(Clone)]
pub struct Topology {
    name: String,
    graph: SharedGraph,
}

impl std::fmt::Debug for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topology").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Topology {
    /// An empty wiring. Its name goes into checkpoints: those of another topology are refused. It must not be empty,
    /// have more than 160 bytes, begin with `.`, or hold `/` or control characters; a job with such a name does not
    /// start.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_string(), graph: SharedGraph::default() }
    }

    /// A name that the topology had in an earlier version of the program, whatever it looked like: checkpoints and
    /// savepoints of that name are its own.
    pub fn formerly(self, name: &str) -> Self {
        self.graph.lock().former.push(name.to_string());
        self
    }

    /// Starts a source actor.
    pub fn source<S: Source>(&self, name: &str, source: S) -> Stream<S::Item> {
        let node = Node {
            name: name.to_string(),
            kind: ActorKind::Source,
            parallelism: None,
            keyed: false,
            rate: None,
            supervision: None,
            state: None,
            former: Vec::new(),
            build: Arc::new(SourceNode::new(source)),
        };
        let node = add_node(&self.graph, node);
        Stream::output(&self.graph, node, None)
    }

    /// The wiring in words: actors, what is fused into them, edges, parallelism.
    ///
    /// # Errors
    /// What is wrong with the wiring.
    pub fn explain(&self) -> Result<String> {
        self.explain_with(&Config::local())
    }

    /// [`Topology::explain`] for a configuration. It needs no place for checkpoints or dead letters.
    ///
    /// # Errors
    /// What is wrong with the wiring.
    pub fn explain_with(&self, config: &Config) -> Result<String> {
        let mut config = config.clone();
        if config.dead_letter_folder().is_none() {
            // Nothing is written there.
            config = config.dead_letters("dead-letters");
        }
        let graph = with_dead_letters(&self.graph.lock(), &config)?;
        Ok(explain(&Plan::new(&self.name, &graph, &config)?, &graph))
    }

    /// Runs the job to its end. SIGINT and SIGTERM end it with a last checkpoint, from which the next run goes on; what
    /// happens if that cannot be made is up to [`Config::stop_grace`].
    ///
    /// # Errors
    /// Why it did not start, or why it ended before its work was done.
    pub fn run(&self, config: Config) -> Result<Outcome> {
        self.start(config)?.wait()
    }

    /// Starts the job on threads of its own and returns at once. Signals are for it as in [`Topology::run`], unless it
    /// says [`Config::ignore_signals`]; so they are for each job of a process that has several.
    ///
    /// # Errors
    /// Why it did not start.
    pub fn start(&self, config: Config) -> Result<Job> {
        crate::job::start(self.plan(&config)?, config)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn plan(&self, config: &Config) -> Result<Plan> {
        if cfg!(panic = "abort") {
            return Err(Error::config(
                "this program is built with `panic = \"abort\"`, which leaves nothing to supervise: remove it from the profile",
            ));
        }
        Plan::new(&self.name, &with_dead_letters(&self.graph.lock(), config)?, config)
    }
}
