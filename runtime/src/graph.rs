//! The topology as it is wired: nodes, edges, and how to build each of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use watershed_actors::{Failure, OutputClaim, Owner, Restored};
use watershed_state::{Fs, StateBackend};

use crate::build::{InstanceBuild, Launch};
use crate::error::Error;
use crate::supervision::Supervision;
use crate::tree::ActorKind;
use crate::wiring::NodeId;
use crate::wiring::Routing;

/// The wiring, shared by the topology and all its streams while it is being written.
#[derive(Clone, Default)]
pub(crate) struct SharedGraph(Arc<Mutex<Graph>>);

impl SharedGraph {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Graph> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<EdgeSpec>,
    /// Every stream that was made, to find those that lead nowhere.
    pub(crate) points: Vec<PointSpec>,
    /// Names that the topology had before.
    pub(crate) former: Vec<String>,
    /// What was set and is out of its range.
    pub(crate) refused: Vec<String>,
}

/// A named actor.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) kind: ActorKind,
    /// Names that it had in earlier versions of the topology.
    pub(crate) former: Vec<String>,
    pub(crate) parallelism: Option<usize>,
    /// Whether its state is divided into key groups.
    pub(crate) keyed: bool,
    /// Records per second, for a source.
    pub(crate) rate: Option<f64>,
    /// What becomes of its failures; what the configuration says if nothing is said.
    pub(crate) supervision: Option<Supervision>,
    /// Where its keyed state lives; where the configuration says if nothing is said.
    pub(crate) state: Option<StateBackend>,
    pub(crate) build: Arc<dyn NodeBuild>,
}

/// A way from one actor: to another one, or into a closure.
#[derive(Clone)]
pub(crate) struct EdgeSpec {
    pub(crate) from: NodeId,
    /// `None` for a chain that ends in a closure.
    pub(crate) to: Option<NodeId>,
    pub(crate) routing: Routing,
    /// The side output it begins at.
    pub(crate) side: Option<String>,
    /// Type of the records at its beginning, for error messages.
    pub(crate) item: &'static str,
    /// What is fused into it, in order.
    pub(crate) fused: Vec<&'static str>,
    /// Attaches the chain, with the edge at its end, to an instance of `from`.
    pub(crate) attach: Attach,
}

/// Attaches an output to an instance.
pub(crate) type Attach = Arc<dyn Fn(&mut InstanceBuild<'_>) -> Result<(), Failure> + Send + Sync>;

/// A stream that someone held in a variable.
#[derive(Clone)]
pub(crate) struct PointSpec {
    /// The actor at the root of each branch.
    pub(crate) roots: Vec<NodeId>,
    pub(crate) fused: Vec<&'static str>,
    /// The name of the `event_time` at its end, if there is one.
    pub(crate) event_time: Option<String>,
    /// Whether it comes straight out of an actor: then one of the actor's outputs has to be used, not each.
    pub(crate) is_output: bool,
    pub(crate) uses: Arc<AtomicUsize>,
}

impl PointSpec {
    pub(crate) fn is_used(&self) -> bool {
        self.uses.load(Ordering::Relaxed) > 0
    }
}

/// Makes the instances of an actor; the only part of a node that knows its types.
pub(crate) trait NodeBuild: Send + Sync {
    /// Finds what would keep it from working, before anything starts.
    fn check(&self, _fs: &Fs) -> Result<(), Error> {
        Ok(())
    }

    /// Prepares a start, once for each: a source looks for its splits. Returns the ids of the splits, if it is one.
    fn splits(&self) -> Result<Option<Vec<String>>, Error> {
        Ok(None)
    }

    /// Whether there is an end to what it reads, if it is a source.
    fn is_bounded(&self) -> bool {
        true
    }

    /// Finds out whether so many instances can take over what a checkpoint holds of it. What a kind of actor does not
    /// take would be lost, so each of them has to say.
    fn check_restored(&self, restored: &Restored, parallelism: usize) -> Result<(), Error>;

    /// Takes its output for this process, if it is a sink whose output two processes could replace for each other.
    fn claim(&self, _owner: &Owner, _fs: &Fs) -> Result<Option<Box<dyn OutputClaim>>, Error> {
        Ok(None)
    }

    /// Up to which checkpoint of a lineage something is visible outside.
    fn committed_through(&self, _lineage: &str, _fs: &Fs) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    /// The histories of which something is visible outside that an actor of this name wrote.
    fn lineages(&self, _operator: &str, _fs: &Fs) -> Result<BTreeSet<String>, Error> {
        Ok(BTreeSet::new())
    }

    /// The folder of the local disk that it writes to, if it is one.
    fn folder(&self) -> Option<PathBuf> {
        None
    }

    /// What can be seen of it, if it is a sink that can tell.
    fn visible(&self, _fs: &Fs) -> Result<Option<Vec<String>>, Error> {
        Ok(None)
    }

    /// Forgets what it shows in memory.
    fn forget(&self) {}

    /// Starts one instance.
    fn launch(&self, launch: Launch<'_>) -> Result<(), Failure>;
}
