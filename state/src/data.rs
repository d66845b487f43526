//! What a type must be able to do to be a record, a key or a state. Nobody implements these by hand.

use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Anything that moves through a topology: it can be copied, handed to another thread, written to a file
/// and read back. Implemented for every type that can.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot move through a topology: it cannot be cloned, sent to a thread, written and read back",
    label = "no record, key or state can be `{Self}`",
    note = "derive what it takes, for the type and for those in it: `#[derive(Clone, serde::Serialize, serde::Deserialize)]`",
    note = "`serde` has to be among the dependencies, with the feature `derive`; a record borrows nothing and holds no `Rc`"
)]
pub trait Data: Clone + Send + Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Serialize + DeserializeOwned + 'static> Data for T {}

/// Data by which records are grouped. Equal keys must hash equally, in this process and in every later one:
/// a hand-written `Hash` must not depend on addresses, on the platform or on a random seed.
#[diagnostic::on_unimplemented(
    message = "records cannot be grouped by `{Self}`",
    label = "`{Self}` is no key",
    note = "derive what it takes: `#[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]`",
    note = "numbers with a fraction are no keys: round them to integers; a key owns what it holds: clone a part of the record"
)]
pub trait Key: Data + Eq + Hash {}

#[diagnostic::do_not_recommend]
impl<T: Data + Eq + Hash> Key for T {}

/// Data that is kept for each key. A key seen for the first time starts from `Default`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept as state",
    label = "`{Self}` is no state",
    note = "derive what it takes: `#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]`"
)]
pub trait State: Data + Default {}

#[diagnostic::do_not_recommend]
impl<T: Data + Default> State for T {}
