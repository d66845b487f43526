//! Snapshots that are read and written without a job.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{
    Claim, Collector, Drain, ErrorKind, RocksDb, SavedTimer, SavepointReader, SavepointWriter, SimulatedDisk,
    SplitPosition, StateBackend,
};

use crate::fixture::{
    WordCount, compare, expected_payments, json, payments, plain_counts, seeded, shown_payments, simulated,
    text, visible_lines, word_counts,
};

const SAVEPOINT: &str = "file:///savepoints/1";
const CHANGED: &str = "file:///savepoints/2";

fn over_a_database() -> StateBackend {
    RocksDb::new().memory_bytes(0).cache_entries(3).into()
}

/// The state of a card in [`payments`], as somebody else would write it down.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Card {
    seen: u64,
    open: BTreeMap<i64, u64>,
}

/// A disk with a savepoint of [`payments`], made in the middle of the work.
fn stopped(seed: u64, backend: StateBackend) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    let stop = seeded(seed).on_disk(&disk).stop_with_savepoint_at(90 + seed, SAVEPOINT, Drain::No);
    let outcome = payments().run(simulated(stop).checkpoints("/first").state_backend(backend)).unwrap();
    assert_eq!(outcome.end, End::Stopped);
    disk
}

fn open(disk: &SimulatedDisk, uri: &str) -> SavepointReader {
    SavepointReader::open_on(uri, None, &disk.fs()).unwrap()
}

#[test]
fn words_that_were_counted_in_a_batch_are_counted_on_by_a_job() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let lines = text(4_000);
    let half = lines.match_indices('\n').nth(1_999).unwrap().0 + 1;
    std::fs::write(path("all"), &lines).unwrap();
    std::fs::write(path("rest"), &lines[half..]).unwrap();
    let mut counts = BTreeMap::<String, u64>::new();
    lines[..half].split_whitespace().for_each(|word| *counts.entry(word.to_string()).or_default() += 1);
    // What comes of the rest is what comes of all, without what comes of the first half.
    let before: Vec<String> = counts
        .iter()
        .flat_map(|(word, last)| (1..=*last).map(|count| json(&WordCount { word: word.clone(), count })))
        .collect();
    let mut expected = plain_counts(&path("all"));
    let seen: std::collections::BTreeSet<String> = before.into_iter().collect();
    expected.retain(|line| !seen.contains(line));

    let backends = [StateBackend::Memory, RocksDb::new().cache_entries(50).into()];
    for (index, written) in backends.iter().enumerate() {
        let uri = format!("file://{}", path(&format!("bootstrapped-{index}")).display());
        let mut writer = SavepointWriter::create("word-count", &uri).unwrap();
        writer.state_backend(written.clone()).parallelism(3);
        assert_eq!(writer.keyed("count", counts.clone()).unwrap(), counts.len() as u64);
        let savepoint = writer.finish().unwrap();
        assert!(savepoint.uri == uri && savepoint.bytes > 1_000, "{savepoint:?}");
        let read = SavepointReader::open(&uri).unwrap();
        let read: BTreeMap<String, u64> = read.keyed("count").unwrap().map(Result::unwrap).collect();
        assert_eq!(read, counts);
        for (run, backend) in backends.iter().enumerate() {
            let output = path(&format!("output-{index}-{run}"));
            let config = Config::local()
                .checkpoints(path(&format!("state-{index}-{run}")))
                .parallelism(2 + run * 2)
                .state_backend(backend.clone())
                .start_from(&uri, Claim::No)
                .ignore_signals();
            word_counts(&path("rest"), &output).run(config).unwrap();
            assert_eq!(visible_lines(&output), expected, "{} {}", written.name(), backend.name());
        }
    }
}

