//! Sinks for dead letters: every actor that may have some gets one of its own, connected as any side output is.

use std::any::type_name;
use std::sync::Arc;

use watershed_actors::sinks::Files;
use watershed_actors::{DeadLetter, Edge, Forward, LETTERS};

use crate::build::InstanceBuild;
use crate::config::Config;
use crate::error::Error;
use crate::graph::{EdgeSpec, Graph, Node};
use crate::nodes::TwoPhaseNode;
use crate::supervision::Supervision;
use crate::tree::ActorKind;
use crate::wiring::{NodeId, Routing};

/// What the name of a sink for dead letters has behind that of the operator.
pub(crate) const LETTER_SINK: &str = ".dead-letters";

/// The wiring with a sink `<actor>.dead-letters` behind each actor that puts records into quarantine. It writes exactly
/// once, into a folder with the name of the actor.
pub(crate) fn with_dead_letters(graph: &Graph, config: &Config) -> Result<Graph, Error> {
    let mut graph = graph.clone();
    let folder = config.dead_letter_folder();
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let supervision = node.supervision.unwrap_or(config.supervision);
        if !supervision.policy.quarantines() {
            continue;
        }
        let from = NodeId(index);
        let Some(folder) = &folder else {
            if graph.edges.iter().any(|edge| edge.from == from && edge.side.as_deref() == Some(LETTERS)) {
                continue;
            }
            return Err(Error::config(format!(
                "`{}` puts records into quarantine, and there is no place for dead letters: set `Config::checkpoints` or \
                 `Config::dead_letters`",
                node.name
            )));
        };
        let mut sink = Files::<DeadLetter>::jsonl(folder.join(&node.name));
        if let Some(checkpoints) = config.checkpoints.as_ref().filter(|outer| folder.starts_with(outer)) {
            sink = sink.goes_with(checkpoints);
        }
        let letters = Node {
            name: format!("{}{LETTER_SINK}", node.name),
            kind: ActorKind::ExactlyOnceSink,
            // As many as come before it.
            parallelism: None,
            keyed: false,
            rate: None,
            // Its own failures are those of the disk.
            supervision: Some(Supervision::default()),
            state: None,
            former: Vec::new(),
            build: Arc::new(TwoPhaseNode { sink: Arc::new(sink) }),
        };
        graph.nodes.push(letters);
        let (to, edge) = (NodeId(graph.nodes.len() - 1), graph.edges.len());
        let attach = move |build: &mut InstanceBuild<'_>| {
            let senders = build.senders::<DeadLetter>(edge)?;
            let end = Edge::new(senders, Forward, build.settings.limits);
            build.consume::<DeadLetter>(Some(LETTERS), Box::new(end))
        };
        graph.edges.push(EdgeSpec {
            from,
            to: Some(to),
            routing: Routing::Forward,
            side: Some(LETTERS.to_string()),
            item: type_name::<DeadLetter>(),
            fused: Vec::new(),
            attach: Arc::new(attach),
        });
    }
    Ok(graph)
}
