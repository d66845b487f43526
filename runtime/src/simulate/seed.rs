//! What a simulated run depends on.

/// Decides all of a simulated run: the same seed gives the same run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub u64);