#[test]
fn a_savepoint_tells_the_state_and_the_timers_of_each_key_and_how_far_sources_are() {
    for backend in [StateBackend::Memory, over_a_database()] {
        let disk = stopped(3, backend);
        let reader = open(&disk, SAVEPOINT);
        assert_eq!(reader.topology(), "payments");
        let operators: Vec<(String, String, bool)> = reader
            .operators()
            .map(|operator| (operator.name, operator.kind, operator.key_groups.is_some()))
            .collect();
        let is = |name: &str, kind: &str, keyed| (name.to_string(), kind.to_string(), keyed);
        assert!(operators.contains(&is("left", "source", false)), "{operators:?}");
        assert!(operators.contains(&is("ledger", "process", true)), "{operators:?}");
        assert!(operators.contains(&is("entries", "exactly-once sink", false)), "{operators:?}");

        let cards: BTreeMap<u64, Card> = reader.keyed("ledger").unwrap().map(Result::unwrap).collect();
        let read: u64 = ["left", "right"]
            .into_iter()
            .map(|source| {
                let positions = reader.positions(source).unwrap();
                assert_eq!(positions.len(), 1, "{positions:?}");
                match &positions[0].1 {
                    SplitPosition::Unread => 0,
                    SplitPosition::At(position) => position.as_u64().unwrap(),
                    SplitPosition::Finished => {
                        if source == "left" {
                            60
                        } else {
                            160
                        }
                    }
                }
            })
            .sum();
        assert!(read > 10, "{read}");
        assert_eq!(cards.values().map(|card| card.seen).sum::<u64>(), read, "all that was read was seen");
        let mut timers: Vec<SavedTimer<u64>> = reader.timers("ledger").unwrap().map(Result::unwrap).collect();
        timers.sort_unstable_by_key(|timer| (timer.key, timer.at));
        let open_periods: Vec<SavedTimer<u64>> = cards
            .iter()
            .flat_map(|(key, card)| {
                card.open.keys().map(|at| SavedTimer { key: *key, at: *at, kind: TimerKind::EventTime })
            })
            .collect();
        assert_eq!(timers, open_periods, "each open period has its timer");
        assert!(!timers.is_empty());
        let watermark = reader.watermark("ledger").unwrap();
        assert!(timers.iter().all(|timer| Some(timer.at) > watermark), "{watermark:?}");
        assert_eq!(reader.watermark("left").unwrap(), None);

        // The checkpoint that it was made of, in the folder of the job, says the same.
        let fs = disk.fs();
        for checkpoint in [None, Some(reader.checkpoint())] {
            let newest = SavepointReader::open_on("file:///first", checkpoint, &fs).unwrap();
            let again: BTreeMap<u64, Card> = newest.keyed("ledger").unwrap().map(Result::unwrap).collect();
            assert_eq!(again, cards);
        }
    }
}

#[test]
fn a_savepoint_that_is_changed_into_the_same_is_as_good_as_it_was() {
    for seed in 0..12 {
        let backend = |even| if even { StateBackend::Memory } else { over_a_database() };
        let disk = stopped(seed, backend(seed % 2 == 0));
        let mut writer = SavepointWriter::change_on(&open(&disk, SAVEPOINT), CHANGED, &disk.fs()).unwrap();
        if seed % 3 > 0 {
            let same = |_: &u64, card: Card| Ok(Some(card));
            let cards = writer.transform("ledger", same).unwrap();
            assert!(cards > 0);
        }
        writer.finish().unwrap();
        // Nothing of the old one is needed.
        disk.fs().remove_dir_all(Path::new("/savepoints/1")).unwrap();
        let config = simulated(seeded(seed + 1).on_disk(&disk)).start_from(CHANGED, Claim::No);
        let config = config.parallelism(1 + seed as usize % 4).state_backend(backend(seed % 4 < 2));
        payments().run(config).unwrap();
        compare(&shown_payments(&disk), &expected_payments(), &format!("seed {seed}"));
    }
}

/// Remembers words, and says at a time what it has of a key.
struct Remember;

impl Process for Remember {
    type Key = String;
    type In = String;
    type Out = (String, Vec<String>);
    type State = Vec<String>;

