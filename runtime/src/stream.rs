//! Streams: what users wire.

mod chain;
mod connected;
mod fitting;
mod keyed;
mod without_key;

pub(crate) use chain::{AnyChain, Output, Point};
pub use chain::{Boxed, Chain, Unboxed};
pub use fitting::{BroadcastProcessOf, ProcessOf};
pub use keyed::{ExpiringStates, KeyedStream, Reduced};
pub use without_key::WithoutKey;

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;

use watershed_actors::{
    Broadcast, DeadLetter, Edge, EventTime, Failure, Filter, FilterMap, FlatMap, ForEach, Forward, Inspect,
    Instance, LETTERS, Map, Operation, Rebalance, SideOutput, Sink, Timing, TryFilterMap, TryFlatMap, TryMap,
    TwoPhaseSink, UserResult, WatermarkStrategy,
};
use watershed_state::{Data, Key, StateBackend};

use crate::build::{BuildSettings, InstanceBuild};
use crate::graph::{EdgeSpec, Node, NodeBuild, PointSpec, SharedGraph};
use crate::nodes::{InstanceNode, SinkNode, TwoPhaseNode};
use crate::supervision::Supervision;
use crate::tree::ActorKind;
use crate::wiring::{NodeId, Routing};
use chain::{Erased, Then, Union};

/// Records of type `T` on their way out of an actor.
///
/// **A closure fuses into the actor before it; a name starts an actor behind a bounded mailbox; `key_by` decides which
/// instance gets the record.** A stream may be used any number of times: each use gets every record, and what stands
/// before it runs once.
///
/// `C` is what is fused so far, in a type that nobody can write down. Where a stream has to have a type, as in a
/// signature or a variable that is assigned twice, it is `Stream<T>`, and [`boxed`](Self::boxed) makes one of any other
/// (so does `.into()`, which the compiler proposes).
pub struct Stream<T, C = Boxed<T>> {
    graph: SharedGraph,
    point: Point<C>,
    /// How the records of each branch get to the next actor.
    routing: Vec<Routing>,
    item: PhantomData<fn() -> T>,
}

impl<T, C> std::fmt::Debug for Stream<T, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("id", &self.point.id).finish_non_exhaustive()
    }
}

impl<T: Data, C: Unboxed<Out = T>> From<Stream<T, C>> for Stream<T> {
    /// [`Stream::boxed`].
    fn from(stream: Stream<T, C>) -> Self {
        stream.boxed()
    }
}

impl<T, C: Clone> Clone for Stream<T, C> {
    fn clone(&self) -> Self {
        Self {
            graph: self.graph.clone(),
            point: self.point.clone(),
            routing: self.routing.clone(),
            item: PhantomData,
        }
    }
}

impl<T: Data> Stream<T> {
    /// The stream out of an actor, or out of one of its side outputs.
    pub(crate) fn output(graph: &SharedGraph, node: NodeId, side: Option<String>) -> Self {
        let output = Output { node, side, item: PhantomData };
        Self::new(graph, Boxed(Arc::new(output)), true)
    }
}

impl<T: Data, C: Chain<Out = T>> Stream<T, C> {
    fn new(graph: &SharedGraph, chain: C, is_output: bool) -> Self {
        let uses = Arc::default();
        let mut wiring = graph.lock();
        let id = wiring.points.len();
        let (roots, fused) = (chain.roots(), chain.describe(0).fused);
        let routing = vec![Routing::Auto; roots.len()];
        wiring.points.push(PointSpec { roots, fused, event_time: None, is_output, uses: Arc::clone(&uses) });
        drop(wiring);
        let point = Point { id, chain, uses, is_output };
        Self { graph: graph.clone(), point, routing, item: PhantomData }
    }

    /// The same stream with the routing that was asked for before.
    fn routed(mut self, routing: Vec<Routing>) -> Self {
        self.routing = routing;
        self
    }

    /// This stream with one more operator.
    fn then<O, M>(&self, name: &'static str, make: M) -> Stream<O::Out, Then<C, O, M>>
    where
        O: Operation<T, Out: Data> + 'static,
        M: Fn(&BuildSettings) -> O + Send + Sync + 'static,
    {
        let chain = Then { before: self.point.used(), name, make: Arc::new(make), operation: PhantomData };
        Stream::new(&self.graph, chain, false).routed(self.routing.clone())
    }

    /// One record for one.
    pub fn map<U, F>(&self, function: F) -> Stream<U, impl Unboxed<Out = U> + use<T, C, U, F>>
    where
        U: Data,
        F: Fn(T) -> U + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.then("map", move |_| Map(Arc::clone(&function)))
    }

