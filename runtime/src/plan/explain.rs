//! The wiring in words.

use std::fmt::Write;

use crate::graph::Graph;
use crate::plan::Plan;
use crate::supervision::Supervision;
use crate::wiring::NodeId;

/// One paragraph an actor: what it is, how wide, what is fused into it, and where its records go.
pub(crate) fn explain(plan: &Plan, graph: &Graph) -> String {
    let mut text = format!(
        "topology `{}`: {} actors, {} instances, {} region{}\n",
        plan.topology,
        plan.nodes.len(),
        plan.tasks.len(),
        plan.regions.len(),
        if plan.regions.len() == 1 { "" } else { "s" }
    );
    for (index, node) in plan.nodes.iter().enumerate() {
        let keyed = if node.keyed { ", state per key" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} ({} × {}{keyed})", node.name, node.kind.name(), node.parallelism);
        if node.supervision != Supervision::default() {
            let _ = writeln!(text, "  supervised: {}", node.supervision);
        }
        let outgoing = graph.edges.iter().zip(&plan.edges).filter(|(spec, _)| spec.from == NodeId(index));
        for (spec, edge) in outgoing {
            let side = spec.side.as_ref().map_or(String::new(), |side| format!("side output `{side}`: "));
            let fused = [&spec.fused[..], &[""]].concat().join(" → ");
            let _ = match edge.to {
                Some(to) => {
                    let (to, how) = (&plan.nodes[to.0].name, edge.routing.name());
                    writeln!(text, "  {side}{fused}[{how}] → {to}")
                }
                None => writeln!(text, "  {side}{fused}for_each"),
            };
        }
    }
    text
}
