//! What happened in a simulated run, for people.

use std::fmt;

/// The timeline of a run, over all lives of the process.
#[derive(Debug, Default, Clone)]
pub(crate) struct Journal {
    entries: Vec<Entry>,
    dropped: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    life: usize,
    nanos: u64,
    step: u64,
    note: Note,
}

/// Something worth a line.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    LifeBegins(String),
    /// Instances of a run are launched.
    Launched(u64),
    CheckpointBegun(u64),
    CheckpointComplete(u64),
    CheckpointGivenUp(u64),
    ManifestNotStored(u64),
    /// A part of a checkpoint could not be written.
    Declined(String, u64),
    /// A task failed in a run.
    Failed(String, u64, String),
    Fault(String),
    /// Something was asked of the job, or answered.
    Asked(String),
    LifeEnds(String),
}

/// Lines kept at most; a run with more has gone wrong long before.
const ENTRIES_MAX: usize = 10_000;
/// Lines shown, of the beginning and of the end.
const SHOWN_FIRST: usize = 25;
const SHOWN_LAST: usize = 55;

/// Of the cause of a failure, so much is shown.
const CAUSE_CHARS: usize = 160;

impl Journal {
    pub(crate) fn add(&mut self, life: usize, nanos: u64, step: u64, note: Note) {
        if self.entries.len() < ENTRIES_MAX {
            self.entries.push(Entry { life, nanos, step, note });
        } else {
            self.dropped += 1;
        }
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  life        ms   step")?;
        let left_out = self.entries.len().saturating_sub(SHOWN_FIRST + SHOWN_LAST);
        for (index, Entry { life, nanos, step, note }) in self.entries.iter().enumerate() {
            if left_out > 0 && index == SHOWN_FIRST {
                writeln!(f, "  … {left_out} lines left out")?;
            }
            if index < SHOWN_FIRST || index >= SHOWN_FIRST + left_out {
                let ms = *nanos as f64 / 1e6;
                writeln!(f, "  {:>4} {ms:>9.2} {step:>6}  {note}", life + 1)?;
            }
        }
        if self.dropped > 0 {
            writeln!(f, "  … and {} more", self.dropped)?;
        }
        Ok(())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LifeBegins(how) => write!(f, "the process begins: {how}"),
            Self::Launched(run) => write!(f, "tasks are launched in run {run}"),
            Self::CheckpointBegun(id) => write!(f, "checkpoint {id} begins"),
            Self::CheckpointComplete(id) => write!(f, "checkpoint {id} is complete"),
            Self::CheckpointGivenUp(id) => write!(f, "checkpoint {id} is given up"),
            Self::ManifestNotStored(id) => write!(f, "the manifest of checkpoint {id} cannot be stored"),
            Self::Declined(name, id) => write!(f, "{name} cannot make its part of checkpoint {id}"),
            Self::Failed(name, run, cause) => {
                let short: String = cause.chars().take(CAUSE_CHARS).collect();
                let rest = if short.len() < cause.len() { "…" } else { "" };
                write!(f, "{name} failed in run {run}: {short}{rest}")
            }
            Self::Fault(what) => write!(f, "FAULT {what}"),
            Self::Asked(what) => f.write_str(what),
            Self::LifeEnds(how) => write!(f, "the process ends: {how}"),
        }
    }
}
