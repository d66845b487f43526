//! What is said of nodes of the tree in one word. Each is written in JSON as it is shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActorKind {
    /// It reads.
    #[serde(rename = "source")]
    Source,
    /// It runs a process function, or hands records on.
    #[serde(rename = "process")]
    Process,
    /// It writes at least once.
    #[serde(rename = "sink")]
    Sink,
    /// It writes exactly once.
    #[serde(rename = "exactly-once sink")]
    ExactlyOnceSink,
}

/// Where a region is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionState {
    /// Its instances are made and restored.
    Starting,
    /// It is at work.
    Running,
    /// Its instances are stopped, after a failure of one of them.
    Stopping,
    /// It waits before it starts again.
    Backoff,
    /// What it starts from is read.
    Loading,
    /// It is over.
    Ended,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// It is not there.
    #[default]
    Stopped,
    /// It is made and restored.
    Starting,
    /// It waits for the others of its region.
    Ready,
    /// It is at work.
    Running,
    /// It has done all of its work.
    Ended,
    /// It was told to stop.
    Stopping,
    /// It has failed.
    Failed,
    /// It was left behind with its thread, which does not come back.
    Abandoned,
}

/// Who decides about a failure, from the bottom to the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupervisionLevel {
    /// The operator, if it has a budget of its own.
    Operator,
    /// What is connected by channels.
    Region,
    /// All of it.
    Job,
}

impl ActorKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Process => "process",
            Self::Sink => "sink",
            Self::ExactlyOnceSink => "exactly-once sink",
        }
    }
}

impl RegionState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Loading => "loading",
            Self::Ended => "ended",
        }
    }
}

impl InstanceState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Ended => "ended",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

impl SupervisionLevel {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Region => "region",
            Self::Job => "job",
        }
    }
}

impl fmt::Display for ActorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for RegionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for SupervisionLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_written_in_json_as_it_is_shown() {
        use ActorKind::{ExactlyOnceSink, Process, Sink, Source};
        use InstanceState::{Abandoned, Ended, Failed, Ready, Stopped};
        use RegionState::{Backoff, Loading, Running, Starting, Stopping};
        for kind in [Source, Process, Sink, ExactlyOnceSink] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
        }
        for state in [Starting, Running, Stopping, Backoff, Loading, RegionState::Ended] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.to_string());
        }
        let others = [InstanceState::Starting, InstanceState::Running, InstanceState::Stopping];
        for state in [Stopped, Ready, Ended, Failed, Abandoned].into_iter().chain(others) {
            assert_eq!(serde_json::to_value(state).unwrap(), state.to_string());
        }
        for level in [SupervisionLevel::Operator, SupervisionLevel::Region, SupervisionLevel::Job] {
            assert_eq!(serde_json::to_value(level).unwrap(), level.to_string());
        }
    }
}
