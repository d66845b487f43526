//! Who an instance is.

use std::fmt;
use std::sync::Arc;

/// One of the parallel instances of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Name of the operator, unique in the topology.
    pub operator: Arc<str>,
    /// Which one, from 0.
    pub index: usize,
    /// How many there are.
    pub parallelism: usize,
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.operator, self.index)
    }
}
