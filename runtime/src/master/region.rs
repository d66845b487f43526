//! A region: what is connected by channels, fails together and is rolled back together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use watershed_actors::{Fence, TaskId};
use watershed_state::InstancePart;

use crate::escalation::Level;
use crate::master::history::RecentFailures;

pub(crate) struct Region {
    pub(crate) tasks: Vec<TaskId>,
    pub(crate) phase: Phase,
    /// The run that is in force, or was last.
    pub(crate) run: u32,
    pub(crate) fence: Arc<Fence>,
    pub(crate) restarts: u32,
    pub(crate) last_failure: Option<String>,
    pub(crate) recent_failures: RecentFailures,
    /// The last few restarts, oldest first.
    pub(crate) restart_reasons: VecDeque<RestartReason>,
    /// Its part of the newest checkpoint of this process; `None` as long as there is none.
    pub(crate) parts: Option<BTreeMap<TaskId, InstancePart>>,
    /// Sources that have given their last record in this run.
    pub(crate) ended_sources: BTreeSet<TaskId>,
    /// When it failed, to tell how long the recovery took.
    pub(crate) failed_at: Option<u64>,
}

/// Why a region was restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestartReason {
    /// When, in milliseconds since the Unix epoch.
    pub(crate) time_ms: i64,
    /// Who failed.
    pub(crate) task: TaskId,
    /// How.
    pub(crate) cause: String,
    /// Who decided to restart.
    pub(crate) level: Level,
}

/// Restarts that a region remembers.
const REASONS: usize = 8;

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
    pub(crate) fn new(tasks: Vec<TaskId>, run: u32) -> Self {
        Self {
            tasks,
            phase: Phase::Backoff { until: 0 },
            run,
            fence: Arc::new(Fence::new(run)),
            restarts: 0,
            last_failure: None,
            recent_failures: RecentFailures::default(),
            restart_reasons: VecDeque::new(),
            parts: None,
            ended_sources: BTreeSet::new(),
            failed_at: None,
        }
    }

    /// Remembers why it is restarted.
    pub(crate) fn note(&mut self, reason: RestartReason) {
        if self.restart_reasons.len() == REASONS {
            self.restart_reasons.pop_front();
        }
        self.restart_reasons.push_back(reason);
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
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Starting { .. } => "starting",
            Self::Running => "running",
            Self::Stopping { .. } => "stopping",
            Self::Backoff { .. } => "backoff",
            Self::Loading => "loading",
            Self::Ended => "ended",
        }
    }
}
