//! Building instances: from the wiring to tasks with their outputs connected.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use watershed_actors::{
    BatchLimits, Boot, Clock, Counters, Credits, Env, Failure, Instance, Link, Push, Rejects, Restored,
    Sender, SideOutputs, Task, TaskCell, TaskWaker, Tee,
};
use watershed_state::{Data, KeyGroups};

use crate::endpoint::Endpoint;
use crate::faults::Faults;
use crate::host::{Host, TaskHandle};
use crate::wiring::{NodeId, Routing};

/// Endpoints of all instances launched so far, each a boxed [`Endpoint`] of the type of its input.
pub(crate) type Endpoints = BTreeMap<(NodeId, usize), Box<dyn Any + Send>>;

/// The channels of one edge: which instances of the receiver a sender reaches, and as which of their inputs.
#[derive(Debug, Clone)]
pub(crate) struct EdgePlan {
    pub(crate) to: Option<NodeId>,
    pub(crate) routing: Routing,
    pub(crate) senders: usize,
    pub(crate) receivers: usize,
    /// Input number, at each receiver, of this edge's first channel.
    pub(crate) first_channel: usize,
}

/// Settings that the parts of a chain need.
#[derive(Debug, Clone)]
pub(crate) struct BuildSettings {
    pub(crate) limits: BatchLimits,
    pub(crate) credits: u32,
    pub(crate) key_groups: KeyGroups,
    pub(crate) watermark_interval: Duration,
    /// Processing time, where it can be held against event time.
    pub(crate) clock: Option<Arc<dyn Clock>>,
    /// What becomes of records that fused closures reject.
    pub(crate) rejects: Rejects,
}

/// The outputs of one instance, while they are being put together.
pub(crate) struct InstanceBuild<'a> {
    pub(crate) settings: BuildSettings,
    pub(crate) instance: Instance,
    pub(crate) run: u64,
    pub(crate) waker: Arc<TaskWaker>,
    /// What the instance counts.
    counters: Arc<Counters>,
    /// Channels made so far: to which instance of which actor, and their credits.
    pub(crate) channels: Vec<(NodeId, usize, Weak<dyn Credits>)>,
    pub(crate) edges: &'a [EdgePlan],
    pub(crate) endpoints: &'a Endpoints,
    /// Consumers of each output: the main one (`None`) and the side outputs.
    outputs: BTreeMap<Option<String>, Output>,
    /// Streams in the middle of a chain that are used more than once, by the number of the stream and its branch.
    tees: BTreeMap<(usize, usize), Box<dyn PendingTee>>,
}

/// One output with its consumers, whatever its type.
struct Output {
    consumers: AnyConsumers,
    connect: ConnectSide,
}

/// A `Vec<Box<dyn Push<T>>>`.
type AnyConsumers = Box<dyn Any + Send>;

/// Makes a side output of this name of its consumers.
type ConnectSide = fn(AnyConsumers, &str, &mut SideOutputs) -> Result<(), Failure>;

trait PendingTee {
    fn as_any(&mut self) -> &mut dyn Any;
    fn finish(self: Box<Self>, build: &mut InstanceBuild<'_>) -> Result<(), Failure>;
}

/// Attaches what stands before a shared stream to what stands behind it.
pub(crate) type AttachTee<T> = Box<dyn FnOnce(&mut InstanceBuild<'_>, Tee<T>) -> Result<(), Failure>>;

struct Gathering<T> {
    consumers: Vec<Box<dyn Push<T>>>,
    attach: AttachTee<T>,
}

impl<T: Data> PendingTee for Gathering<T> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
    fn finish(self: Box<Self>, build: &mut InstanceBuild<'_>) -> Result<(), Failure> {
        (self.attach)(build, Tee::new(self.consumers))
    }
}

impl<'a> InstanceBuild<'a> {
    pub(crate) fn new(
        settings: BuildSettings,
        env: &Env,
        edges: &'a [EdgePlan],
        endpoints: &'a Endpoints,
    ) -> Self {
        Self {
            settings,
            instance: env.instance.clone(),
            run: env.run,
            waker: Arc::clone(&env.waker),
            counters: Arc::clone(&env.counters),
            channels: Vec::new(),
            edges,
            endpoints,
            outputs: BTreeMap::new(),
            tees: BTreeMap::new(),
        }
    }

    /// Adds a consumer to the main output or to a side output.
    ///
    /// # Errors
    /// If others consume the output as another type. The plan refuses side outputs with two types before anything is
    /// built.
    pub(crate) fn consume<T: Data>(
        &mut self,
        side: Option<&str>,
        consumer: Box<dyn Push<T>>,
    ) -> Result<(), Failure> {
        let output = self.outputs.entry(side.map(str::to_string)).or_insert_with(|| Output {
            consumers: Box::new(Vec::<Box<dyn Push<T>>>::new()),
            connect: |consumers, name, sides| {
                sides.connect(name, Tee::new(consumers_of::<T>(consumers)?));
                Ok(())
            },
        });
        let consumers = output.consumers.downcast_mut::<Vec<Box<dyn Push<T>>>>();
        consumers.ok_or_else(|| misfit::<T>("a consumer of an output"))?.push(consumer);
        Ok(())
    }

