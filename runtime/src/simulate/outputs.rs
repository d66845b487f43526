//! What sinks have shown, and how that differs from what they should have.

use std::collections::BTreeMap;

use std::fmt;
use watershed_actors::DeadLetter;

/// What a sink promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guarantee {
    ExactlyOnce,
    AtLeastOnce,
}

/// What the sinks of a topology have shown, by their names: one text for each record.
pub(crate) type Shown = BTreeMap<String, (Guarantee, Vec<String>)>;

/// What was seen of the sinks, across the lives of the process.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    shown: Shown,
    /// What was prepared, by sink and what its committable is encoded as.
    prepared: BTreeMap<(String, Vec<u8>), Prepared>,
    /// Runs that wrote something: whether what they left behind has been looked after.
    opened: BTreeMap<Opened, Left>,
    life: usize,
}

#[derive(Debug, Clone)]
struct Prepared {
    checkpoint: u64,
    records: Vec<String>,
    committed: bool,
}

/// A writer of an instance in a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Opened {
    pub(crate) sink: String,
    pub(crate) instance: usize,
    pub(crate) run: u32,
}

#[derive(Debug, Clone, Copy)]
struct Left {
    life: usize,
    settled: bool,
}

impl Outputs {
    pub(crate) fn begin_life(&mut self) {
        self.life += 1;
    }

    /// A sink is there, though it may never show anything.
    pub(crate) fn register(&mut self, sink: &str, guarantee: Guarantee) {
        if !self.shown.contains_key(sink) {
            self.shown.insert(sink.to_string(), (guarantee, Vec::new()));
        }
    }

    /// Records are where everybody can see them.
    pub(crate) fn show(&mut self, sink: &str, records: impl IntoIterator<Item = String>) {
        if let Some((_, shown)) = self.shown.get_mut(sink) {
            shown.extend(records.into_iter().map(|record| comparable(sink, record)));
        }
    }

    pub(crate) fn opened(&mut self, opened: Opened) {
        self.opened.insert(opened, Left { life: self.life, settled: false });
    }

    /// Something was prepared; whatever was removed of this run before, there is something again.
    pub(crate) fn prepared(&mut self, by: &Opened, id: Vec<u8>, checkpoint: u64, records: Vec<String>) {
        if let Some(left) = self.opened.get_mut(by) {
            left.settled = false;
        }
        let sink = &by.sink;
        self.prepared.insert((sink.clone(), id), Prepared { checkpoint, records, committed: false });
    }

    /// For which checkpoint something was prepared.
    pub(crate) fn checkpoint_of(&self, sink: &str, id: &[u8]) -> Option<u64> {
        self.prepared.get(&(sink.to_string(), id.to_vec())).map(|prepared| prepared.checkpoint)
    }

    /// What was prepared is committed: its records are shown, once.
    pub(crate) fn committed(&mut self, sink: &str, id: &[u8]) {
        let Some(prepared) = self.prepared.get_mut(&(sink.to_string(), id.to_vec())) else { return };
        if !std::mem::replace(&mut prepared.committed, true) {
            let records = std::mem::take(&mut prepared.records);
            self.show(sink, records);
        }
    }

    /// What these runs have left behind is removed: that of one instance, or of all.
    pub(crate) fn discarded(&mut self, sink: &str, runs: &std::ops::Range<u32>, instance: Option<usize>) {
        for (opened, left) in &mut self.opened {
            left.settled |= opened.sink == sink
                && runs.contains(&opened.run)
                && instance.is_none_or(|instance| instance == opened.instance);
        }
    }

    /// An instance whose earlier run may have left something behind that nobody has removed.
    pub(crate) fn left_behind(&self) -> Option<String> {
        let dangling = |(opened, left): (&Opened, &Left)| {
            let of_instance =
                |other: &&Opened| other.sink == opened.sink && other.instance == opened.instance;
            let newest = self.opened.keys().filter(of_instance).map(|other| other.run).max();
            let at_work = left.life == self.life && newest == Some(opened.run);
            (!left.settled && !at_work).then(|| {
                format!(
                    "what `{}[{}]` wrote in run {} and nothing names was not removed",
                    opened.sink, opened.instance, opened.run
                )
            })
        };
        self.opened.iter().find_map(dangling)
    }

    /// What was shown, each sink's records in order of the texts.
    pub(crate) fn sorted(&self) -> Shown {
        let mut shown = self.shown.clone();
        for (_, records) in shown.values_mut() {
            records.sort_unstable();
        }
        shown
    }
}

/// How the output of a sink differs from what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The sink.
    pub sink: String,
    /// What is missing; a record that is missing twice is there twice.
    pub missing: Vec<String>,
    /// What is there and should not be.
    pub too_much: Vec<String>,
}

