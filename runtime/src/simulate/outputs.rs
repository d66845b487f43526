//! What sinks have shown, and how that differs from what they should have.

use crate::faults::Guarantee;
use crate::faults::Opened;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use watershed_actors::DeadLetter;

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
            shown.extend(records.into_iter().map(comparable));
        }
    }

    pub(crate) fn opened(&mut self, opened: Opened) {
        // One that comes back from a hang when the next run has cleaned up already finds that its run is over, and
        // writes nothing.
        let is_over = self.opened.keys().any(|other| {
            (&other.sink, other.instance) == (&opened.sink, opened.instance) && other.run > opened.run
        });
        self.opened.insert(opened, Left { life: self.life, settled: is_over });
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
    pub(crate) fn discarded(&mut self, sink: &str, runs: &std::ops::Range<u64>, instance: Option<usize>) {
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

/// Compares what was shown with what should be, sink by sink. Both are sorted. While the job has not finished, nothing
/// is missing.
pub(crate) fn compare(shown: &Shown, expected: &Shown, finished: bool) -> Vec<Difference> {
    let mut differences = Vec::new();
    let sinks: BTreeSet<&String> = shown.keys().chain(expected.keys()).collect();
    for sink in sinks {
        let guarantee = expected.get(sink).or_else(|| shown.get(sink)).map(|(guarantee, _)| *guarantee);
        let (shown, expected) = (records_of(shown, sink), records_of(expected, sink));
        let missing = if finished { less(expected, shown) } else { Vec::new() };
        let mut too_much = less(shown, expected);
        if guarantee == Some(Guarantee::AtLeastOnce) {
            // Again, but nothing else.
            too_much.retain(|record| expected.binary_search(record).is_err());
        }
        if !missing.is_empty() || !too_much.is_empty() {
            differences.push(Difference { sink: sink.clone(), missing, too_much });
        }
    }
    differences
}

fn records_of<'a>(shown: &'a Shown, sink: &str) -> &'a [String] {
    shown.get(sink).map_or(&[], |(_, records)| records)
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

/// What must be the same in all runs. Of a dead letter that is what was left out, by whom and why, but not what depends
/// on the run or the parallelism; it is known by its fields, wherever in the record it is.
pub(crate) fn comparable(record: String) -> String {
    if !record.contains("\"at_ms\"") {
        return record;
    }
    let Ok(mut value) = serde_json::from_str::<Value>(&record) else { return record };
    if blank_letters(&mut value) { value.to_string() } else { record }
}

/// Takes out of the dead letters in it what is another in each run. Returns whether there are any.
fn blank_letters(value: &mut Value) -> bool {
    match value {
        Value::Array(values) => blank_all(values.iter_mut()),
        Value::Object(fields) => {
            let Ok(letter) = DeadLetter::deserialize(&Value::Object(fields.clone())) else {
                return blank_all(fields.values_mut());
            };
            *value = serde_json::to_value(blank(letter)).unwrap_or_default();
            true
        }
        _ => false,
    }
}

fn blank_all<'a>(values: impl Iterator<Item = &'a mut Value>) -> bool {
    values.map(blank_letters).filter(|any| *any).count() > 0
}

fn blank(mut letter: DeadLetter) -> DeadLetter {
    (letter.id, letter.at_ms, letter.instance) = (String::new(), 0, 0);
    (letter.backtrace, letter.replay_of) = (None, None);
    (letter.evidence.position, letter.evidence.channel) = (None, None);
    if letter.panicked {
        // The last of its panics may have been another's.
        (letter.attempts, letter.cause) = (0, String::new());
    }
    letter
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        assert_eq!(difference(Guarantee::AtLeastOnce, &["a", "b", "b"], &["a"], false), Some((0, 2)));
        assert_eq!(difference(Guarantee::ExactlyOnce, &["a"], &["a", "b"], false), None);
        assert_eq!(difference(Guarantee::ExactlyOnce, &["a", "a"], &["a", "b"], false), Some((0, 1)));
    }

    #[test]
    fn a_sink_of_which_nothing_is_expected_must_show_nothing() {
        for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
            let found = compare(&shown(guarantee, &["a"]), &Shown::new(), true);
            assert_eq!(found[0].too_much, ["a"]);
            assert!(compare(&shown(guarantee, &[]), &Shown::new(), true).is_empty());
        }
    }

    fn letter(payload: u64, run: u64, panicked: bool) -> Value {
        json!({
            "id": format!("id-{run}"),
            "operator": "chokes",
            "instance": run,
            "evidence": {
                "stage": "process", "place": "input", "payload": payload, "encoded": "BQ==", "channel": run
            },
            "attempts": if panicked { run } else { 1 },
            "panicked": panicked,
            "cause": if panicked { format!("in run {run}") } else { "it is refused".to_string() },
            "backtrace": format!("in run {run}"),
            "at_ms": 1_000 + run,
        })
    }

    #[test]
    fn of_dead_letters_only_that_is_compared_which_is_the_same_in_all_runs() {
        let of = |letter: Value| comparable(letter.to_string());
        for panicked in [false, true] {
            assert_eq!(of(letter(5, 1, panicked)), of(letter(5, 2, panicked)));
            assert_ne!(of(letter(5, 1, panicked)), of(letter(6, 1, panicked)));
        }
        let with_cause = |cause: &str| {
            let mut letter = letter(5, 1, false);
            letter["cause"] = cause.into();
            of(letter)
        };
        assert_ne!(with_cause("one"), with_cause("another"));
        let inside = |run| json!({ "nth": 3, "letters": [letter(5, run, false)], "at_ms": 7 });
        assert_eq!(of(inside(1)), of(inside(2)));
        assert!(of(inside(1)).contains("\"at_ms\":7"));
        assert_eq!(comparable("{\"at_ms\": 3}".to_string()), "{\"at_ms\": 3}");
    }

    fn opened(instance: usize, run: u64) -> Opened {
        Opened { sink: "sink".to_string(), instance, run }
    }

    #[test]
    fn a_run_that_opens_when_the_next_one_is_there_already_leaves_nothing() {
        let mut outputs = Outputs::default();
        outputs.begin_life();
        outputs.opened(opened(1, 6));
        outputs.opened(opened(1, 5));
        assert_eq!(outputs.left_behind(), None);
        outputs.opened(opened(1, 7));
        assert!(outputs.left_behind().is_some());
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