    fn on_record(
        &self,
        word: String,
        words: &mut Vec<String>,
        context: &mut Context<'_, Self>,
    ) -> UserResult {
        words.push(word);
        context.emit((context.key().clone(), words.clone()));
        Ok(())
    }

    fn on_timer(&self, timer: Timer, words: &mut Vec<String>, context: &mut Context<'_, Self>) -> UserResult {
        words.push(format!("{:?} {}", timer.kind, timer.at));
        context.emit((context.key().clone(), words.clone()));
        context.clear();
        Ok(())
    }
}

type Remembered = Collector<(String, Vec<String>)>;

/// Words of event time 100 and 200.
fn remember(shown: &Remembered) -> Topology {
    let topology = Topology::new("remember");
    topology
        .source("words", Items::new(|| [("b".to_string(), 100), ("c".to_string(), 200)]))
        .event_time(|(_, at): &(String, i64)| *at, Lateness::none())
        .map(|(word, _)| word)
        .key_by(String::clone)
        .actor("remember", Remember)
        .sink_exactly_once("shown", shown.sink());
    topology
}

#[test]
fn timers_and_the_watermark_that_are_written_hold_for_the_job() {
    for backend in [StateBackend::Memory, over_a_database()] {
        let disk = SimulatedDisk::new(1);
        let mut writer = SavepointWriter::create_on("remember", SAVEPOINT, &disk.fs()).unwrap();
        writer.state_backend(backend.clone());
        let mut words = writer.operator::<String, Vec<String>>("remember").unwrap();
        let key = |key: &str| key.to_string();
        words.put(&key("a"), &vec![key("old")]).unwrap();
        words.put(&key("b"), &vec![key("older")]).unwrap();
        words.timer(&key("a"), 150, TimerKind::EventTime).unwrap();
        words.timer(&key("a"), 60, TimerKind::EventTime).unwrap();
        words.timer(&key("d"), 1, TimerKind::ProcessingTime).unwrap();
        words.watermark(50);
        assert_eq!(words.finish().unwrap(), 2);
        writer.finish().unwrap();
        let reader = open(&disk, SAVEPOINT);
        assert_eq!(reader.watermark("remember").unwrap(), Some(50));
        assert_eq!(reader.timers::<String>("remember").unwrap().count(), 3);

        let shown = Remembered::new();
        let config = simulated(seeded(2).on_disk(&disk)).start_from(SAVEPOINT, Claim::No).parallelism(3);
        remember(&shown).run(config.state_backend(backend)).unwrap();
        let mut all = shown.take();
        all.sort_unstable();
        let line =
            |key: &str, words: &[&str]| (key.to_string(), words.iter().map(ToString::to_string).collect());
        assert_eq!(
            all,
            [
                line("a", &["EventTime 150"]),
                line("a", &["old", "EventTime 60"]),
                line("b", &["older", "b"]),
                line("c", &["c"]),
                line("d", &["ProcessingTime 1"]),
            ]
        );
    }
}

