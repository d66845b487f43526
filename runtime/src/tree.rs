//! The supervision tree as data.

mod lines;
mod states;

pub use states::{ActorKind, InstanceState, RegionState, SupervisionLevel};

use std::fmt;

use serde::{Deserialize, Serialize};
use watershed_actors::{FailureKind, ProgressUnit, Times};

/// A picture of the supervision tree: job → region → operator → instance.
///
/// What is counted is a total. A rate or a share of the last seconds is the difference of two pictures: see
/// [`Shares::between`] and [`Tree::taken_nanos`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Name of the topology.
    pub job: String,
    /// Identity of this history of the job.
    pub lineage: String,
    /// When the picture was taken, in milliseconds since 1970.
    pub taken_ms: i64,
    /// The same on a clock that never goes back, in nanoseconds.
    pub taken_nanos: u64,
    /// The newest complete checkpoint.
    pub checkpoint: Option<u64>,
    /// What is known of it.
    pub newest_checkpoint: Option<CheckpointNode>,
    /// What is rolled back together.
    pub regions: Vec<RegionNode>,
}

/// A complete checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointNode {
    /// Its id.
    pub id: u64,
    /// When it was complete, in milliseconds since 1970.
    pub completed_ms: i64,
    /// How long it took from its trigger until it was complete, or, of one that an earlier process has made, until its
    /// parts were written; not known of one that was written offline.
    pub duration_ms: Option<u64>,
    /// Bytes of all that it consists of.
    pub bytes: u64,
    /// Bytes of what was written for it, rather than for a checkpoint before.
    #[serde(default)]
    pub new_bytes: u64,
}

/// A region of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionNode {
    /// Number, from 0.
    pub region: usize,
    /// Where it is in its life.
    pub state: RegionState,
    /// Its run; grows with each restart.
    pub run: u64,
    /// Restarts since the process began.
    pub restarts: u32,
    /// Why it was restarted last.
    pub last_failure: Option<String>,
    /// The last few failures, oldest first: why it was restarted.
    pub recent_failures: Vec<FailureNode>,
    /// Its operators.
    pub operators: Vec<OperatorNode>,
}

/// A failure, as the control plane has heard of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureNode {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who failed: `operator[instance]`.
    pub instance: String,
    /// In which run.
    pub run: u64,
    /// How.
    pub kind: FailureKind,
    /// What happened, for people.
    pub cause: String,
    /// The key of the record in process, as JSON, where known.
    pub key: Option<String>,
    /// In the list of a region: who decided on the restart that followed, if one did.
    pub restarted_by: Option<SupervisionLevel>,
}

/// An operator of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorNode {
    /// Name.
    pub operator: String,
    /// What it is.
    pub kind: ActorKind,
    /// Its instances.
    pub instances: Vec<InstanceNode>,
}

/// An instance of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceNode {
    /// Number, from 0.
    pub instance: usize,
    /// Number of the arbiter (thread) it lives on.
    pub arbiter: usize,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Its run; grows with each restart of its region.
    pub run: u64,
    /// Records taken in since the process began (read, for a source). Those that come again after a restart count
    /// again.
    pub records: u64,
    /// Their size in memory, without what they point to: the text of a `String` is not in it.
    pub bytes: u64,
    /// Records sent to other actors since the process began; one that goes to two of them counts twice.
    pub records_sent: u64,
    /// Their size in memory, without what they point to.
    pub bytes_sent: u64,
    /// Records that were set aside for good, instead of being processed.
    pub records_skipped: u64,
    /// Records that wait, as their key is parked.
    pub records_parked: u64,
    /// Messages that were sent to it and are not worked off: those that wait, and the one at hand.
    pub mailbox: u32,
    /// How many that can be: the credits of all channels to it.
    pub mailbox_capacity: u32,
    /// Messages that it may send before one has to be worked off, on all of its channels together.
    pub credits: u32,
    /// Credits of all of its channels, those that are out included.
    pub credits_total: u32,
    /// How far it has come, if it is a source that ends.
    #[serde(default)]
    pub progress: Option<ProgressNode>,
    /// Where its time went.
    pub time: TimeNode,
    /// How far event time has come: the combined watermark of its inputs, or the highest that it has sent if it is a
    /// source. `i64::MAX` is the end of the input.
    pub watermark: Option<i64>,
    /// How often it was the one that failed.
    pub failures: u32,
    /// How it failed last.
    pub last_failure: Option<String>,
    /// Its last few failures, oldest first.
    pub recent_failures: Vec<FailureNode>,
}

