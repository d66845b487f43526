//! Streams divided by a key.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use watershed_actors::{ByKey, Context, Edge, Env, Expiring, Forever, Process, UserResult};
use watershed_state::{Aggregate, Data, Key, Ttl};

use crate::graph::{Node, NodeBuild};
use crate::nodes::{KeyedNode, RelayNode};
use crate::stream::{Boxed, Chain, ProcessOf, Stream, add_node};
use crate::tree::ActorKind;
use crate::wiring::Routing;

/// A stream whose records have a key: the next actor has state per key.
pub struct KeyedStream<K, T, C = Boxed<T>, F = fn(&T) -> K> {
    pub(super) stream: Stream<T, C>,
    pub(super) key_of: Arc<F>,
    key: PhantomData<fn() -> K>,
}

impl<K, T, C, F> std::fmt::Debug for KeyedStream<K, T, C, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<K, T, C, F> KeyedStream<K, T, C, F> {
    pub(crate) fn new(stream: Stream<T, C>, key_of: F) -> Self {
        Self { stream, key_of: Arc::new(key_of), key: PhantomData }
    }
}

impl<K, T, C, F> KeyedStream<K, T, C, F>
where
    K: Key,
    T: Data,
    C: Chain<Out = T>,
    F: Fn(&T) -> K + Send + Sync + 'static,
{
    /// Starts an actor with state per key.
    pub fn actor<P: ProcessOf<K, T>>(&self, name: &str, process: P) -> Stream<P::Out> {
        let (process, key_of) = (Arc::new(process), Arc::clone(&self.key_of));
        self.exchange(name, Arc::new(KeyedNode { process, key_of, life: |_: &Env| Forever }), true)
    }

    /// Lets the state of a key expire once no record and no timer of the key has come for so long, by processing time:
    /// the next one finds the default. Each collection says for itself how long what is in it lives. The time is above
    /// 0, is counted in whole milliseconds, and may be `Duration::MAX` for states that never expire.
    pub fn state_ttl(&self, time: Duration) -> ExpiringStates<'_, K, T, C, F> {
        ExpiringStates { keyed: self, ttl: Ttl::after_access(time) }
    }

    /// Starts an actor without state: what is fused behind it sees all records of a key in one instance, in order.
    pub fn partition(&self, name: &str) -> Stream<T> {
        self.exchange(name, Arc::new(RelayNode::<T>(PhantomData)), false)
    }

    /// Starts an actor that records reach by their key, and with the hash of it if the actor has a use for that.
    pub(super) fn exchange<U: Data>(&self, name: &str, build: Arc<dyn NodeBuild>, hashes: bool) -> Stream<U> {
        let graph = &self.stream.graph;
        let (name, kind) = (name.to_string(), ActorKind::Process);
        let node = add_node(
            graph,
            Node {
                name,
                kind,
                parallelism: None,
                keyed: true,
                rate: None,
                supervision: None,
                state: None,
                former: Vec::new(),
                build,
            },
        );
        let key_of = Arc::clone(&self.key_of);
        let routing = vec![Routing::ByKey; self.stream.routing.len()];
        self.stream.add_edges(Some(node), &routing, move |edge, build| {
            let senders = build.senders::<T>(edge)?;
            let route = ByKey::new(Arc::clone(&key_of), build.settings.key_groups, senders.len());
            let route = if hashes { route } else { route.without_hashes() };
            Ok(Edge::new(senders, route, build.settings.limits))
        });
        Stream::output(graph, node, None)
    }

    /// Folds the records of each key into one and sends the result after each record. The first record of a key is its
    /// first result.
    pub fn reduce<R>(&self, name: &str, reduce: R) -> Stream<T>
    where
        R: Fn(T, T) -> T + Send + Sync + 'static,
    {
        self.actor(name, Reduce { reduce, types: PhantomData })
    }

    /// Folds the records of each key into one value, and sends each key with its value when the input has ended: once,
    /// behind everything else. Unbounded input ends only when the job is drained ([`Drain::Yes`](crate::Drain)); for
    /// results on the way there are [`KeyedStream::aggregate`] and actors with timers. The value is the state, of the
    /// type [`Reduced<A>`].
    ///
    /// For one value in all, the key is `()`.
    pub fn fold<A, G>(&self, name: &str, init: A, fold: G) -> Stream<(K, A)>
    where
        A: Data + Sync,
        G: Fn(A, T) -> A + Send + Sync + 'static,
    {
        self.actor(name, Fold { init, add: fold, types: PhantomData })
    }

    /// Adds each record to the accumulator of its key and sends the result after each record.
    pub fn aggregate<A: Aggregate<In = T>>(&self, name: &str, aggregate: A) -> Stream<A::Out> {
        self.actor(name, Running { aggregate, key: PhantomData })
    }
}

/// A stream divided by a key, before an actor whose states expire.
pub struct ExpiringStates<'s, K, T, C, F> {
    pub(super) keyed: &'s KeyedStream<K, T, C, F>,
    ttl: Ttl,
}

