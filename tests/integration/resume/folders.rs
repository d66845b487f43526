//! Real threads and real folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{End, Job, Outcome};

/// Numbers the occurrences of each word.
struct Count;

impl Process for Count {
    type Key = String;
    type In = String;
    type Out = (String, u64);
    type State = u64;

    fn on_record(&self, word: String, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.emit((word, *count));
        Ok(())
    }
}

/// A job and its folders.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        fs::create_dir(place.folder("in")).unwrap();
        place
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, words: &[&str]) {
        fs::write(self.folder("in").join(name), words.join("\n")).unwrap();
    }

    fn config(&self) -> Config {
        Config::local().slots(2).checkpoints(self.folder("checkpoints")).checkpoint_interval(millis(5))
    }

    fn count_words(&self) -> Topology {
        let topology = Topology::new("words");
        let words = topology.source("lines", Lines::from_folder(self.folder("in")).split_bytes(10));
        let counts = words.key_by(String::clone).actor("count", Count);
        counts.sink_exactly_once("out", Files::jsonl(self.folder("out")));
        topology
    }

    /// What is visible, sorted.
    fn shown(&self) -> Vec<(String, u64)> {
        let mut shown = Vec::new();
        for file in visible(&self.folder("out")) {
            let text = fs::read_to_string(file).unwrap();
            shown.extend(text.lines().map(|line| serde_json::from_str::<(String, u64)>(line).unwrap()));
        }
        shown.sort();
        shown
    }
}

fn visible(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect()
}

/// Each word with each of its numbers, sorted.
fn counts(words: &[&str]) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::new();
    let mut expected = Vec::new();
    for word in words {
        let count: &mut u64 = counts.entry(*word).or_default();
        *count += 1;
        expected.push((word.to_string(), *count));
    }
    expected.sort();
    expected
}

const FIRST: [&str; 6] = ["a", "b", "a", "c", "a", "b"];
const SECOND: [&str; 5] = ["b", "d", "a", "d", "b"];

#[test]
fn a_finished_job_goes_on_with_a_new_file_and_with_its_counts() {
    let place = Place::new();
    place.write("day-2", &FIRST);
    let end = || place.count_words().run(place.config()).unwrap().end;
    assert_eq!((end(), place.shown()), (End::Finished, counts(&FIRST)));
    assert_eq!((end(), place.shown()), (End::AlreadyFinished, counts(&FIRST)));
    place.write("day-1", &SECOND);
    let both = counts(&[&FIRST[..], &SECOND].concat());
    assert_eq!((end(), place.shown()), (End::Finished, both.clone()));
    assert_eq!((end(), place.shown()), (End::AlreadyFinished, both));
}

#[test]
fn without_a_checkpoint_folder_a_job_shows_everything_at_its_end() {
    let place = Place::new();
    place.write("day-1", &FIRST);
    let config = Config::local().slots(2);
    assert_eq!(place.count_words().run(config).unwrap().end, End::Finished);
    assert_eq!(place.shown(), counts(&FIRST));
}

const RECORDS: u64 = 20_000;

/// Numbers the records of each key; slow at first, so that there is time to stop it.
fn slow(place: &Place, rate: f64) -> Topology {
    let topology = Topology::new("slow");
    let numbers = Generator::bounded(RECORDS, |n| format!("key-{}", n % 100)).splits(2);
    let words = topology.source("numbers", numbers).rate(rate);
    let counts = words.key_by(String::clone).actor("count", Count);
    counts.sink_exactly_once("out", Files::jsonl(place.folder("out")));
    topology
}

/// Stops a job when it has read so many records.
fn stop_after(job: Job, records: u64) -> Outcome {
    let read = |job: &Job| -> u64 {
        let tree = job.tree().unwrap();
        tree.regions[0].operators[0].instances.iter().map(|instance| instance.records).sum()
    };
    while read(&job) < records {
        std::thread::yield_now();
    }
    job.stop().unwrap();
    job.wait().unwrap()
}

#[test]
fn a_job_that_was_stopped_goes_on_exactly_where_it_was_with_any_parallelism() {
    let place = Place::new();
    let mut before = 0;
    for (parallelism, rate) in [(2, 2_000.0), (3, 3_000.0), (1, 4_000.0)] {
        let job = slow(&place, rate).start(place.config().parallelism(parallelism)).unwrap();
        assert_eq!(stop_after(job, 200).end, End::Stopped);
        let shown = place.shown().len();
        assert!(shown > before, "what was read before the stop is not visible");
        before = shown;
    }
    assert!((before as u64) < RECORDS);
    let outcome = slow(&place, 1e9).run(place.config().parallelism(4)).unwrap();
    assert_eq!(outcome.end, End::Finished);
    let mut expected: Vec<(String, u64)> =
        (0..RECORDS).map(|n| (format!("key-{}", n % 100), n / 100 + 1)).collect();
    expected.sort();
    assert_eq!(place.shown(), expected);
}

#[test]
fn a_job_that_was_cancelled_shows_nothing_past_its_last_checkpoint_and_goes_on_from_there() {
    let place = Place::new();
    let job = slow(&place, 2_000.0).start(place.config().checkpoint_interval(minutes(5))).unwrap();
    while job.tree().unwrap().regions[0].operators[0].instances[0].records < 100 {
        std::thread::yield_now();
    }
    job.cancel().unwrap();
    let outcome = job.wait().unwrap();
    assert_eq!((outcome.end, outcome.checkpoints), (End::Cancelled, 0));
    assert_eq!(visible(&place.folder("out")), [] as [PathBuf; 0]);
    assert_eq!(slow(&place, 1e9).run(place.config()).unwrap().end, End::Finished);
    assert_eq!(place.shown().len() as u64, RECORDS);
    let names = fs::read_dir(place.folder("out")).unwrap().map(|entry| entry.unwrap().file_name());
    let left = names.filter(|name| !name.to_string_lossy().starts_with(".owner-")).count();
    assert_eq!(left, visible(&place.folder("out")).len(), "what the cancelled run wrote is still there");
}