/// How far an instance of a source that ends has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressNode {
    /// Splits that it has read to their end.
    pub splits_finished: u64,
    /// All splits that fall to it.
    pub splits: u64,
    /// How far the split is that it reads, where its reader knows.
    pub at_hand: Option<SplitNode>,
}

/// How far a split has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitNode {
    /// What has been read of it.
    pub done: u64,
    /// All of it.
    pub total: u64,
    /// What both are counted in.
    pub unit: ProgressUnit,
}

impl ProgressNode {
    /// The share of its splits that has been read, in percent, each taken for as long as the others.
    pub fn percent(&self) -> u64 {
        let of_split = |split: &SplitNode| split.done.min(split.total) as f64 / split.total.max(1) as f64;
        let is_over = self.splits_finished >= self.splits;
        let at_hand = self.at_hand.as_ref().filter(|_| !is_over).map_or(0.0, of_split);
        ((self.splits_finished as f64 + at_hand) * 100.0 / self.splits.max(1) as f64) as u64
    }
}

/// Where the time of an instance went since the process began. While its region is down nothing is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeNode {
    /// At work, or waiting for its turn on its thread.
    pub busy_nanos: u64,
    /// Waiting for input.
    pub idle_nanos: u64,
    /// Waiting for room in an output.
    pub blocked_nanos: u64,
}

/// Shares of time, in percent. Together they are 100, but for rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// At work, or waiting for its turn on its thread.
    pub busy: u64,
    /// Waiting for input.
    pub idle: u64,
    /// Waiting for room in an output: held back by those behind it.
    pub blocked: u64,
}

impl Shares {
    /// Shares of the time from one picture of an instance to a later one; `None` if it was not there.
    pub fn between(before: TimeNode, after: TimeNode) -> Option<Self> {
        let busy = after.busy_nanos.saturating_sub(before.busy_nanos);
        let idle = after.idle_nanos.saturating_sub(before.idle_nanos);
        let blocked = after.blocked_nanos.saturating_sub(before.blocked_nanos);
        let whole = u128::from(busy) + u128::from(idle) + u128::from(blocked);
        if whole == 0 {
            return None;
        }
        let percent = |part: u64| ((u128::from(part) * 100 + whole / 2) / whole) as u64;
        Some(Self { busy: percent(busy), idle: percent(idle), blocked: percent(blocked) })
    }
}

impl From<Times> for TimeNode {
    fn from(times: Times) -> Self {
        let Times { busy_nanos, idle_nanos, blocked_nanos } = times;
        Self { busy_nanos, idle_nanos, blocked_nanos }
    }
}

impl Tree {
    /// How long ago the newest checkpoint was complete, in milliseconds.
    pub fn checkpoint_age_ms(&self) -> Option<u64> {
        let newest = self.newest_checkpoint.as_ref()?;
        Some(u64::try_from(self.taken_ms.saturating_sub(newest.completed_ms)).unwrap_or(0))
    }

    /// The instance of this name and number.
    pub fn instance(&self, operator: &str, instance: usize) -> Option<&InstanceNode> {
        let operators = self.regions.iter().flat_map(|region| &region.operators);
        let mut found = operators.filter(|node| node.operator == operator);
        found.next()?.instances.iter().find(|node| node.instance == instance)
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}
