//! What a type must be able to do to be a record, a key or a state. Nobody implements these by hand.

use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Anything that moves through a topology: it can be copied, handed to another thread, written to a file
/// and read back. Implemented for every type that can.
pub trait Data: Clone + Send + Serialize + DeserializeOwned + 'static {}

impl<T: Clone + Send + Serialize + DeserializeOwned + 'static> Data for T {}

/// Data by which records are grouped. Equal keys must hash equally, in this process and in every later one:
/// a hand-written `Hash` must not depend on addresses, on the platform or on a random seed.
pub trait Key: Data + Eq + Hash {}

impl<T: Data + Eq + Hash> Key for T {}

/// Data that is kept for each key. A key seen for the first time starts from `Default`.
pub trait State: Data + Default {}

impl<T: Data + Default> State for T {}
