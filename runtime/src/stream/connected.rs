//! Streams whose records meet what is broadcast to all instances.

use std::sync::Arc;

use watershed_actors::{BroadcastInput, Env, Forever, Life, Map};
use watershed_state::{Data, Key};

use crate::nodes::{ConnectedInstanceNode, ConnectedKeyedNode};
use crate::stream::{BroadcastProcessOf, Chain, ExpiringStates, KeyedStream, Stream};
use crate::tree::ActorKind;
use crate::wiring::NodeId;

impl<K, T, C, F> KeyedStream<K, T, C, F>
where
    K: Key,
    T: Data,
    C: Chain<Out = T>,
    F: Fn(&T) -> K + Send + Sync + 'static,
{
    /// Starts an actor with state per key whose records meet those of `broadcast`: every instance gets all of these,
    /// and keeps what it needs of them in its replica of a shared state, which it looks at when a record comes.
    /// Watermarks are the lower ones of both streams.
    pub fn connect_broadcast<B, D>(
        &self,
        name: &str,
        broadcast: &Stream<B::Broadcast, D>,
        process: B,
    ) -> Stream<B::Out>
    where
        B: BroadcastProcessOf<K, T>,
        D: Chain<Out = B::Broadcast>,
    {
        self.connect_living(name, broadcast, process, |_: &Env| Forever)
    }

    /// The same with states that live as `life` says.
    fn connect_living<B, D, L>(
        &self,
        name: &str,
        broadcast: &Stream<B::Broadcast, D>,
        process: B,
        life: impl Fn(&Env) -> L + Send + Sync + 'static,
    ) -> Stream<B::Out>
    where
        B: BroadcastProcessOf<K, T>,
        D: Chain<Out = B::Broadcast>,
        L: Life,
    {
        let key_of = Arc::clone(&self.key_of);
        let key_of = move |input: &BroadcastInput<T, B::Broadcast>| match input {
            BroadcastInput::Record(record) => key_of(record),
            BroadcastInput::Broadcast(_) => unreachable!("broadcast records are not asked for a key"),
        };
        let records = KeyedStream::new(self.stream.as_input(BroadcastInput::Record), key_of);
        let (process, key_of) = (Arc::new(process), Arc::clone(&records.key_of));
        let build = ConnectedKeyedNode { process, key_of, life };
        let out = records.exchange(name, Arc::new(build), true);
        broadcast.connect_to_all::<T>(out.root());
        out
    }
}

impl<K, T, C, F> ExpiringStates<'_, K, T, C, F>
where
    K: Key,
    T: Data,
    C: Chain<Out = T>,
    F: Fn(&T) -> K + Send + Sync + 'static,
{
    /// As [`KeyedStream::connect_broadcast`]. What the instances share does not expire.
    pub fn connect_broadcast<B, D>(
        &self,
        name: &str,
        broadcast: &Stream<B::Broadcast, D>,
        process: B,
    ) -> Stream<B::Out>
    where
        B: BroadcastProcessOf<K, T>,
        D: Chain<Out = B::Broadcast>,
    {
        self.keyed.connect_living(name, broadcast, process, self.life(name))
    }
}

impl<T: Data, C: Chain<Out = T>> Stream<T, C> {
    /// Starts an actor without keys whose records meet those of `broadcast`: every instance gets all of these, and has
    /// a replica of a shared state for them, beside one state of its own.
    pub fn connect_broadcast<B, D>(
        &self,
        name: &str,
        broadcast: &Stream<B::Broadcast, D>,
        process: B,
    ) -> Stream<B::Out>
    where
        B: BroadcastProcessOf<(), T>,
        D: Chain<Out = B::Broadcast>,
    {
        let records = self.as_input::<BroadcastInput<T, B::Broadcast>>(BroadcastInput::Record);
        let build = ConnectedInstanceNode { process: Arc::new(process) };
        let node = records.add_node(name, ActorKind::Process, Arc::new(build));
        records.connect(node);
        broadcast.connect_to_all::<T>(node);
        Stream::output(&self.graph, node, None)
    }

    /// This stream as one of the inputs of an actor.
    fn as_input<I: Data>(&self, input: fn(T) -> I) -> Stream<I, impl Chain<Out = I> + use<T, C, I>> {
        self.then("connect", move |_| Map(Arc::new(input)))
    }

    /// Gives each record to all instances of an actor, as its second input.
    fn connect_to_all<U: Data>(&self, to: NodeId) {
        self.as_input::<BroadcastInput<U, T>>(BroadcastInput::Broadcast).broadcast().connect(to);
    }

    /// The actor that the first branch comes out of.
    fn root(&self) -> NodeId {
        self.point.chain.roots()[0]
    }
}
