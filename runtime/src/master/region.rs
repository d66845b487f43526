//! A region: what is connected by channels, fails together and is rolled back together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use watershed_actors::{Fence, TaskId};
use watershed_state::InstancePart;

use crate::master::history::RecentFailures;
use crate::tree::RegionState;

pub(crate) struct Region {
    pub(crate) tasks: Vec<TaskId>,
    pub(crate) phase: Phase,
    /// The run that is in force, or was last.
    pub(crate) run: u64,
    pub(crate) fence: Arc<Fence>,
    pub(crate) restarts: u32,
    pub(crate) last_failure: Option<String>,
    pub(crate) recent_failures: RecentFailures,
    /// Its part of the newest checkpoint of this process; `None` as long as there is none.
    pub(crate) parts: Option<BTreeMap<TaskId, InstancePart>>,
    /// Sources that have given their last record in this run.
    pub(crate) ended_sources: BTreeSet<TaskId>,
    /// When it failed, to tell how long the recovery took.
    pub(crate) failed_at: Option<u64>,
}

/// Where a region is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its tasks are being made and restored.
    Starting { waiting: BTreeSet<TaskId> },
    /// All of its tasks are at work.
    Running,
    /// It has failed; what is left of it is being stopped. It may begin anew at `restart_at`.
    Stopping { waiting: BTreeSet<TaskId>, deadline: u64, restart_at: u64 },
    /// Nothing is left of it; it begins anew at this time.
    Backoff { until: u64 },
    /// Its part of the checkpoint is being read.
    Loading,
    /// The job is over.
    Ended,
}

impl Region {
    pub(crate) fn new(tasks: Vec<TaskId>, run: u64) -> Self {
        Self {
            tasks,
            phase: Phase::Backoff { until: 0 },
            run,
            fence: Arc::new(Fence::new(run)),
            restarts: 0,
            last_failure: None,
            recent_failures: RecentFailures::default(),
            parts: None,
            ended_sources: BTreeSet::new(),
            failed_at: None,
        }
    }

    /// When something is due for it.
    pub(crate) fn alarm(&self, storing: bool) -> u64 {
        match &self.phase {
            Phase::Stopping { deadline, .. } => *deadline,
            // What it will restart from is known only when the manifest that is being written is there.
            Phase::Backoff { until } if !storing => *until,
            _ => u64::MAX,
        }
    }
}

impl Phase {
    pub(crate) fn state(&self) -> RegionState {
        match self {
            Self::Starting { .. } => RegionState::Starting,
            Self::Running => RegionState::Running,
            Self::Stopping { .. } => RegionState::Stopping,
            Self::Backoff { .. } => RegionState::Backoff,
            Self::Loading => RegionState::Loading,
            Self::Ended => RegionState::Ended,
        }
    }
}