    /// Only the records for which the closure says `true`.
    pub fn filter<F>(&self, function: F) -> Stream<T, impl Unboxed<Out = T> + use<T, C, F>>
    where
        F: Fn(&T) -> bool + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.then("filter", move |_| Filter(Arc::clone(&function)))
    }

    /// One record or none for one.
    pub fn filter_map<U, F>(&self, function: F) -> Stream<U, impl Unboxed<Out = U> + use<T, C, U, F>>
    where
        U: Data,
        F: Fn(T) -> Option<U> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.then("filter_map", move |_| FilterMap(Arc::clone(&function)))
    }

    /// Any number of records for one. The iterator is taken from as outputs have room, so it may be very long.
    pub fn flat_map<I, F>(
        &self,
        function: F,
    ) -> Stream<I::Item, impl Unboxed<Out = I::Item> + use<T, C, I, F>>
    where
        I: IntoIterator<Item: Data, IntoIter: Send> + 'static,
        F: Fn(T) -> I + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.then("flat_map", move |_| FlatMap::new(Arc::clone(&function)))
    }

    /// Looks at each record and lets it pass.
    pub fn inspect<F>(&self, function: F) -> Stream<T, impl Unboxed<Out = T> + use<T, C, F>>
    where
        F: Fn(&T) + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.then("inspect", move |_| Inspect(Arc::clone(&function)))
    }

    /// One record for one, or an error, which is treated as [`Stream::supervise`] says.
    pub fn try_map<U, F>(&self, function: F) -> Stream<U, impl Unboxed<Out = U> + use<T, C, U, F>>
    where
        U: Data,
        F: Fn(T) -> UserResult<U> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.then("try_map", move |settings| {
            TryMap::new(Arc::clone(&function), settings.rejects.closure("try_map"))
        })
    }

    /// One record for one, or an error of a type of one's own: two streams, of the results and of the errors. An error
    /// is a record here, with whatever its reason has to say, and nothing that [`Stream::supervise`] is asked about.
    /// Each stream has to lead somewhere. What the closure makes is cloned once, as it is wherever a stream is used
    /// twice.
    ///
    /// ```
    /// use watershed_actors::sinks::Collector;
    /// use watershed_actors::sources::Items;
    /// use watershed_runtime::{Config, Topology};
    ///
    /// let topology = Topology::new("amounts");
    /// let lines = topology.source("lines", Items::of(["12".to_string(), "twelve".to_string()])).parallelism(1);
    /// let (amounts, refused) = lines.try_map_split(|line: String| {
    ///     line.parse::<u64>().map_err(|error| (line.clone(), error.to_string()))
    /// });
    /// let (good, bad) = (Collector::new(), Collector::new());
    /// amounts.sink_exactly_once("amounts", good.sink());
    /// refused.sink_exactly_once("refused", bad.sink());
    /// topology.run(Config::local())?;
    /// assert_eq!(good.take(), [12]);
    /// assert_eq!(bad.take(), [("twelve".to_string(), "invalid digit found in string".to_string())]);
    /// # Ok::<(), watershed_runtime::Error>(())
    /// ```
    pub fn try_map_split<U, E, F>(
        &self,
        function: F,
    ) -> (
        Stream<U, impl Unboxed<Out = U> + use<T, C, U, E, F>>,
        Stream<E, impl Unboxed<Out = E> + use<T, C, U, E, F>>,
    )
    where
        U: Data,
        E: Data,
        F: Fn(T) -> Result<U, E> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        let both = self.then("try_map_split", move |_| Map(Arc::clone(&function)));
        let results = both.then("results", |_| FilterMap(Arc::new(Result::<U, E>::ok)));
        let errors = both.then("errors", |_| FilterMap(Arc::new(Result::<U, E>::err)));
        (results, errors)
    }

    /// Only the records for which the closure says `true`; an error is treated as [`Stream::supervise`] says.
    pub fn try_filter<F>(&self, function: F) -> Stream<T, impl Unboxed<Out = T> + use<T, C, F>>
    where
        F: Fn(&T) -> UserResult<bool> + Send + Sync + 'static,
    {
        let function = Arc::new(move |record: T| Ok(function(&record)?.then_some(record)));
        self.then("try_filter", move |settings| {
            TryFilterMap::new(Arc::clone(&function), settings.rejects.closure("try_filter"))
        })
    }

    /// One record or none for one, or an error, which is treated as [`Stream::supervise`] says.
    pub fn try_filter_map<U, F>(&self, function: F) -> Stream<U, impl Unboxed<Out = U> + use<T, C, U, F>>
    where
        U: Data,
        F: Fn(T) -> UserResult<Option<U>> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.then("try_filter_map", move |settings| {
            TryFilterMap::new(Arc::clone(&function), settings.rejects.closure("try_filter_map"))
        })
    }

    /// Looks at each record and lets it pass; an error is treated as [`Stream::supervise`] says.
    pub fn try_inspect<F>(&self, function: F) -> Stream<T, impl Unboxed<Out = T> + use<T, C, F>>
    where
        F: Fn(&T) -> UserResult + Send + Sync + 'static,
    {
        let function = Arc::new(move |record: T| function(&record).map(|()| Some(record)));
        self.then("try_inspect", move |settings| {
            TryFilterMap::new(Arc::clone(&function), settings.rejects.closure("try_inspect"))
        })
    }

    /// Any number of records for one, or an error, which is treated as [`Stream::supervise`] says.
    pub fn try_flat_map<I, F>(
        &self,
        function: F,
    ) -> Stream<I::Item, impl Unboxed<Out = I::Item> + use<T, C, I, F>>
    where
        I: IntoIterator<Item: Data, IntoIter: Send> + 'static,
        F: Fn(T) -> UserResult<I> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.then("try_flat_map", move |settings| {
            TryFlatMap::new(Arc::clone(&function), settings.rejects.closure("try_flat_map"))
        })
    }

    /// Gives each record its event time, in milliseconds since the Unix epoch, and sends watermarks as `strategy` says.
    /// A record whose event time is more than a day ahead of processing time is an error of the operator, as it would
    /// make all later records late, unless the strategy says something else ([`FarAhead`](watershed_actors::FarAhead)).
    /// `i64::MIN` stands for none.
    ///
    /// Checkpoints keep how far event time has come, by name. Where several are fused into one actor, each needs one of
    /// its own: see [`Lateness::named`](watershed_actors::Lateness::named).
    pub fn event_time<F, W>(
        &self,
        time_of: F,
        strategy: W,
    ) -> Stream<T, impl Unboxed<Out = T> + use<T, C, F, W>>
    where
        F: Fn(&T) -> i64 + Send + Sync + 'static,
        W: WatermarkStrategy,
    {
        let (time_of, name) = (Arc::new(time_of), strategy.name().to_string());
        let timed = self.then("event_time", move |settings| {
            let timing = Timing {
                interval: settings.watermark_interval,
                clock: settings.clock.clone(),
                rejecter: settings.rejects.event_time(),
            };
            EventTime::new(Arc::clone(&time_of), &strategy, timing)
        });
        self.graph.lock().points[timed.point.id].event_time = Some(name);
        timed
    }

    /// The same stream under a type that can be named: `Stream<T>`.
    pub fn boxed(&self) -> Stream<T> {
        let chain = Boxed(Arc::new(Erased(self.point.used())) as Arc<dyn AnyChain<T>>);
        Stream::new(&self.graph, chain, false).routed(self.routing.clone())
    }

    /// The records of both, in no particular order between them. Each side keeps the routing that it was given.
    ///
    /// The stream comes out of several actors then. Whatever is set on it is set for each of them, and a side output of
    /// it has what each of them sends there.
    pub fn union<D: Chain<Out = T>>(&self, other: &Stream<T, D>) -> Stream<T> {
        let (one, two) = (self.boxed(), other.boxed());
        let streams = vec![one.point.used().chain, two.point.used().chain];
        let union = Boxed(Arc::new(Union(streams)) as Arc<dyn AnyChain<T>>);
        Stream::new(&self.graph, union, false).routed([one.routing, two.routing].concat())
    }

    /// The records that this actor, and what is fused into it, have left out under [`Supervision::quarantine`], with
    /// what is known of each. They are kept beside the checkpoints as well.
    pub fn dead_letters(&self) -> Stream<DeadLetter> {
        self.side_outputs(LETTERS)
    }

    /// What this actor sends to a side output.
    pub fn side<U: Data>(&self, output: &SideOutput<U>) -> Stream<U> {
        self.side_outputs(output.name())
    }

    /// A side output of each actor that this stream comes out of.
    fn side_outputs<U: Data>(&self, name: &str) -> Stream<U> {
        let output = |node| Output { node, side: Some(name.to_string()), item: PhantomData };
        let outputs =
            self.roots().into_iter().map(|node| Boxed(Arc::new(output(node)) as Arc<dyn AnyChain<U>>));
        Stream::new(&self.graph, Boxed(Arc::new(Union(outputs.collect()))), true)
    }

    /// The actors that this stream comes out of, each once.
    fn roots(&self) -> BTreeSet<NodeId> {
        self.point.chain.roots().into_iter().collect()
    }

    /// Deals the records out in turn to the instances of the next actor, whatever is fused before it.
    pub fn rebalance(mut self) -> Self {
        self.routing.fill(Routing::Rebalance);
        self
    }

    /// Gives each record to every instance of the next actor.
    pub fn broadcast(mut self) -> Self {
        self.routing.fill(Routing::Broadcast);
        self
    }

    /// Keeps records with the instance of the next actor that has the same number; both need the same parallelism.
    pub fn forward(mut self) -> Self {
        self.routing.fill(Routing::Forward);
        self
    }

    /// How many instances the actor has that this stream comes out of.
    pub fn parallelism(self, instances: usize) -> Self {
        self.set(|node| node.parallelism = Some(instances));
        self
    }

    /// Holds the source that this stream comes out of to so many records per second: all instances together, each of
    /// which has the same share if it has a split to read. After it was held back from outside it catches up. The least
    /// rate is a millionth; a thousand million and more, `f64::INFINITY` among them, are no limit. Any other is refused
    /// at the start.
    pub fn rate(self, records_per_second: f64) -> Self {
        self.set(|node| node.rate = Some(records_per_second));
        self
    }

    /// What becomes of failures of the actor that this stream comes out of, and of the closures fused into it. Without
    /// it the configuration decides.
    pub fn supervise(self, supervision: impl Into<Supervision>) -> Self {
        let supervision = supervision.into();
        self.set(|node| node.supervision = Some(supervision));
        self
    }

    /// A name that the actor which this stream comes out of had in an earlier version of the topology: what a snapshot
    /// holds under it is this actor's.
    pub fn formerly(self, name: &str) -> Self {
        self.set(|node| node.former.push(name.to_string()));
        self
    }

    /// Where the keyed state of the actor that this stream comes out of lives. Without it the configuration decides.
    pub fn state_backend(self, backend: impl Into<StateBackend>) -> Self {
        let backend = backend.into();
        self.set(|node| node.state = Some(backend.clone()));
        self
    }

    fn set(&self, change: impl Fn(&mut Node)) {
        let mut graph = self.graph.lock();
        for root in self.roots() {
            change(&mut graph.nodes[root.0]);
        }
    }

    /// Divides the stream by a key: all records of a key go to the same instance of the next actor, in order.
    pub fn key_by<K, F>(&self, key_of: F) -> KeyedStream<K, T, C, F>
    where
        K: Key,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        KeyedStream::new(self.clone(), key_of)
    }

    /// Starts an actor without keys: one state per instance.
    pub fn actor<P: ProcessOf<(), T>>(&self, name: &str, process: P) -> Stream<P::Out> {
        let build = InstanceNode { process: Arc::new(process) };
        let node = self.add_node(name, ActorKind::Process, Arc::new(build));
        self.connect(node);
        Stream::output(&self.graph, node, None)
    }

    /// Ends in a sink that may show a record again after a crash.
    pub fn sink<S: Sink<In = T>>(&self, name: &str, sink: S) -> SinkActor {
        self.end(name, ActorKind::Sink, Arc::new(SinkNode { sink: Arc::new(sink) }))
    }

    /// Ends in a sink that shows each record exactly once.
    pub fn sink_exactly_once<S: TwoPhaseSink<In = T>>(&self, name: &str, sink: S) -> SinkActor {
        self.end(name, ActorKind::ExactlyOnceSink, Arc::new(TwoPhaseNode { sink: Arc::new(sink) }))
    }

    fn end(&self, name: &str, kind: ActorKind, build: Arc<dyn NodeBuild>) -> SinkActor {
        let node = self.add_node(name, kind, build);
        self.connect(node);
        SinkActor { graph: self.graph.clone(), node }
    }

    /// Ends in a closure, fused into the actor before it. It sees records again after a crash.
    pub fn for_each<F>(&self, function: F)
    where
        F: Fn(T) + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.for_each_instance(move |_| {
            let function = Arc::clone(&function);
            move |record| function(record)
        });
    }

    /// Ends in a closure of its own for each instance, which may keep what it likes. `make` is called anew after a
    /// restart; the closure sees records again then.
    pub fn for_each_instance<M, F>(&self, make: M)
    where
        M: Fn(&Instance) -> F + Send + Sync + 'static,
        F: FnMut(T) + Send + 'static,
    {
        let make = Arc::new(make);
        let routing = vec![Routing::Forward; self.routing.len()];
        self.add_edges(None, &routing, move |_, build| Ok(ForEach(make(&build.instance))));
    }

    fn add_node(&self, name: &str, kind: ActorKind, build: Arc<dyn NodeBuild>) -> NodeId {
        add_node(
            &self.graph,
            Node {
                name: name.to_string(),
                kind,
                parallelism: None,
                keyed: false,
                rate: None,
                supervision: None,
                state: None,
                former: Vec::new(),
                build,
            },
        )
    }

    /// Connects this stream to an actor without keys.
    fn connect(&self, to: NodeId) {
        self.add_edges(Some(to), &self.routing, |edge, build| AnyEdge::new(edge, build));
    }

    /// An edge for each branch; `make` makes the end of its chain.
    fn add_edges<N, M>(&self, to: Option<NodeId>, routing: &[Routing], make: M)
    where
        N: watershed_actors::Push<T> + 'static,
        M: Fn(usize, &mut InstanceBuild<'_>) -> Result<N, Failure> + Send + Sync + 'static,
    {
        let (point, make) = (self.point.used(), Arc::new(make));
        let mut graph = self.graph.lock();
        for (branch, from) in point.chain.roots().into_iter().enumerate() {
            let chain::Description { side, item, fused } = point.chain.describe(branch);
            let (point, make, edge) = (point.clone(), Arc::clone(&make), graph.edges.len());
            let attach = move |build: &mut InstanceBuild<'_>| {
                let end = make(edge, build)?;
                point.attach(branch, build, end)
            };
            let (routing, attach) = (routing[branch], Arc::new(attach));
            graph.edges.push(EdgeSpec { from, to, routing, side, item, fused, attach });
        }
    }
}