#[test]
fn operators_are_changed_replaced_and_left_out_and_the_others_stay() {
    let disk = SimulatedDisk::new(2);
    let fs = disk.fs();
    let mut writer = SavepointWriter::create_on("counts", SAVEPOINT, &fs).unwrap();
    writer.keyed("one", (0..1_000_u64).map(|n| (n, n))).unwrap();
    writer.keyed("two", (0..10_u64).map(|n| (n, n))).unwrap();
    writer.keyed("three", (0..10_u64).map(|n| (n, n))).unwrap();
    writer.keyed("four", (0..10_u64).map(|n| (n, n))).unwrap();
    writer.finish().unwrap();

    let mut writer = SavepointWriter::change_on(&open(&disk, SAVEPOINT), CHANGED, &fs).unwrap();
    let kept =
        writer.transform("one", |key: &u64, n: u64| Ok(key.is_multiple_of(2).then(|| format!("number {n}"))));
    assert_eq!(kept.unwrap(), 500);
    writer.keyed("two", [("new".to_string(), true)]).unwrap();
    writer.remove("three").unwrap();
    let unknown = writer.remove("three").unwrap_err().to_string();
    assert!(unknown.contains("no operator `three` to be changed; there are: `four`"), "{unknown}");
    writer.finish().unwrap();

    let changed = open(&disk, CHANGED);
    let names: Vec<String> = changed.operators().map(|operator| operator.name).collect();
    assert_eq!(names, ["four", "one", "two"]);
    let one: BTreeMap<u64, String> = changed.keyed("one").unwrap().map(Result::unwrap).collect();
    assert_eq!(one, (0..1_000).step_by(2).map(|n| (n, format!("number {n}"))).collect());
    let two: Vec<(String, bool)> = changed.keyed("two").unwrap().map(Result::unwrap).collect();
    assert_eq!(two, [("new".to_string(), true)]);
    assert_eq!(changed.keyed::<u64, u64>("four").unwrap().count(), 10);
}

