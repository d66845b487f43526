//! The plan: how wide each actor is, which channels there are, what fails together.

mod check;
mod dead_letters;
mod explain;
mod rescale;

pub(crate) use check::name_of_actor;
pub(crate) use dead_letters::{LETTER_SINK, with_dead_letters};
pub(crate) use explain::explain;

use std::sync::Arc;

use watershed_actors::{Tap, TaskId};

use crate::build::EdgePlan;
use crate::config::Config;
use crate::error::Error;
use crate::graph::{Attach, Graph, NodeBuild};
use crate::supervision::Supervision;
use crate::tree::ActorKind;
use crate::wiring::{NodeId, Routing};
use watershed_state::StateBackend;

/// A topology with all numbers filled in.
pub(crate) struct Plan {
    pub(crate) topology: String,
    /// In an order in which every actor comes after those that send to it.
    pub(crate) nodes: Vec<PlannedNode>,
    pub(crate) edges: Vec<EdgePlan>,
    /// All instances; a [`TaskId`] is an index into it.
    pub(crate) tasks: Vec<PlannedTask>,
    /// Tasks of each region: what is connected by channels, and so is rolled back together.
    pub(crate) regions: Vec<Vec<TaskId>>,
    wiring: Arc<Wiring>,
}

/// What a plan is made of.
struct Wiring {
    graph: Graph,
    /// Instances of each actor, as wiring and configuration have it.
    widths: Vec<usize>,
}

pub(crate) struct PlannedNode {
    pub(crate) name: Arc<str>,
    pub(crate) former: Vec<String>,
    pub(crate) kind: ActorKind,
    pub(crate) keyed: bool,
    pub(crate) parallelism: usize,
    pub(crate) rate: Option<f64>,
    pub(crate) supervision: Supervision,
    pub(crate) state: StateBackend,
    pub(crate) build: Arc<dyn NodeBuild>,
    /// Attach the outputs to an instance.
    pub(crate) attach: Vec<Attach>,
    /// The names of the event times that are fused into it, in the order in which they were wired, once for each
    /// branch.
    pub(crate) event_times: Vec<String>,
    pub(crate) first_task: usize,
    /// Where its records can be looked at.
    pub(crate) tap: Arc<Tap>,
}

/// One instance in the plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedTask {
    pub(crate) node: NodeId,
    pub(crate) instance: usize,
    pub(crate) region: usize,
    /// Input channels.
    pub(crate) channels: usize,
    /// The arbiter it lives on.
    pub(crate) arbiter: usize,
}

/// Where an actor's keyed state lives.
fn backend_of(chosen: Option<&StateBackend>, config: &Config) -> StateBackend {
    let backend = chosen.unwrap_or(&config.state_backend).clone();
    if config.simulation.is_some() { backend.deterministic() } else { backend }
}

impl PlannedNode {
    /// Whether a snapshot that tells of an operator of this name tells of this one.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        *self.name == *name || self.former.iter().any(|former| former == name)
    }
}

impl Plan {
    /// Whether a snapshot of a topology of this name is of this one.
    pub(crate) fn is_of(&self, topology: &str) -> bool {
        self.topology == topology || self.wiring.graph.former.iter().any(|former| former == topology)
    }

    /// The actor that was called so in a snapshot. One that is called so now comes before one that was.
    pub(crate) fn called(&self, name: &str) -> Option<usize> {
        let now = self.nodes.iter().position(|node| *node.name == *name);
        now.or_else(|| self.nodes.iter().position(|node| node.is_called(name)))
    }

    /// Plans a topology.
    pub(crate) fn new(topology: &str, graph: &Graph, config: &Config) -> Result<Self, Error> {
        config.check()?;
        check::settings(graph)?;
        let wiring = Wiring { graph: graph.clone(), widths: widths(graph, config) };
        Self::of(topology, graph, &Arc::new(wiring), config)
    }

