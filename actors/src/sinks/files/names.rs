//! Names of files, which say whose they are.
//!
//! Names are read from the end, as the name of an operator may contain what separates the parts.

#[cfg(test)]
mod tests;

use std::fmt;

use watershed_state::is_plain_name;

/// Name of a file whose checkpoint is not complete. It is hidden, and does not end like a finished one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingName<'a> {
    pub(super) operator: &'a str,
    pub(super) lineage: &'a str,
    pub(super) run: u64,
    pub(super) instance: usize,
    /// Counts the files of the run.
    pub(super) number: u64,
}

/// Name of a file that everyone may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FinishedName<'a> {
    pub(super) operator: &'a str,
    pub(super) lineage: &'a str,
    pub(super) checkpoint: u64,
    pub(super) instance: usize,
    pub(super) extension: &'a str,
}

/// Name of the file that says which process writes for a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkName<'a> {
    pub(super) operator: &'a str,
    pub(super) lineage: &'a str,
    /// The first run of the process.
    pub(super) run: u64,
}

const PENDING: &str = ".pending-";
const MARK: &str = ".owner-";

impl<'a> PendingName<'a> {
    /// `None` for every other name.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let mut parts = name.strip_prefix(PENDING)?.rsplitn(5, '-');
        let number = number(parts.next()?)?;
        let instance = number_of(parts.next()?)?;
        let run = number_of(parts.next()?.strip_prefix('r')?)?;
        Some(Self { number, instance, run, lineage: parts.next()?, operator: parts.next()? })
    }
}

impl fmt::Display for PendingName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operator, lineage, run, instance, number } = self;
        write!(f, "{PENDING}{operator}-{lineage}-r{run}-{instance}-{number}")
    }
}

impl<'a> FinishedName<'a> {
    /// `None` for every other name, also for one with another extension.
    pub(super) fn parse(name: &'a str, extension: &'a str) -> Option<Self> {
        let mut parts = name.strip_suffix(extension)?.strip_suffix('.')?.rsplitn(4, '-');
        let instance = number_of(parts.next()?)?;
        let checkpoint = number(parts.next()?)?;
        Some(Self { instance, checkpoint, lineage: parts.next()?, operator: parts.next()?, extension })
    }
}

impl fmt::Display for FinishedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operator, lineage, checkpoint, instance, extension } = self;
        write!(f, "{operator}-{lineage}-{checkpoint:012}-{instance}.{extension}")
    }
}

impl<'a> MarkName<'a> {
    /// `None` for every other name.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let mut parts = name.strip_prefix(MARK)?.rsplitn(3, '-');
        let run = number_of(parts.next()?.strip_prefix('r')?)?;
        Some(Self { run, lineage: parts.next()?, operator: parts.next()? })
    }
}

impl fmt::Display for MarkName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operator, lineage, run } = self;
        write!(f, "{MARK}{operator}-{lineage}-r{run}")
    }
}

/// Whether these are names as this sink gives them, of files in its folder.
pub(super) fn are_of_a_part(pending: &str, finished: &str) -> bool {
    let extension = finished.rsplit_once('.').map_or("", |(_, extension)| extension);
    is_plain_name(pending)
        && is_plain_name(finished)
        && PendingName::parse(pending).is_some()
        && FinishedName::parse(finished, extension).is_some_and(|name| !name.operator.starts_with('.'))
}

/// The file that somebody puts beside a finished one to say that it is right as it is, or right that it is gone.
pub(super) fn accepted(finished: &str) -> String {
    format!(".accepted-{finished}")
}

/// A number in plain digits; `parse` alone would also take a sign.
fn number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

fn number_of<N: TryFrom<u64>>(digits: &str) -> Option<N> {
    number(digits)?.try_into().ok()
}