/// Compares what was shown with what should be, sink by sink. Both are sorted. While the job has not finished, nothing is
/// missing.
pub(crate) fn compare(shown: &Shown, expected: &Shown, finished: bool) -> Vec<Difference> {
    let nothing = (Guarantee::ExactlyOnce, Vec::new());
    let mut differences = Vec::new();
    for (sink, (guarantee, expected)) in expected {
        let (_, shown) = shown.get(sink).unwrap_or(&nothing);
        let missing = if finished { less(expected, shown) } else { Vec::new() };
        let too_much = if *guarantee == Guarantee::ExactlyOnce { less(shown, expected) } else { Vec::new() };
        if !missing.is_empty() || !too_much.is_empty() {
            differences.push(Difference { sink: sink.clone(), missing, too_much });
        }
    }
    differences
}

/// What is in `one` more often than in `other`. Both are sorted.
fn less(one: &[String], other: &[String]) -> Vec<String> {
    let (mut left, mut other) = (Vec::new(), other.iter().peekable());
    for record in one {
        while other.next_if(|next| *next < record).is_some() {}
        if other.next_if(|next| *next == record).is_none() {
            left.push(record.clone());
        }
    }
    left
}

/// Records shown of each kind of difference.
const SHOWN: usize = 8;

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sink, missing, too_much } = self;
        writeln!(f, "  `{sink}`: {} records missing, {} too much", missing.len(), too_much.len())?;
        for (what, records) in [("missing ", missing), ("too much", too_much)] {
            for record in records.iter().take(SHOWN) {
                writeln!(f, "    {what}  {}", record.trim_end())?;
            }
            if records.len() > SHOWN {
                writeln!(f, "    {what}  … and {} more", records.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

/// What must be the same in all runs: of a dead letter, what was left out and by whom; when, in which attempt and how it
/// came about is different each time.
pub(crate) fn comparable(sink: &str, record: String) -> String {
    if !sink.ends_with(".dead-letters") {
        return record;
    }
    match serde_json::from_str::<DeadLetter>(&record) {
        Ok(letter) => format!("{}: {}", letter.operator, letter.evidence.payload),
        Err(_) => record,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(guarantee: Guarantee, records: &[&str]) -> Shown {
        [("sink".to_string(), (guarantee, records.iter().map(ToString::to_string).collect()))].into()
    }

    fn difference(
        guarantee: Guarantee,
        seen: &[&str],
        expected: &[&str],
        finished: bool,
    ) -> Option<(usize, usize)> {
        let found = compare(&shown(guarantee, seen), &shown(guarantee, expected), finished);
        found.first().map(|found| (found.missing.len(), found.too_much.len()))
    }

    #[test]
    fn records_are_compared_as_often_as_they_come() {
        let exactly = Guarantee::ExactlyOnce;
        assert_eq!(difference(exactly, &["a", "a", "b"], &["a", "a", "b"], true), None);
        assert_eq!(difference(exactly, &["a", "b"], &["a", "a", "b"], true), Some((1, 0)));
        assert_eq!(difference(exactly, &["a", "b", "b", "c"], &["a", "a", "b"], true), Some((1, 2)));
    }

    #[test]
    fn at_least_once_may_show_more_and_a_job_at_work_may_show_less() {
        assert_eq!(difference(Guarantee::AtLeastOnce, &["a", "a"], &["a"], true), None);
        assert_eq!(difference(Guarantee::AtLeastOnce, &["a"], &["a", "b"], true), Some((1, 0)));
        assert_eq!(difference(Guarantee::ExactlyOnce, &["a"], &["a", "b"], false), None);
        assert_eq!(difference(Guarantee::ExactlyOnce, &["a", "a"], &["a", "b"], false), Some((0, 1)));
    }

    fn opened(instance: usize, run: u32) -> Opened {
        Opened { sink: "sink".to_string(), instance, run }
    }

    #[test]
    fn a_run_that_was_superseded_has_to_be_cleaned_up_after() {
        let mut outputs = Outputs::default();
        outputs.begin_life();
        outputs.opened(opened(1, 5));
        assert_eq!(outputs.left_behind(), None);
        outputs.opened(opened(1, 6));
        assert!(outputs.left_behind().is_some());
        outputs.discarded("sink", &(0..6), Some(0));
        assert!(outputs.left_behind().is_some());
        outputs.discarded("sink", &(5..6), Some(1));
        assert_eq!(outputs.left_behind(), None);
        outputs.prepared(&opened(1, 5), Vec::new(), 3, Vec::new());
        assert!(outputs.left_behind().is_some());
        outputs.discarded("sink", &(5..6), Some(1));
        outputs.begin_life();
        assert!(outputs.left_behind().is_some());
        outputs.discarded("sink", &(0..7), None);
        assert_eq!(outputs.left_behind(), None);
    }
}