    /// Plans a wiring as it is in `graph`, where some actors may have another parallelism.
    fn of(topology: &str, graph: &Graph, wiring: &Arc<Wiring>, config: &Config) -> Result<Self, Error> {
        check::name_of_topology(topology)?;
        check::names(graph)?;
        check::ends(graph)?;
        check::side_outputs(graph)?;
        check::event_times(graph)?;
        let widths = widths(graph, config);
        check::parallelism(graph, &widths, config)?;
        let edges = channels(graph, &widths, config.credits)?;
        let arbiters = arbiters(&widths, config.slot_count());
        let mut nodes = Vec::new();
        let mut tasks = Vec::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            let outgoing = graph.edges.iter().filter(|edge| edge.from == NodeId(index));
            nodes.push(PlannedNode {
                name: Arc::from(node.name.as_str()),
                former: node.former.clone(),
                kind: node.kind,
                keyed: node.keyed,
                parallelism: widths[index],
                rate: node.rate,
                supervision: node.supervision.unwrap_or(config.supervision),
                state: backend_of(node.state.as_ref(), config),
                build: Arc::clone(&node.build),
                attach: outgoing.map(|edge| Arc::clone(&edge.attach)).collect(),
                event_times: event_times(graph, NodeId(index)),
                first_task: tasks.len(),
                tap: Arc::default(),
            });
            let incoming = edges.iter().filter(|edge| edge.to == Some(NodeId(index)));
            let channels = incoming.map(EdgePlan::channels_per_receiver).sum();
            let instances = 0..widths[index];
            tasks.extend(instances.map(|instance| PlannedTask {
                node: NodeId(index),
                instance,
                region: 0,
                channels,
                arbiter: (arbiters[index] + instance) % config.slot_count(),
            }));
        }
        let regions = regions(graph, &edges, &nodes, &mut tasks);
        let wiring = Arc::clone(wiring);
        Ok(Self { topology: topology.to_string(), nodes, edges, tasks, regions, wiring })
    }

    pub(crate) fn task(&self, id: TaskId) -> PlannedTask {
        self.tasks[id.0 as usize]
    }

    pub(crate) fn node_of(&self, id: TaskId) -> &PlannedNode {
        &self.nodes[self.task(id).node.0]
    }

    /// `operator[instance]`.
    pub(crate) fn name_of(&self, id: TaskId) -> String {
        format!("{}[{}]", self.node_of(id).name, self.task(id).instance)
    }

    /// The task of an instance of an actor.
    pub(crate) fn task_at(&self, node: NodeId, instance: usize) -> TaskId {
        TaskId((self.nodes[node.0].first_task + instance) as u32)
    }

    /// The names of all tasks, by their numbers.
    pub(crate) fn task_names(&self) -> Vec<String> {
        (0..self.tasks.len()).map(|index| self.name_of(TaskId(index as u32))).collect()
    }

    /// Tasks of an actor, in order of the instances.
    pub(crate) fn tasks_of(&self, node: usize) -> impl Iterator<Item = TaskId> + use<> {
        let first = self.nodes[node].first_task;
        (first..first + self.nodes[node].parallelism).map(|index| TaskId(index as u32))
    }
}

impl EdgePlan {
    fn channels_per_receiver(&self) -> usize {
        if self.routing == Routing::Forward { 1 } else { self.senders }
    }
}

/// Instances of each actor: as it says; a sink as many as what comes before it; else the default.
fn widths(graph: &Graph, config: &Config) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let before =
            graph.edges.iter().find(|edge| edge.to == Some(NodeId(index))).map(|edge| widths[edge.from.0]);
        let is_sink = matches!(node.kind, ActorKind::Sink | ActorKind::ExactlyOnceSink);
        let default = before.filter(|_| is_sink).unwrap_or_else(|| config.default_parallelism());
        widths.push(node.parallelism.unwrap_or(default));
    }
    widths
}

/// The names of the event times that are fused into an actor.
fn event_times(graph: &Graph, node: NodeId) -> Vec<String> {
    let names = graph.points.iter().flat_map(|point| {
        let branches = point.roots.iter().filter(|root| **root == node).count();
        std::iter::repeat_n(point.event_time.clone(), branches).flatten()
    });
    names.collect()
}

