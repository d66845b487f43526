//! What the tests share: a topology that has a bit of everything, a disk, and what is visible on it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::{Outcome, SimulatedDisk, Simulation};

/// Somebody paid something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub(crate) card: u64,
    pub(crate) at: i64,
    pub(crate) amount: u64,
}

/// What [`Ledger`] says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// This was the nth payment of the card.
    Seen { card: u64, nth: u64 },
    /// So much was paid in the period that ended.
    Closed { card: u64, end: i64, sum: u64 },
    /// The payment came after its period had ended.
    Late { card: u64, at: i64 },
}

/// Numbers the payments of each card, adds them up by periods of event time, and sends large ones to a side output.
///
/// What it sends is, as a multiset, the same in whatever order the payments of two sources come.
pub(crate) struct Ledger {
    pub(crate) large: SideOutput<Payment>,
}

/// Length of a period, in milliseconds.
pub(crate) const PERIOD: i64 = 100;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    seen: u64,
    open: BTreeMap<i64, u64>,
}

impl Process for Ledger {
    type Key = u64;
    type In = Payment;
    type Out = Entry;
    type State = Account;

    fn on_record(
        &self,
        payment: Payment,
        account: &mut Account,
        context: &mut Context<'_, Self>,
    ) -> UserResult {
        let Payment { card, at, amount } = payment;
        if at <= context.watermark() {
            context.emit(Entry::Late { card, at });
            return Ok(());
        }
        account.seen += 1;
        let end = end_of_period(at);
        *account.open.entry(end).or_default() += amount;
        context.timer_at(end);
        context.emit(Entry::Seen { card, nth: account.seen });
        if is_large(&payment) {
            context.emit_to(&self.large, payment);
        }
        Ok(())
    }

    fn on_timer(&self, timer: Timer, account: &mut Account, context: &mut Context<'_, Self>) -> UserResult {
        let sum = account.open.remove(&timer.at).ok_or("a period ended twice")?;
        context.emit(Entry::Closed { card: *context.key(), end: timer.at, sum });
        Ok(())
    }
}

fn end_of_period(at: i64) -> i64 {
    at - at.rem_euclid(PERIOD) + PERIOD - 1
}

fn is_large(payment: &Payment) -> bool {
    payment.amount.is_multiple_of(7)
}

/// Payments of the two sources.
const LEFT: u64 = 60;
const RIGHT: u64 = 160;

fn left(n: u64) -> Payment {
    Payment { card: n % 5, at: n as i64 * 20, amount: 3 * n + 1 }
}

fn right(n: u64) -> Payment {
    Payment { card: n * n % 7, at: n as i64 * 15 + 4, amount: n + 2 }
}

/// Two sources of unequal length, a union, a keyed exchange, event-time timers, a side output, and exactly-once files.
pub(crate) fn payments() -> Topology {
    payments_of(LEFT, RIGHT)
}

/// [`payments`] with so many payments from each source.
pub(crate) fn payments_of(lefts: u64, rights: u64) -> Topology {
    let topology = Topology::new("payments");
    let large = SideOutput::new("large");
    let left = topology.source("left", Generator::bounded(lefts, left)).parallelism(1);
    let right = topology.source("right", Generator::bounded(rights, right)).parallelism(1);
    let entries = left
        .union(&right)
        .event_time(|payment| payment.at, Lateness::none())
        .key_by(|payment| payment.card)
        .actor("ledger", Ledger { large: large.clone() });
    entries.sink_exactly_once("entries", Files::jsonl("/out/entries"));
    entries.side(&large).sink_exactly_once("large", Files::jsonl("/out/large"));
    topology
}

/// What [`payments`] shows in the end, computed without the engine.
pub(crate) fn expected_payments() -> Shown {
    expected_payments_of(LEFT, RIGHT)
}

/// What [`payments_of`] shows in the end.
pub(crate) fn expected_payments_of(lefts: u64, rights: u64) -> Shown {
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let mut sums: BTreeMap<(u64, i64), u64> = BTreeMap::new();
    let mut entries = Vec::new();
    let mut large = Vec::new();
    for payment in (0..lefts).map(left).chain((0..rights).map(right)) {
        let card = payment.card;
        let nth = seen.entry(card).or_default();
        *nth += 1;
        entries.push(json(&Entry::Seen { card, nth: *nth }));
        *sums.entry((card, end_of_period(payment.at))).or_default() += payment.amount;
        if is_large(&payment) {
            large.push(json(&payment));
        }
    }
    entries.extend(sums.into_iter().map(|((card, end), sum)| json(&Entry::Closed { card, end, sum })));
    entries.sort();
    large.sort();
    BTreeMap::from([("/out/entries", entries), ("/out/large", large)])
}

/// The lines visible in each output folder, sorted.
pub(crate) type Shown = BTreeMap<&'static str, Vec<String>>;

/// What [`payments`] has made visible.
pub(crate) fn shown_payments(disk: &SimulatedDisk) -> Shown {
    ["/out/entries", "/out/large"].map(|folder| (folder, lines_in(disk, folder))).into()
}