    /// Adds a consumer to a shared stream; `attach` puts the stream behind what stands before it, once.
    pub(crate) fn consume_shared<T: Data>(
        &mut self,
        point: (usize, usize),
        consumer: Box<dyn Push<T>>,
        attach: impl FnOnce() -> AttachTee<T>,
    ) -> Result<(), Failure> {
        let tee = self
            .tees
            .entry(point)
            .or_insert_with(|| Box::new(Gathering { consumers: Vec::new(), attach: attach() }));
        let tee = tee.as_any().downcast_mut::<Gathering<T>>();
        tee.ok_or_else(|| misfit::<T>("a consumer of a shared stream"))?.consumers.push(consumer);
        Ok(())
    }

    /// Connects all shared streams, the furthest first, as they feed on those before them.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        while let Some((_, tee)) = self.tees.pop_last() {
            tee.finish(self)?;
        }
        Ok(())
    }

    /// The main output.
    pub(crate) fn take_main<T: Data>(&mut self) -> Result<Tee<T>, Failure> {
        let output = self.outputs.remove(&None);
        let consumers = output.map(|output| consumers_of::<T>(output.consumers)).transpose()?;
        Ok(Tee::new(consumers.unwrap_or_default()))
    }

    /// The side outputs.
    pub(crate) fn take_sides(&mut self) -> Result<SideOutputs, Failure> {
        let mut sides = SideOutputs::default();
        for (name, output) in std::mem::take(&mut self.outputs) {
            if let Some(name) = name {
                (output.connect)(output.consumers, &name, &mut sides)?;
            }
        }
        Ok(sides)
    }

    /// Channels of an edge, from this instance to each receiver that it reaches.
    pub(crate) fn senders<T: Data>(&mut self, edge: usize) -> Result<Vec<Sender<T>>, Failure> {
        let plan = &self.edges[edge];
        let to = plan.to.ok_or_else(|| Failure::internal("an edge into a closure has channels"))?;
        let (receivers, channel) = match plan.routing {
            Routing::Forward => (self.instance.index..self.instance.index + 1, plan.first_channel),
            _ => (0..plan.receivers, plan.first_channel + self.instance.index),
        };
        let mut senders = Vec::new();
        for receiver in receivers {
            let endpoint = self.endpoints.get(&(to, receiver)).ok_or_else(|| {
                Failure::internal(format!(
                    "an actor is launched before instance {receiver} of the one behind it"
                ))
            })?;
            let endpoint =
                endpoint.downcast_ref::<Endpoint<T>>().ok_or_else(|| misfit::<T>("a channel to an actor"))?;
            let link = Link::new(self.settings.credits, Arc::clone(&self.waker));
            let credits: Weak<dyn Credits> = Arc::downgrade(&link) as _;
            self.channels.push((to, receiver, credits));
            let sender = Sender::new((endpoint.0)(), link, channel as u32, self.run, self.settings.limits);
            senders.push(sender.counted_by(&self.counters));
        }
        Ok(senders)
    }
}

fn consumers_of<T: Data>(consumers: AnyConsumers) -> Result<Vec<Box<dyn Push<T>>>, Failure> {
    let consumers = consumers.downcast::<Vec<Box<dyn Push<T>>>>();
    consumers.map(|consumers| *consumers).map_err(|_| misfit::<T>("what an actor sends"))
}

/// Something was wired for another type: then records would get lost on the way.
fn misfit<T>(what: &str) -> Failure {
    Failure::internal(format!("{what} is of another type than `{}`", std::any::type_name::<T>()))
}

/// What it takes to start one instance.
pub(crate) struct Launch<'a> {
    pub(crate) build: InstanceBuild<'a>,
    pub(crate) env: Env,
    pub(crate) restored: Arc<Restored>,
    /// Input channels of the instance.
    pub(crate) channels: usize,
    pub(crate) rate: Option<f64>,
    pub(crate) host: &'a Host,
    pub(crate) arbiter: usize,
    pub(crate) launched: &'a mut Launched,
}

/// Where a launched instance leaves how to reach it.
#[derive(Default)]
pub(crate) struct Launched {
    pub(crate) endpoint: Option<Box<dyn Any + Send>>,
    pub(crate) handle: Option<TaskHandle>,
}

impl Launch<'_> {
    /// Starts the task that `boot` makes.
    pub(crate) fn spawn<T: Task + 'static>(self, boot: Boot<T>) {
        let credits = self.channels * self.build.settings.credits as usize;
        let (endpoint, handle) = self.host.spawn(self.env, boot, self.arbiter, credits);
        self.launched.endpoint = Some(Box::new(endpoint));
        self.launched.handle = Some(handle);
    }

    /// What is to go wrong, where the simulator runs the job.
    pub(crate) fn script(&self) -> Option<Arc<dyn Faults>> {
        match self.host {
            Host::Simulated(host) => host.script().cloned(),
            Host::Actors(_) => None,
        }
    }

    /// Starts the task that `boot` makes, of a kind that only simulations have: no actor is compiled for it.
    pub(crate) fn spawn_simulated<T: Task + 'static>(self, boot: Boot<T>) {
        let Host::Simulated(host) = self.host else { return };
        let task = self.env.task;
        let (endpoint, handle) = host.spawn(TaskCell::new(self.env, boot), task, self.arbiter);
        self.launched.endpoint = Some(Box::new(endpoint));
        self.launched.handle = Some(handle);
    }
}