fn complaint<T>(result: watershed::Result<T>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn who_reads_what_is_not_there_or_of_another_type_is_told_so() {
    let disk = stopped(3, StateBackend::Memory);
    let fs = disk.fs();
    let nothing = complaint(SavepointReader::open_on("file:///nowhere", None, &fs));
    assert!(nothing.contains("/nowhere"), "{nothing}");
    let id = complaint(SavepointReader::open_on("file:///first", Some(9_999), &fs));
    assert!(id.contains("no checkpoint 9999; there are: "), "{id}");

    let reader = open(&disk, SAVEPOINT);
    let unknown = complaint(reader.keyed::<u64, Card>("ledgers"));
    assert!(unknown.contains("no operator `ledgers`") && unknown.contains("`ledger`"), "{unknown}");
    let source = complaint(reader.keyed::<u64, Card>("left"));
    assert!(source.contains("`left` is a source without state by key"), "{source}");
    let mut states = reader.keyed::<u64, String>("ledger").unwrap();
    let state = complaint(states.next().unwrap());
    assert!(state.contains("a state of `ledger`: cannot decode") && state.contains("String"), "{state}");
    assert!(states.next().is_none(), "nothing comes after an error");
    let key = complaint(reader.keyed::<String, Card>("ledger").unwrap().next().unwrap());
    assert!(key.contains("a key of `ledger`: cannot decode") && key.contains("String"), "{key}");
    let timer = complaint(reader.timers::<String>("ledger").unwrap().find(Result::is_err).unwrap());
    assert!(timer.contains("the key of a timer of `ledger`") && timer.contains("String"), "{timer}");
    // Who has seen enough leaves nothing behind.
    assert!(reader.keyed::<u64, Card>("ledger").unwrap().next().unwrap().is_ok());

    let manifest =
        watershed_state::read_savepoint(&watershed_state::SnapshotPlace::parse_on(SAVEPOINT, &fs).unwrap())
            .unwrap();
    let operator = manifest.operators.iter().find(|operator| operator.name == "ledger").unwrap();
    let file = operator.instances.iter().find_map(|instance| instance.file.as_ref()).unwrap();
    let path = Path::new("/savepoints/1").join(&file.path);
    let mut bytes = fs.read(&path).unwrap();
    bytes[20] ^= 1;
    fs.create(&path).unwrap().write_all(&bytes).unwrap();
    let damaged = complaint(reader.keyed::<u64, Card>("ledger").unwrap().find(Result::is_err).unwrap());
    assert!(damaged.contains("`ledger`") && damaged.contains(&file.path), "{damaged}");
    let mut writer = SavepointWriter::change_on(&reader, CHANGED, &fs).unwrap();
    let changed = complaint(writer.transform("ledger", |_: &u64, card: Card| Ok(Some(card))));
    assert!(changed.contains(&file.path), "{changed}");
    let copied = complaint(writer.finish());
    assert!(copied.contains("`ledger` was begun and is not complete"), "{copied}");
    let writer = SavepointWriter::change_on(&reader, CHANGED, &fs).unwrap();
    let copied = complaint(writer.finish());
    assert!(copied.contains(&file.path), "{copied}");
    assert!(SavepointReader::open_on(CHANGED, None, &fs).is_err(), "there is no savepoint of it");
}

#[test]
fn what_cannot_be_written_is_refused_and_is_no_savepoint() {
    let disk = SimulatedDisk::new(3);
    let fs = disk.fs();
    let create = |topology: &str, uri: &str| SavepointWriter::create_on(topology, uri, &fs);
    let mut writer = create("remember", SAVEPOINT).unwrap();
    let name = complaint(writer.keyed("../x", [(1_u64, 1_u64)]));
    assert!(name.contains("cannot be the name of an actor"), "{name}");
    writer.keyed("remember", [("a".to_string(), vec!["x".to_string()])]).unwrap();
    let twice = complaint(writer.keyed("remember", [(1_u64, 1_u64)]));
    assert!(twice.contains("`remember` has been written already"), "{twice}");
    drop(writer.operator::<u64, u64>("other").unwrap());
    let unfinished = complaint(writer.finish());
    assert!(unfinished.contains("`other` was begun and is not complete"), "{unfinished}");
    assert!(SavepointReader::open_on(SAVEPOINT, None, &fs).is_err());

    // The same place will do, as there is no savepoint.
    let words = || vec!["x".to_string()];
    let mut writer = create("remember", SAVEPOINT).unwrap();
    writer
        .keyed(
            "remember",
            [("a".to_string(), words()), ("b".to_string(), words()), ("a".to_string(), words())],
        )
        .unwrap();
    writer.finish().unwrap();
    let exists = complaint(create("remember", SAVEPOINT));
    assert!(exists.contains("holds a savepoint already"), "{exists}");
    let config = simulated(seeded(2).on_disk(&disk)).start_from(SAVEPOINT, Claim::No);
    let started = remember(&Remembered::new()).run(config).unwrap_err();
    assert_eq!(started.kind, ErrorKind::State);
    assert!(started.to_string().contains("is there twice"), "{started}");
    // Over a database it is found at once.
    let mut writer = create("remember", CHANGED).unwrap();
    writer.state_backend(over_a_database());
    let twice = complaint(writer.keyed("remember", (0..100_u64).map(|n| (n % 99, n))));
    assert!(twice.contains("a key of `remember` is there twice: 0"), "{twice}");

    let folder = complaint(create("remember", "file:///checkpoints"));
    assert!(folder.contains("is the checkpoint folder of a job"), "{folder}");

    // For another topology, or another number of key groups.
    let refused = |uri: &str| {
        let config = simulated(seeded(2).on_disk(&disk)).start_from(uri, Claim::No);
        complaint(remember(&Remembered::new()).run(config))
    };
    create("others", "file:///savepoints/3").unwrap().finish().unwrap();
    assert!(refused("file:///savepoints/3").contains("belongs to topology `others`"));
    let mut writer = create("remember", "file:///savepoints/4").unwrap();
    writer.key_groups(watershed::KeyGroups::new(64).unwrap());
    writer.keyed("remember", [("a".to_string(), words())]).unwrap();
    writer.finish().unwrap();
    assert!(refused("file:///savepoints/4").contains("`Config::key_groups(64)`"));
}

/// Adds up what each instance has seen.
struct Sum;

impl Process for Sum {
    type Key = ();
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, n: u64, sum: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *sum += n;
        context.emit(*sum);
        Ok(())
    }
}