/// Says what is missing and what is too much.
pub(crate) fn compare(shown: &Shown, expected: &Shown, when: &str) {
    for (folder, expected) in expected {
        let shown = &shown[folder];
        let missing: Vec<_> = expected.iter().filter(|line| !shown.contains(line)).collect();
        let too_much: Vec<_> = shown.iter().filter(|line| !expected.contains(line)).collect();
        assert!(
            shown == expected,
            "{when}, {folder} has {} lines instead of {}; missing {missing:?}, unexpected {too_much:?}",
            shown.len(),
            expected.len()
        );
    }
}

pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

/// All lines of the visible files in a folder of the disk, sorted.
pub(crate) fn lines_in(disk: &SimulatedDisk, folder: &str) -> Vec<String> {
    lines_in_files(disk, folder, |_| true)
}

/// All lines of those visible files in a folder of the disk whose name is wanted, sorted.
pub(crate) fn lines_in_files(
    disk: &SimulatedDisk,
    folder: &str,
    wanted: impl Fn(&str) -> bool,
) -> Vec<String> {
    let fs = disk.fs();
    let folder = Path::new(folder);
    let mut lines = Vec::new();
    for file in fs.list(folder).unwrap_or_default() {
        if !file.name.starts_with('.') && wanted(&file.name) {
            let text = String::from_utf8(fs.read(&folder.join(&file.name)).unwrap()).unwrap();
            lines.extend(text.lines().map(str::to_string));
        }
    }
    lines.sort();
    lines
}

/// The complete checkpoints, newest first.
pub(crate) fn checkpoints(disk: &SimulatedDisk) -> Vec<u64> {
    let fs = disk.fs();
    let root = Path::new("/checkpoints");
    let mut found = Vec::new();
    for file in fs.list(root).unwrap_or_default() {
        if let Some(id) = file.name.strip_prefix("chk-").and_then(|id| id.parse().ok())
            && fs.exists(&root.join(&file.name).join("manifest")).unwrap()
        {
            found.push(id);
        }
    }
    found.sort_unstable_by(|one: &u64, two| two.cmp(one));
    found
}

/// A simulated run with checkpoints every two virtual milliseconds.
pub(crate) fn simulated(simulation: Simulation) -> Config {
    Config::local()
        .with_simulation(simulation)
        .checkpoints("/checkpoints")
        .checkpoint_interval(millis(2))
        .watermark_interval(millis(1))
        .batch_records(4)
}

/// A simulation that counts as hanging long before a test does.
pub(crate) fn seeded(seed: u64) -> Simulation {
    Simulation::seeded(seed).at_most_steps(100_000)
}

/// Runs to the end on this disk.
pub(crate) fn finish(topology: &Topology, seed: u64, disk: &SimulatedDisk) -> Outcome {
    topology.run(simulated(seeded(seed).on_disk(disk))).unwrap()
}

/// So many seeds, or as many as the environment says in `WATERSHED_SEEDS`.
pub(crate) fn seeds(usually: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("WATERSHED_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..wanted.unwrap_or(usually)
}

/// A word and how often it had come by then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WordCount {
    pub(crate) word: String,
    pub(crate) count: u64,
}

/// Counts words.
pub(crate) struct Count;

impl Process for Count {
    type Key = String;
    type In = String;
    type Out = WordCount;
    type State = u64;

    fn on_record(&self, word: String, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.emit(WordCount { word, count: *count });
        Ok(())
    }
}

/// Word count over a real file, into a real folder.
pub(crate) fn word_counts(input: &Path, output: &Path) -> Topology {
    let topology = Topology::new("word-count");
    topology
        .source("lines", Lines::from_file(input).split_bytes(8 << 10))
        .flat_map(|line| line.split_whitespace().map(str::to_string).collect::<Vec<_>>())
        .key_by(String::clone)
        .actor("count", Count)
        .sink_exactly_once("files", Files::jsonl(output));
    topology
}

/// So many lines of words, the same each time.
pub(crate) fn text(lines: u64) -> String {
    let line = |n: u64| format!("{} and {} in line w{}\n", n % 97, n * n % 1_013, n % 7);
    (0..lines).map(line).collect()
}

/// What [`word_counts`] shows in the end for a file or for all files of a folder, counted without the engine.
pub(crate) fn plain_counts(input: &Path) -> Vec<String> {
    let files = match std::fs::read_dir(input) {
        Ok(folder) => folder.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => vec![input.to_path_buf()],
    };
    let (mut counts, mut lines) = (BTreeMap::<String, u64>::new(), Vec::new());
    for text in files.iter().map(|file| std::fs::read_to_string(file).unwrap()) {
        for word in text.split_whitespace() {
            let count = counts.entry(word.to_string()).or_default();
            *count += 1;
            lines.push(json(&WordCount { word: word.to_string(), count: *count }));
        }
    }
    lines.sort();
    lines
}

/// All lines of the visible files in a real folder, sorted.
pub(crate) fn visible_lines(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            lines.extend(std::fs::read_to_string(path).unwrap().lines().map(str::to_string));
        }
    }
    lines.sort();
    lines
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long an answer takes is measured outside the engine's time"
)]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Lets time pass; never to put events into an order.
#[expect(
    clippy::disallowed_methods,
    reason = "slow user code, polling and kills at random moments need real time"
)]
pub(crate) fn pause(duration: std::time::Duration) {
    std::thread::sleep(duration);
}
