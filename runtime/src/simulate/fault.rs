//! What can go wrong in a simulated run.

use crate::faults::SinkCall;
use std::fmt;

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// In which life of the process, from 0.
    pub life: usize,
    /// What happens.
    pub kind: FaultKind,
    /// When or where.
    pub place: FaultPlace,
    /// For how many operations, jobs or steps from there on.
    pub span: u64,
    /// How long it takes or is held back, in virtual microseconds.
    pub micros: u64,
}

/// A kind of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FaultKind {
    /// A task panics.
    Panic,
    /// The process is killed; what it wrote stays.
    Kill,
    /// The power goes; what was not synced may be lost.
    PowerCut,
    /// The job is asked to stop, and started again.
    Stop,
    /// An operator is rescaled while the job runs. Only where [`Simulator::rescales`](crate::Simulator::rescales) says
    /// that this must change nothing.
    Rescale,
    /// A task does nothing for a while.
    Stall,
    /// A task never comes back from what it does, and nothing else on its thread happens any more.
    Hang,
    /// What some channels carry arrives late.
    SlowEdge,
    /// File operations fail.
    DiskError,
    /// There is no room on the disk.
    DiskFull,
    /// Another process has written a file under the name that a file of an exactly-once sink is about to get, as
    /// another life of the same history would. It must stay as it is. Before the next life somebody moves it away.
    NameTaken,
    /// File operations take long.
    SlowDisk,
    /// Work beside the data path, like writing a part of a checkpoint, begins late.
    SlowJob,
    /// The control plane hears late of something that was done.
    LateReport,
    /// The control plane never hears that a part of a checkpoint is on disk.
    LostAcknowledgement,
    /// Somebody takes away the files of the newest checkpoint, and puts them back when the process has ended.
    LostFiles,
    /// A sink returns an error.
    SinkError,
    /// A sink panics.
    SinkPanic,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 18] = [
        FaultKind::Panic,
        FaultKind::Kill,
        FaultKind::PowerCut,
        FaultKind::Stop,
        FaultKind::Rescale,
        FaultKind::Stall,
        FaultKind::Hang,
        FaultKind::SlowEdge,
        FaultKind::DiskError,
        FaultKind::DiskFull,
        FaultKind::NameTaken,
        FaultKind::SlowDisk,
        FaultKind::SlowJob,
        FaultKind::LateReport,
        FaultKind::LostAcknowledgement,
        FaultKind::SinkError,
        FaultKind::SinkPanic,
        FaultKind::LostFiles,
    ];

    /// Whether the process ends with it.
    pub(crate) fn is_death(self) -> bool {
        matches!(self, Self::Kill | Self::PowerCut)
    }

    /// Whether the job may end with an error because of it: by the user's policy, or as somebody has to repair the
    /// disk.
    pub(crate) fn excuses_error(self) -> bool {
        matches!(
            self,
            Self::Panic
                | Self::Hang
                | Self::DiskError
                | Self::DiskFull
                | Self::LostFiles
                | Self::NameTaken
                | Self::SinkError
                | Self::SinkPanic
        )
    }

    /// Whether it lasts for some steps, which others do not notice.
    pub(crate) fn is_slowness(self) -> bool {
        matches!(self, Self::SlowDisk | Self::SlowEdge)
    }
}

/// Where in a life something happens. All numbers begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultPlace {
    /// At this step of the scheduler.
    Step(u64),
    /// At this file operation.
    FileOperation(u64),
    /// At the file operation that follows this rename.
    Rename(u64),
    /// At this job beside the data path.
    Job(u64),
    /// At this report of something done beside the data path.
    Report(u64),
    /// At this acknowledgement of a part of a checkpoint.
    Acknowledgement(u64),
    /// At this call of a sink.
    SinkCall(SinkCall, u64),
}

impl FaultPlace {
    /// The number in it.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Step(n)
            | Self::FileOperation(n)
            | Self::Rename(n)
            | Self::Job(n)
            | Self::Report(n)
            | Self::Acknowledgement(n)
            | Self::SinkCall(_, n) => n,
        }
    }

    /// The same with another number.
    pub(crate) fn at(self, number: u64) -> Self {
        match self {
            Self::Step(_) => Self::Step(number),
            Self::FileOperation(_) => Self::FileOperation(number),
            Self::Rename(_) => Self::Rename(number),
            Self::Job(_) => Self::Job(number),
            Self::Report(_) => Self::Report(number),
            Self::Acknowledgement(_) => Self::Acknowledgement(number),
            Self::SinkCall(call, _) => Self::SinkCall(call, number),
        }
    }
}

impl fmt::Display for FaultPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(n) => write!(f, "step {n}"),
            Self::FileOperation(n) => write!(f, "file operation {n}"),
            Self::Rename(n) => write!(f, "after rename {n}"),
            Self::Job(n) => write!(f, "job {n}"),
            Self::Report(n) => write!(f, "report {n}"),
            Self::Acknowledgement(n) => write!(f, "acknowledgement {n}"),
            Self::SinkCall(call, n) => write!(
                f,
                "{} {n}",
                match call {
                    SinkCall::Open => "opening",
                    SinkCall::Discard => "discard",
                    SinkCall::Write => "write",
                    SinkCall::Flush => "flush",
                    SinkCall::Prepare => "prepare",
                    SinkCall::FinishPreparing => "end of prepare",
                    SinkCall::Commit => "commit",
                    SinkCall::AfterCommit => "end of commit",
                }
            ),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { life, kind, place, span, micros } = self;
        let ms = *micros as f64 / 1_000.0;
        write!(f, "life {}, {place}: ", life + 1)?;
        match kind {
            FaultKind::Panic => f.write_str("a task panics"),
            FaultKind::Kill => f.write_str("the process is killed"),
            FaultKind::PowerCut => f.write_str("the power goes"),
            FaultKind::Stop => f.write_str("the job is asked to stop"),
            FaultKind::Rescale => f.write_str("an operator is rescaled"),
            FaultKind::Stall => write!(f, "a task does nothing for {ms} ms"),
            FaultKind::Hang => f.write_str("a task hangs, and all on its thread with it"),
            FaultKind::SlowEdge => {
                write!(f, "for {span} steps some channels deliver {ms} ms late")
            }
            FaultKind::DiskError => write!(f, "{span} file operations fail"),
            FaultKind::DiskFull => write!(f, "no room on the disk for {span} operations"),
            FaultKind::NameTaken => f.write_str("the name of the next file of output is taken"),
            FaultKind::SlowDisk => {
                write!(f, "for {span} steps each file operation takes {ms} ms")
            }
            FaultKind::SlowJob => write!(f, "{span} jobs begin {ms} ms late"),
            FaultKind::LateReport => write!(f, "it comes {ms} ms late"),
            FaultKind::LostAcknowledgement => f.write_str("it never comes"),
            FaultKind::LostFiles => f.write_str("the files of the newest checkpoint are taken away"),
            FaultKind::SinkError => f.write_str("the sink returns an error"),
            FaultKind::SinkPanic => f.write_str("the sink panics"),
        }
    }
}