#[test]
fn an_operator_without_keys_is_read_and_written_by_instance() {
    let sums = |shown: &Collector<u64>| {
        let topology = Topology::new("sums");
        let numbers = topology.source("numbers", Generator::bounded(10, |n| n)).parallelism(1);
        numbers.rebalance().actor("sum", Sum).parallelism(2).sink_exactly_once("shown", shown.sink());
        topology
    };
    let disk = SimulatedDisk::new(4);
    let mut writer = SavepointWriter::create_on("sums", SAVEPOINT, &disk.fs()).unwrap();
    writer.instances("sum", [1_000_u64, 2_000]).unwrap();
    writer.finish().unwrap();
    assert_eq!(open(&disk, SAVEPOINT).instances::<u64>("sum").unwrap(), [1_000, 2_000]);
    let shown = Collector::new();
    let config = simulated(seeded(2).on_disk(&disk)).start_from(SAVEPOINT, Claim::No);
    sums(&shown).run(config).unwrap();
    let made = SavepointReader::open_on("file:///checkpoints", None, &disk.fs()).unwrap();
    let last: Vec<u64> = made.instances("sum").unwrap();
    assert_eq!(last.iter().sum::<u64>(), 3_045);
    assert!(last[0] > 1_000 && last[0] < 2_000 && last[1] > 2_000, "{last:?}");
    let text = complaint(made.instances::<String>("sum"));
    assert!(text.contains("a state of `sum`: cannot decode") && text.contains("String"), "{text}");
}

/// Knows which pages each visitor has seen, in which order, and who they said they are.
struct Visits {
    counts: MapState<String, u64>,
    order: ListState<String>,
    name: ValueState<String>,
}

fn visits() -> Visits {
    Visits { counts: MapState::new("counts"), order: ListState::new("order"), name: ValueState::new("name") }
}

impl Process for Visits {
    type Key = u32;
    type In = (u32, String);
    type Out = (u32, String, u64, usize, Option<String>);
    type State = u64;

    fn on_record(
        &self,
        (visitor, page): (u32, String),
        all: &mut u64,
        context: &mut Context<'_, Self>,
    ) -> UserResult {
        *all += 1;
        let mut counts = context.map(&self.counts);
        let count = counts.get_or_default(page.clone());
        *count += 1;
        let count = *count;
        let mut order = context.list(&self.order);
        order.push(page.clone());
        let seen = order.len();
        let name = context.value(&self.name).get().cloned();
        context.emit((visitor, page, count, seen, name));
        Ok(())
    }
}

fn page(n: u64) -> String {
    format!("/page/{}", n * n % 97)
}