/// A sink in the wiring.
#[derive(Clone)]
pub struct SinkActor {
    graph: SharedGraph,
    node: NodeId,
}

impl std::fmt::Debug for SinkActor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SinkActor").field(&self.node).finish()
    }
}

impl SinkActor {
    /// How many instances it has (as many as the actor before it).
    pub fn parallelism(self, instances: usize) -> Self {
        self.graph.lock().nodes[self.node.0].parallelism = Some(instances);
        self
    }

    /// A name that the sink had in an earlier version of the topology: what a snapshot holds under it is this sink's.
    pub fn formerly(self, name: &str) -> Self {
        self.graph.lock().nodes[self.node.0].former.push(name.to_string());
        self
    }

    /// The records that the sink has left out under [`Supervision::quarantine`].
    pub fn dead_letters(&self) -> Stream<DeadLetter> {
        Stream::output(&self.graph, self.node, Some(LETTERS.to_string()))
    }

    /// What becomes of failures of the sink. Without it the configuration decides.
    pub fn supervise(self, supervision: impl Into<Supervision>) -> Self {
        self.graph.lock().nodes[self.node.0].supervision = Some(supervision.into());
        self
    }
}

pub(crate) fn add_node(graph: &SharedGraph, node: Node) -> NodeId {
    let mut graph = graph.lock();
    graph.nodes.push(node);
    NodeId(graph.nodes.len() - 1)
}

/// The end of a chain whose routing the plan decides.
struct AnyEdge;

impl AnyEdge {
    #[expect(clippy::new_ret_no_self, reason = "it chooses between types that have only the trait in common")]
    fn new<T: Data>(
        edge: usize,
        build: &mut InstanceBuild<'_>,
    ) -> Result<Box<dyn watershed_actors::Push<T>>, Failure> {
        let (senders, limits) = (build.senders::<T>(edge)?, build.settings.limits);
        Ok(match build.edges[edge].routing {
            Routing::Broadcast => Box::new(Edge::new(senders, Broadcast, limits)),
            Routing::Rebalance => {
                Box::new(Edge::new(senders, Rebalance::starting_at(build.instance.index), limits))
            }
            Routing::Forward | Routing::Auto | Routing::ByKey => {
                Box::new(Edge::new(senders, Forward, limits))
            }
        })
    }
}
