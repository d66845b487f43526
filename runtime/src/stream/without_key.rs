//! Operators that a stream divided by a key does not have, so that the compiler can say where they go.

use watershed_actors::{Sink, TwoPhaseSink, UserResult, WatermarkStrategy};
use watershed_state::Data;

use crate::stream::{KeyedStream, SinkActor, Stream};

/// A stream that is not divided by a key. Nothing implements it: it stands in the signature of what a [`KeyedStream`]
/// does not have.
#[diagnostic::on_unimplemented(
    message = "a stream that is divided by a key has no operators and sinks of its own, only actors",
    label = "this goes before `key_by`, or behind an actor",
    note = "call it before `key_by`, or put the actor in between that the key is for: `.actor(name, process)`, `.reduce(name, …)`, \
            `.aggregate(name, …)`, `.fold(name, …)`; `.partition(name)` only brings the records of a key together"
)]
pub trait WithoutKey {}

/// Declares what a keyed stream does not have.
macro_rules! not_there {
    ($($name:ident [$($generics:tt)*] ($($argument:ident: $kind:ty),*) -> $out:ty;)*) => {
        impl<K, T: Data, C, F> KeyedStream<K, T, C, F> {
            $(
                #[doc(hidden)]
                pub fn $name<$($generics)*>(&self, $($argument: $kind),*) -> $out
                where
                    Self: WithoutKey,
                {
                    let _ = ($($argument,)*);
                    unreachable!("no keyed stream is without a key")
                }
            )*
        }
    };
}

not_there! {
    map [U: Data, G: Fn(T) -> U] (function: G) -> Stream<U>;
    filter [G: Fn(&T) -> bool] (function: G) -> Stream<T>;
    filter_map [U: Data, G: Fn(T) -> Option<U>] (function: G) -> Stream<U>;
    flat_map [I: IntoIterator<Item: Data>, G: Fn(T) -> I] (function: G) -> Stream<I::Item>;
    inspect [G: Fn(&T)] (function: G) -> Stream<T>;
    try_map [U: Data, G: Fn(T) -> UserResult<U>] (function: G) -> Stream<U>;
    try_filter [G: Fn(&T) -> UserResult<bool>] (function: G) -> Stream<T>;
    try_filter_map [U: Data, G: Fn(T) -> UserResult<Option<U>>] (function: G) -> Stream<U>;
    try_flat_map [I: IntoIterator<Item: Data>, G: Fn(T) -> UserResult<I>] (function: G) -> Stream<I::Item>;
    try_inspect [G: Fn(&T) -> UserResult] (function: G) -> Stream<T>;
    event_time [G: Fn(&T) -> i64, W: WatermarkStrategy] (time_of: G, strategy: W) -> Stream<T>;
    for_each [G: Fn(T)] (function: G) -> ();
    sink [S: Sink<In = T>] (name: &str, sink: S) -> SinkActor;
    sink_exactly_once [S: TwoPhaseSink<In = T>] (name: &str, sink: S) -> SinkActor;
    union [D] (other: &Stream<T, D>) -> Stream<T>;
    parallelism [] (instances: usize) -> Stream<T>;
    supervise [S: Into<crate::Supervision>] (supervision: S) -> Stream<T>;
}