#[test]
fn collections_are_written_and_read_and_stay_when_states_are_transformed() {
    let visitors = 0..50_u32;
    let before = |visitor: u32| (0..u64::from(visitor) * 7).map(page).collect::<Vec<_>>();
    let counted = |pages: &[String]| {
        let mut counts = BTreeMap::<String, u64>::new();
        for page in pages {
            *counts.entry(page.clone()).or_default() += 1;
        }
        counts
    };
    let disk = SimulatedDisk::new(1);
    let mut writer = SavepointWriter::create_on("visits", SAVEPOINT, &disk.fs()).unwrap();
    let mut operator = writer.operator::<u32, u64>("visits").unwrap();
    for visitor in visitors.clone() {
        let (of, pages) = (visits(), before(visitor));
        operator.put(&visitor, &(pages.len() as u64)).unwrap();
        operator.put_all(&visitor, &of.counts, counted(&pages)).unwrap();
        operator.put_all(&visitor, &of.order, pages).unwrap();
        if visitor % 2 == 1 {
            operator.put_all(&visitor, &of.name, [format!("visitor {visitor}")]).unwrap();
        }
    }
    assert_eq!(operator.finish().unwrap(), 50);
    writer.finish().unwrap();

    let mut changed = SavepointWriter::change_on(&open(&disk, SAVEPOINT), CHANGED, &disk.fs()).unwrap();
    assert_eq!(changed.transform("visits", |_: &u32, all: u64| Ok(Some(all))).unwrap(), 50);
    changed.finish().unwrap();
    for uri in [SAVEPOINT, CHANGED] {
        let (reader, of) = (open(&disk, uri), visits());
        let mut read = BTreeMap::new();
        let all = reader.collection("visits", &of.counts, |visitor: u32, entries| {
            read.insert(visitor, entries.into_iter().collect::<BTreeMap<_, _>>());
            true
        });
        all.unwrap();
        // Who has seen nothing has no map.
        let there: BTreeMap<u32, _> =
            visitors.clone().skip(1).map(|visitor| (visitor, counted(&before(visitor)))).collect();
        assert_eq!(read, there);
        let mut in_order = 0;
        let all = reader.collection("visits", &of.order, |visitor: u32, pages| {
            assert_eq!(pages, before(visitor));
            in_order += 1;
            in_order < 30
        });
        all.unwrap();
        assert_eq!(in_order, 30);

        for backend in [StateBackend::Memory, over_a_database()] {
            let shown = Collector::new();
            let topology = Topology::new("visits");
            topology
                .source("records", Generator::bounded(50, |n| (n as u32, page(3))).splits(2))
                .key_by(|(visitor, _)| *visitor)
                .actor("visits", visits())
                .sink_exactly_once("shown", shown.sink());
            let config = simulated(seeded(3).on_disk(&disk))
                .checkpoints(format!("{uri}-{}", backend.name()).replace("file://", "/then"));
            let config = config.state_backend(backend).start_from(uri, Claim::No);
            topology.run(config).unwrap();
            let mut said = shown.take();
            said.sort();
            let expected = visitors.clone().map(|visitor| {
                let pages = before(visitor);
                let count = counted(&pages).get(&page(3)).copied().unwrap_or(0) + 1;
                let name = (visitor % 2 == 1).then(|| format!("visitor {visitor}"));
                (visitor, page(3), count, pages.len() + 1, name)
            });
            assert_eq!(said, expected.collect::<Vec<_>>());
        }
    }
}

/// Counts the records of a key.
struct Counts;

impl Process for Counts {
    type Key = u32;
    type In = u32;
    type Out = (u32, u64);
    type State = u64;

    fn on_record(&self, key: u32, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.emit((key, *count));
        Ok(())
    }
}

#[test]
fn a_state_that_is_transformed_was_used_when_it_was_used() {
    for backend in [StateBackend::Memory, over_a_database()] {
        let disk = SimulatedDisk::new(1);
        let topology = Topology::new("counts");
        topology
            .source("numbers", Generator::bounded(2_000, |n| (n % 40) as u32).splits(2))
            .key_by(|key| *key)
            .state_ttl(minutes(60))
            .actor("counts", Counts)
            .sink_exactly_once("shown", Collector::new().sink());
        let stop = seeded(1).on_disk(&disk).stop_with_savepoint_at(60, SAVEPOINT, Drain::No);
        let outcome = topology.run(simulated(stop).checkpoints("/first").state_backend(backend)).unwrap();
        assert_eq!(outcome.end, End::Stopped);
        let mut changed = SavepointWriter::change_on(&open(&disk, SAVEPOINT), CHANGED, &disk.fs()).unwrap();
        assert!(changed.transform("counts", |_: &u32, count: u64| Ok(Some(count))).unwrap() > 10);
        changed.finish().unwrap();
        let [before, after] = [SAVEPOINT, CHANGED].map(|uri| {
            let place = watershed_state::SnapshotPlace::parse_on(uri, &disk.fs()).unwrap();
            let snapshots = watershed_state::Snapshots::open(place).unwrap();
            let manifest = snapshots.all().unwrap().remove(0).manifest.unwrap();
            let operator = manifest.operators.iter().find(|operator| operator.name == "counts").unwrap();
            let (scratch, mut times) = (TempDir::new().unwrap(), BTreeMap::new());
            let read = snapshots.keyed_state(operator, scratch.path(), &mut |entry| {
                times.insert(entry.key.to_vec(), (entry.used_ms.unwrap(), entry.state.to_vec()));
                true
            });
            read.unwrap();
            times
        });
        assert!(before.len() > 10 && before == after);
    }
}
