//! What fits behind a stream, so that the compiler can say it where something does not.

use watershed_actors::{BroadcastProcess, Process};
use watershed_state::{Data, Key};

/// A [`Process`] for records of type `T` whose key is `K`: `()` behind a stream that is not divided by a key.
/// Implemented for all of them; its name appears only where one does not fit.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Process` for records `{T}` with the key `{K}`",
    label = "it would need `type Key = {K}` and `type In = {T}`",
    note = "change `type Key` and `type In` of the process, or what `key_by` and the operators before it give",
    note = "a stream without `key_by` has the key `()`: a process with another one goes behind `.key_by(…)`"
)]
pub trait ProcessOf<K: Key, T: Data>: Process<Key = K, In = T> {}

#[diagnostic::do_not_recommend]
impl<K: Key, T: Data, P: Process<Key = K, In = T>> ProcessOf<K, T> for P {}

/// A [`BroadcastProcess`] for records of type `T` whose key is `K`, as [`ProcessOf`] is for a [`Process`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `BroadcastProcess` for records `{T}` with the key `{K}`",
    label = "it would need `type Key = {K}` and `type In = {T}`",
    note = "change `type Key` and `type In` of the process, or what `key_by` and the operators before it give",
    note = "a stream without `key_by` has the key `()`: a process with another one goes behind `.key_by(…)`"
)]
pub trait BroadcastProcessOf<K: Key, T: Data>: BroadcastProcess<Key = K, In = T> {}

#[diagnostic::do_not_recommend]
impl<K: Key, T: Data, B: BroadcastProcess<Key = K, In = T>> BroadcastProcessOf<K, T> for B {}
