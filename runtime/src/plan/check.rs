//! What is wrong with a topology, found before anything starts.

use std::collections::{BTreeMap, BTreeSet};

use watershed_state::is_shown_escaped;

use crate::config::{Config, INSTANCES_MAX};
use crate::error::Error;
use crate::graph::{Graph, PointSpec};
use crate::plan::LETTER_SINK;
use crate::tree::ActorKind;
use crate::wiring::NodeId;

/// The most bytes of a name. Of the 255 that a file system allows, the others are for what is added in names of files:
/// the history of the job, run, checkpoint and instance, and that it is a sink for dead letters.
const NAME_BYTES_MAX: usize = 160;

/// What was set in the wiring is in its range.
pub(super) fn settings(graph: &Graph) -> Result<(), Error> {
    if let Some(refused) = graph.refused.first() {
        return Err(Error::config(refused.as_str()));
    }
    for node in &graph.nodes {
        if let Some(supervision) = &node.supervision {
            supervision.check(&format!("`{}`", node.name))?;
        }
    }
    Ok(())
}

/// A name of a topology stands in logs, errors and checkpoints, and tells jobs apart there.
pub(super) fn name_of_topology(name: &str) -> Result<(), Error> {
    let unfit = |c: char| c == '/' || is_shown_escaped(c);
    if name.trim().is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('.') || name.contains(unfit)
    {
        return Err(Error::config(format!(
            "`{name}` cannot be the name of a topology: it needs one of {NAME_BYTES_MAX} bytes at most, without `/`, line ends and \
             other control characters, that does not begin with `.`. If there are checkpoints under this name, give it to \
             `Topology::formerly` of the new one"
        )));
    }
    Ok(())
}

/// Every actor has a name of its own that can stand in a file name.
pub(super) fn names(graph: &Graph) -> Result<(), Error> {
    if graph.nodes.is_empty() {
        return Err(Error::config("the topology has no source: begin with `topology.source(name, …)`"));
    }
    let mut seen = BTreeSet::new();
    for node in &graph.nodes {
        let name = &node.name;
        if name.is_empty() {
            return Err(Error::config(format!(
                "a {} has an empty name: every actor needs one, its state is found by it",
                node.kind.name()
            )));
        }
        name_of_actor(name)?;
        if !seen.insert(name) {
            return Err(Error::config(format!("two actors are named `{name}`: names must be unique")));
        }
    }
    Ok(())
}

/// A name can stand in a file name.
pub(crate) fn name_of_actor(name: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(fits) || name.starts_with('.') {
        return Err(Error::config(format!(
            "`{name}` cannot be the name of an actor: use letters, digits, `-`, `_` and, except at the beginning, `.`"
        )));
    }
    let bytes = name.strip_suffix(LETTER_SINK).unwrap_or(name).len();
    if bytes > NAME_BYTES_MAX {
        return Err(Error::config(format!(
            "`{name}` cannot be the name of an actor: it has {bytes} bytes, and {NAME_BYTES_MAX} are the most, as names of files \
             are made of it"
        )));
    }
    Ok(())
}

/// Every stream leads somewhere.
pub(super) fn ends(graph: &Graph) -> Result<(), Error> {
    if let Some(point) = graph.points.iter().find(|point| !point.is_output && !point.is_used()) {
        return Err(Error::config(format!(
            "the stream `{}` → {} leads nowhere: end it in a sink or in `for_each`",
            graph.nodes[point.roots[0].0].name,
            point.fused.join(" → ")
        )));
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        let mut outputs = graph
            .points
            .iter()
            .filter(|point| point.is_output && point.roots.contains(&NodeId(index)))
            .peekable();
        if outputs.peek().is_some() && !outputs.any(PointSpec::is_used) {
            return Err(Error::config(format!(
                "`{}` has no sink: nothing that it sends is used; end its stream in a sink or in `for_each`",
                node.name
            )));
        }
    }
    Ok(())
}

/// A side output of an actor has one type.
pub(super) fn side_outputs(graph: &Graph) -> Result<(), Error> {
    let mut types: BTreeMap<(NodeId, &str), &str> = BTreeMap::new();
    for edge in &graph.edges {
        if let Some(side) = &edge.side
            && let Some(before) = types.insert((edge.from, side), edge.item)
            && before != edge.item
        {
            return Err(Error::config(format!(
                "side output `{side}` of `{}` is used as `{before}` and as `{}`: give each type a name of its own",
                graph.nodes[edge.from.0].name, edge.item
            )));
        }
    }
    Ok(())
}

/// The watermarks of what is fused into an actor are told apart by name.
pub(super) fn event_times(graph: &Graph) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for point in &graph.points {
        let Some(name) = &point.event_time else { continue };
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(is_shown_escaped) {
            return Err(Error::config(format!(
                "`{name}` cannot be the name of an `event_time`: it needs one of {NAME_BYTES_MAX} bytes at most, without line ends \
                 and other control characters"
            )));
        }
        for root in point.roots.iter().collect::<BTreeSet<_>>() {
            if !seen.insert((root, name)) {
                return Err(Error::config(format!(
                    "of the event times that are fused into it, two of `{}` are called `{name}`: give each a name of its own \
                     with `Lateness::named`, as a restart finds its watermark by it",
                    graph.nodes[root.0].name
                )));
            }
        }
    }
    Ok(())
}

/// Records per second of a source that is held to a rate, at least: one in eleven days.
const LEAST_RATE: f64 = 1e-6;

/// Every actor has instances, and a keyed one not more than there are key groups; only sources have a rate.
pub(super) fn parallelism(graph: &Graph, widths: &[usize], config: &Config) -> Result<(), Error> {
    let groups = usize::from(config.key_groups.count());
    for (node, width) in graph.nodes.iter().zip(widths) {
        if *width == 0 {
            return Err(Error::config(format!(
                "`{}` has parallelism 0: it needs at least one instance",
                node.name
            )));
        }
        if *width > INSTANCES_MAX {
            return Err(Error::config(format!(
                "`{}` has parallelism {width}: {INSTANCES_MAX} instances are the most",
                node.name
            )));
        }
        if node.keyed && *width > groups {
            return Err(Error::config(format!(
                "`{}` has parallelism {width}, more than the {groups} key groups: lower it, or set `Config::key_groups`",
                node.name
            )));
        }
        if let Some(rate) = node.rate.filter(|rate| rate.is_nan() || *rate < LEAST_RATE) {
            return Err(Error::config(format!(
                "`{}` cannot have a rate of {rate:?}: it must be a number of records per second, {LEAST_RATE} or more; without \
                 `rate` there is no limit",
                node.name
            )));
        }
        if node.rate.is_some() && node.kind != ActorKind::Source {
            return Err(Error::config(format!(
                "`{}` is a {}, which cannot be held to a rate: set the rate of a source before it",
                node.name,
                node.kind.name()
            )));
        }
    }
    Ok(())
}
