//! What is said of actors and of the ways between them in numbers and words.

/// Number of an actor within the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) usize);

/// How records get from the instances of one actor to those of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Routing {
    /// Forward if both have the same parallelism, else in turn.
    #[default]
    Auto,
    Forward,
    Rebalance,
    Broadcast,
    ByKey,
}

impl Routing {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Forward => "forward",
            Self::Rebalance => "rebalance",
            Self::Broadcast => "broadcast",
            Self::ByKey => "hash",
        }
    }
}
