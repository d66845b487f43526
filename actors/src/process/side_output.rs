//! Side outputs: further streams out of one actor, by name.

use std::marker::PhantomData;
use std::sync::Arc;

/// Names a further output of an actor and the type of its records.
///
/// The same value is given to [`Context::emit_to`](crate::Context::emit_to) and to the stream's `side`.
pub struct SideOutput<T> {
    name: Arc<str>,
    item: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for SideOutput<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SideOutput").field(&self.name).finish()
    }
}

impl<T> Clone for SideOutput<T> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), item: PhantomData }
    }
}

impl<T> SideOutput<T> {
    /// A side output; its name has to be unique among those of one actor.
    pub fn new(name: &str) -> Self {
        Self { name: Arc::from(name), item: PhantomData }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}