/// The arbiter of the first instance of each actor; the others follow on the next ones. Actors that fill all slots lie
/// one upon the other, so that instances of the same number share a core; those that don't lie side by side, so that
/// they work at the same time.
fn arbiters(widths: &[usize], slots: usize) -> Vec<usize> {
    let mut next = 0;
    let place = |width: &usize| {
        let first = if *width < slots { next % slots } else { 0 };
        next += if *width < slots { *width } else { 0 };
        first
    };
    widths.iter().map(place).collect()
}

/// Messages that there is room for on all channels together: it is made when the job starts.
const MESSAGES_MAX: usize = 1 << 22;

/// Decides the routing of each edge and numbers the channels of each receiver.
fn channels(graph: &Graph, widths: &[usize], credits: u32) -> Result<Vec<EdgePlan>, Error> {
    let (mut next_channel, mut all) = (vec![0; graph.nodes.len()], 0_usize);
    let mut edges = Vec::new();
    for edge in &graph.edges {
        let senders = widths[edge.from.0];
        let receivers = edge.to.map_or(senders, |to| widths[to.0]);
        let routing = match edge.routing {
            Routing::Auto if senders == receivers => Routing::Forward,
            Routing::Auto => Routing::Rebalance,
            Routing::Forward if senders != receivers => {
                let name = |node: NodeId| graph.nodes[node.0].name.as_str();
                return Err(Error::config(format!(
                    "`forward` from `{}` with {senders} instances to `{}` with {receivers}: give both the same parallelism, \
                     or leave `forward` out",
                    name(edge.from),
                    edge.to.map_or("a closure", name)
                )));
            }
            routing => routing,
        };
        let mut plan = EdgePlan { to: edge.to, routing, senders, receivers, first_channel: 0 };
        if let Some(to) = edge.to {
            plan.first_channel = next_channel[to.0];
            next_channel[to.0] += plan.channels_per_receiver();
            all += plan.channels_per_receiver().saturating_mul(receivers);
        }
        edges.push(plan);
    }
    if all.saturating_mul(credits as usize) > MESSAGES_MAX {
        return Err(Error::config(format!(
            "{all} channels, on which {credits} messages each may be on their way, are too many: lower the parallelism of what is \
             connected (all instances to all), or `Config::credits`"
        )));
    }
    Ok(edges)
}

/// Numbers the connected components of the graph of channels.
fn regions(
    graph: &Graph,
    edges: &[EdgePlan],
    nodes: &[PlannedNode],
    tasks: &mut [PlannedTask],
) -> Vec<Vec<TaskId>> {
    fn root(parent: &mut [usize], mut task: usize) -> usize {
        while parent[task] != task {
            parent[task] = parent[parent[task]];
            task = parent[task];
        }
        task
    }
    let mut parent: Vec<usize> = (0..tasks.len()).collect();
    for (spec, edge) in graph.edges.iter().zip(edges) {
        let Some(to) = edge.to else { continue };
        for sender in 0..edge.senders {
            let reached =
                if edge.routing == Routing::Forward { sender..sender + 1 } else { 0..edge.receivers };
            for receiver in reached {
                let one = root(&mut parent, nodes[spec.from.0].first_task + sender);
                let two = root(&mut parent, nodes[to.0].first_task + receiver);
                parent[one.max(two)] = one.min(two);
            }
        }
    }
    let mut roots: Vec<usize> = Vec::new();
    let mut regions: Vec<Vec<TaskId>> = Vec::new();
    for (task, planned) in tasks.iter_mut().enumerate() {
        let root = root(&mut parent, task);
        let region = roots.iter().position(|known| *known == root).unwrap_or_else(|| {
            roots.push(root);
            regions.push(Vec::new());
            roots.len() - 1
        });
        planned.region = region;
        regions[region].push(TaskId(task as u32));
    }
    regions
}