impl<K, T, C, F> std::fmt::Debug for ExpiringStates<'_, K, T, C, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExpiringStates").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl<K, T, C, F> ExpiringStates<'_, K, T, C, F>
where
    K: Key,
    T: Data,
    C: Chain<Out = T>,
    F: Fn(&T) -> K + Send + Sync + 'static,
{
    /// As [`KeyedStream::actor`].
    pub fn actor<P: ProcessOf<K, T>>(&self, name: &str, process: P) -> Stream<P::Out> {
        let (process, key_of) = (Arc::new(process), Arc::clone(&self.keyed.key_of));
        self.keyed.exchange(name, Arc::new(KeyedNode { process, key_of, life: self.life(name) }), true)
    }

    /// What makes the lives of an instance's states.
    pub(super) fn life(&self, name: &str) -> impl Fn(&Env) -> Expiring + Send + Sync + use<K, T, C, F> {
        let ttl = self.ttl;
        if ttl.is_nothing() {
            let refused = format!(
                "`KeyedStream::state_ttl` before `{name}` is 0: a state lives for a millisecond or more"
            );
            self.keyed.stream.graph.lock().refused.push(refused);
        }
        move |env| Expiring::new(ttl, Arc::clone(&env.clock))
    }

    /// As [`KeyedStream::reduce`].
    pub fn reduce<R>(&self, name: &str, reduce: R) -> Stream<T>
    where
        R: Fn(T, T) -> T + Send + Sync + 'static,
    {
        self.actor(name, Reduce { reduce, types: PhantomData })
    }

    /// As [`KeyedStream::aggregate`].
    pub fn aggregate<A: Aggregate<In = T>>(&self, name: &str, aggregate: A) -> Stream<A::Out> {
        self.actor(name, Running { aggregate, key: PhantomData })
    }
}

struct Reduce<K, T, R> {
    reduce: R,
    types: PhantomData<fn() -> (K, T)>,
}

impl<K: Key, T: Data, R: Fn(T, T) -> T + Send + Sync + 'static> Process for Reduce<K, T, R> {
    type Key = K;
    type In = T;
    type Out = T;
    type State = Reduced<T>;

    fn on_record(&self, record: T, state: &mut Reduced<T>, context: &mut Context<'_, Self>) -> UserResult {
        let reduced = match std::mem::take(state) {
            Reduced::Value(before) => (self.reduce)(before, record),
            Reduced::Nothing => record,
        };
        context.emit(reduced.clone());
        *state = Reduced::Value(reduced);
        Ok(())
    }
}

struct Fold<K, T, A, G> {
    init: A,
    add: G,
    types: PhantomData<fn() -> (K, T)>,
}

impl<K, T, A, G> Process for Fold<K, T, A, G>
where
    K: Key,
    T: Data,
    A: Data + Sync,
    G: Fn(A, T) -> A + Send + Sync + 'static,
{
    type Key = K;
    type In = T;
    type Out = (K, A);
    type State = Reduced<A>;

    fn on_record(&self, record: T, state: &mut Reduced<A>, context: &mut Context<'_, Self>) -> UserResult {
        let before = match std::mem::take(state) {
            Reduced::Value(before) => before,
            Reduced::Nothing => {
                context.timer_at_end();
                self.init.clone()
            }
        };
        *state = Reduced::Value((self.add)(before, record));
        Ok(())
    }

    fn on_end(&self, state: &mut Reduced<A>, context: &mut Context<'_, Self>) -> UserResult {
        if let Reduced::Value(value) = std::mem::take(state) {
            let key = context.key().clone();
            context.emit((key, value));
        }
        context.clear();
        Ok(())
    }
}

/// The state of [`KeyedStream::reduce`] and [`KeyedStream::fold`]: what the records of a key amount to so far. Not an
/// `Option`: the codec cannot tell an option in an option from none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Reduced<T> {
    /// None has come.
    #[default]
    Nothing,
    /// This.
    Value(T),
}

struct Running<K, A> {
    aggregate: A,
    key: PhantomData<fn() -> K>,
}

impl<K: Key, A: Aggregate> Process for Running<K, A> {
    type Key = K;
    type In = A::In;
    type Out = A::Out;
    type State = A::Accumulator;

    fn on_record(
        &self,
        record: A::In,
        accumulator: &mut A::Accumulator,
        context: &mut Context<'_, Self>,
    ) -> UserResult {
        self.aggregate.add(accumulator, record);
        context.emit(self.aggregate.result(accumulator));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use watershed_actors::MAX_WATERMARK;
    use watershed_actors::harness::{Harness, record, watermark};

    use super::*;

    #[test]
    fn a_fold_gives_one_value_for_each_key_when_the_input_has_ended() {
        let add = |(count, sum): (u64, u64), n: u64| (count + 1, sum + n);
        let fold = Fold { init: (0, 100), add, types: PhantomData::<fn() -> (u64, u64)> };
        Harness::keyed(fold, |n| n % 2)
            .input([
                record(1).at(5),
                record(3).at(7),
                watermark(6),
                record(5).at(9),
                watermark(MAX_WATERMARK),
            ])
            .expect_output([watermark(6), record((1, (3, 109))), watermark(MAX_WATERMARK)]);
    }
}
