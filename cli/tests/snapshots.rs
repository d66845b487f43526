//! The tool, on the checkpoints and savepoints of a job.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Drain, StateBackend};

fn watershed(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_watershed")).args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = watershed(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the tool says when it fails.
fn complaint(arguments: &[&str]) -> String {
    let output = watershed(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// What it prints when the answer is that something is damaged or differs.
fn found(arguments: &[&str]) -> String {
    let output = watershed(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Counts the numbers of each remainder, and keeps the last.
struct Tally;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Tallied {
    count: u64,
    last: Option<u64>,
    share: f32,
}

impl Process for Tally {
    type Key = String;
    type In = u64;
    type Out = u64;
    type State = Tallied;

    fn on_record(&self, n: u64, tallied: &mut Tallied, context: &mut Context<'_, Self>) -> UserResult {
        tallied.count += 1;
        tallied.last = tallied.last.max(Some(n));
        tallied.share = 0.1;
        // So the state of a key goes.
        if n % KEYS == 13 {
            context.clear();
        }
        Ok(())
    }
}

const KEYS: u64 = 200;
const RECORDS: u64 = 6_000;

fn same(n: u64) -> u64 {
    n
}

fn key_of(n: u64) -> String {
    format!("key {}", n % KEYS)
}

/// What the state of the keys is after so many records.
fn expected(records: u64) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::<String, (u64, u64)>::new();
    for n in (0..records).filter(|n| n % KEYS != 13) {
        let tallied = all.entry(key_of(n)).or_default();
        *tallied = (tallied.0 + 1, n);
    }
    let shown = |(key, (count, last))| (key, json!({ "count": count, "last": last, "share": 0.1 }));
    all.into_iter().map(shown).collect()
}

fn backends() -> Vec<StateBackend> {
    vec![
        StateBackend::Memory,
        #[cfg(feature = "rocksdb")]
        watershed_state::RocksDb::new().cache_entries(10).into(),
    ]
}

fn config(folder: &Path, backend: StateBackend) -> Config {
    Config::local()
        .parallelism(2)
        .checkpoints(folder)
        .checkpoint_interval(Duration::from_millis(30))
        .state_backend(backend)
        .without_control_socket()
        .ignore_signals()
}

fn tallies(source: Generator<fn(u64) -> u64>) -> Topology {
    let topology = Topology::new("tallies");
    topology
        .source("numbers", source)
        .parallelism(1)
        .rate(20_000.0)
        .key_by(|n: &u64| key_of(*n))
        .actor("tally", Tally)
        .for_each(|_| {});
    topology
}

#[expect(clippy::disallowed_methods, reason = "a job goes on meanwhile")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// A job that has taken all records.
fn finished(backend: StateBackend) -> TempDir {
    let folder = TempDir::new().unwrap();
    tallies(Generator::new(Some(RECORDS), same)).run(config(folder.path(), backend)).unwrap();
    folder
}

fn dir(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

/// The keys and states that are dumped, which are in the order of their groups.
fn dumped(arguments: &[&str]) -> BTreeMap<String, Value> {
    let lines = objects(&printed(&[&["state", "dump"], arguments].concat()));
    assert!(lines.is_sorted_by_key(|line| line["group"].as_u64()), "{arguments:?}");
    let count = lines.len();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let map: BTreeMap<_, _> = lines.iter().map(|line| (text(&line["key"]), line["state"].clone())).collect();
    assert_eq!(map.len(), count, "a key is there twice");
    map
}

#[test]
fn checkpoints_are_listed_shown_and_verified() {
    for backend in backends() {
        let has_database = backend.name() == "rocksdb";
        let folder = finished(backend);
        let dir = dir(&folder);
        let list = printed(&["snapshots", "list", dir]);
        let all = objects(&printed(&["snapshots", "list", dir, "--json"]));
        println!("{list}");
        assert!(all.len() > 1 && all.len() == list.lines().count(), "{list}");
        assert!(all.is_sorted_by(|a, b| a["checkpoint"].as_u64() > b["checkpoint"].as_u64()), "{list}");
        assert!(list.lines().next().unwrap().ends_with(" finished"), "{list}");
        assert!(all.iter().all(|one| one["bytes"].as_u64() >= one["new_bytes"].as_u64()), "{list}");
        let newest = all[0]["checkpoint"].to_string();

        let text = printed(&["snapshots", "show", dir]);
        println!("{text}");
        for part in [
            &format!("checkpoint {newest} of `tallies`"),
            "key hashes as in this build",
            "tally (process)  128 key groups  parallelism 2",
            "  tally[1]  of checkpoint",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // The newest one holds no changes if the one before it was made behind the last record.
        let ids = all.iter().map(|one| one["checkpoint"].to_string());
        let shown: String = ids.map(|id| printed(&["snapshots", "show", dir, &id])).collect();
        assert!(shown.contains("KeyedState  "), "{shown}");
        assert_eq!(text.contains("    database  "), has_database, "{text}");
        let shown = &objects(&printed(&["snapshots", "show", dir, &newest, "--json"]))[0];
        assert_eq!((&shown["key_hash_ok"], &shown["finished"]), (&json!(true), &json!(true)));
        let operators = shown["operators"].as_array().unwrap();
        let instances = operators.iter().flat_map(|operator| operator["instances"].as_array().unwrap());
        let longest = instances.map(|instance| instance["duration_ms"].as_u64().unwrap()).max();
        assert_eq!(shown["duration_ms"].as_u64(), longest, "it takes as long as its last part");
        assert_eq!(all[0]["duration_ms"].as_u64(), longest);
        let took = |text: &str| text.lines().next().unwrap().contains("  took ");
        assert!(took(&text) && took(&list), "{text}{list}");
        let source = operators.iter().find(|operator| operator["kind"] == "source").unwrap();
        assert!(!source["instances"][0]["splits"].as_array().unwrap().is_empty(), "{source}");

        let verified = printed(&["snapshots", "verify", dir]);
        println!("{verified}");
        assert_eq!(verified.lines().count(), all.len());
        assert!(verified.lines().all(|line| line.ends_with(" ok")), "{verified}");
    }
}

#[test]
fn the_state_of_all_keys_is_dumped_from_memory_and_from_a_database() {
    for backend in backends() {
        let folder = finished(backend);
        let dir = dir(&folder);
        assert_eq!(dumped(&[dir, "--operator", "tally"]), expected(RECORDS));

        // Older ones, which have been added to since, are as they were: they end where the source was.
        let listed = objects(&printed(&["snapshots", "list", dir, "--json"]));
        for id in listed.iter().map(|one| one["checkpoint"].to_string()) {
            let state = dumped(&[dir, "--operator", "tally", "--id", &id]);
            let last = state.values().filter_map(|state| state["last"].as_u64()).max().unwrap();
            // Nobody knows whether the key that has no state was the last.
            assert!([last + 1, last + 2].iter().any(|records| state == expected(*records)), "{id}: {last}");
        }

        for key in ["key 7", "\"key 7\""] {
            let one = dumped(&[dir, "--operator", "tally", "--key", key]);
            assert_eq!(
                one.into_iter().collect::<Vec<_>>(),
                [("key 7".to_string(), expected(RECORDS)["key 7"].clone())]
            );
        }
        assert_eq!(dumped(&[dir, "--operator", "tally", "--key", "key 13"]), BTreeMap::new());
    }
}

/// A sink that remembers the even numbers as a list, and the last of all as a union.
struct Even;

struct EvenWriter(watershed::OperatorState<u64>, watershed::OperatorState<Option<u64>>);

impl watershed::Sink for Even {
    type In = u64;
    type Writer = EvenWriter;

    fn open(&self, context: &watershed::SinkContext) -> UserResult<EvenWriter> {
        Ok(EvenWriter(context.list_state("even")?, context.union_state("last")?))
    }
}

impl watershed::SinkWriter for EvenWriter {
    type In = u64;

    fn write(&mut self, number: u64) -> UserResult {
        if number.is_multiple_of(2) {
            self.0.push(number);
        }
        self.1.update(vec![Some(number)]);
        Ok(())
    }

    fn flush(&mut self) -> UserResult {
        Ok(())
    }
}

#[test]
fn state_beside_keys_is_shown_and_dumped_by_its_name() {
    let folder = TempDir::new().unwrap();
    let topology = Topology::new("even");
    topology.source("numbers", Generator::new(Some(7), same)).parallelism(1).sink("even", Even);
    topology.run(config(folder.path(), StateBackend::Memory)).unwrap();
    let dir = dir(&folder);

    let text = printed(&["snapshots", "show", dir]);
    println!("{text}");
    assert!(text.contains("      list `even`  4 elements  4 B\n"), "{text}");
    assert!(text.contains("      union `last`  1 elements"), "{text}");
    let shown = &objects(&printed(&["snapshots", "show", dir, "--json"]))[0];
    let operators = shown["operators"].as_array().unwrap();
    let sink = operators.iter().find(|operator| operator["name"] == "even").unwrap();
    let expected = json!({ "name": "even", "redistribution": "list", "elements": 4, "bytes": 4 });
    assert_eq!(sink["instances"][0]["operator_states"][0], expected);

    let element = |name: &str, redistribution: &str, element: u64| json!({ "instance": 0, "name": name, "redistribution": redistribution, "element": element });
    let even = [0, 2, 4, 6].map(|number| element("even", "list", number));
    let dumped = objects(&printed(&["state", "dump", dir, "--operator", "even"]));
    assert_eq!(dumped, [&even[..], &[element("last", "union", 6)]].concat());
    let no_keys = complaint(&["state", "dump", dir, "--operator", "even", "--key", "2"]);
    assert!(no_keys.contains("no operator `even` has keyed state"), "{no_keys}");
}

#[test]
fn a_savepoint_is_listed_like_a_checkpoint_and_compared_with_one() {
    for backend in backends() {
        let folder = TempDir::new().unwrap();
        let (state, savepoint) = (folder.path().join("state"), folder.path().join("savepoint"));
        let job = tallies(Generator::new(None, same)).start(config(&state, backend)).unwrap();
        job.savepoint(savepoint.to_str().unwrap()).unwrap();
        // The job runs, and holds the lock of its folder.
        let [state, savepoint] = [&state, &savepoint].map(|path| path.to_str().unwrap());
        assert_eq!(printed(&["snapshots", "list", savepoint]).lines().count(), 1);
        assert!(printed(&["snapshots", "verify", savepoint]).ends_with(" ok\n"));
        printed(&["snapshots", "list", state]);
        let stopped = folder.path().join("stopped");
        pause();
        job.stop_with_savepoint(stopped.to_str().unwrap(), Drain::No).unwrap();
        job.wait().unwrap();

        let stopped = format!("file://{}", stopped.display());
        assert_eq!(printed(&["state", "diff", &stopped, state]), "");
        assert_eq!(printed(&["state", "diff", savepoint, savepoint, "--operator", "tally"]), "");
        let (before, after) =
            (dumped(&[savepoint, "--operator", "tally"]), dumped(&[&stopped, "--operator", "tally"]));
        let diff = found(&["state", "diff", savepoint, &stopped]);
        let changed = after.iter().filter(|(key, state)| before.get(*key).is_some_and(|was| was != *state));
        let sign = |sign: &str| diff.lines().filter(|line| line.starts_with(sign)).count();
        assert_eq!(sign("~ "), changed.count(), "{diff}");
        assert_eq!(sign("+ "), after.keys().filter(|key| !before.contains_key(*key)).count(), "{diff}");
        assert_eq!(sign("- "), 0, "{diff}");
        let back = found(&["state", "diff", &stopped, savepoint]);
        assert_eq!(back.lines().count(), diff.lines().count());
        for line in diff.lines() {
            let change: Value = serde_json::from_str(&line[2..]).unwrap();
            let key = change["key"].as_str().unwrap();
            let now = if line.starts_with('~') { &change["b"] } else { &change["state"] };
            assert_eq!((now, &change["operator"]), (&after[key], &json!("tally")));
        }
    }
}

#[test]
fn two_checkpoints_of_a_folder_are_compared() {
    let folder = finished(StateBackend::Memory);
    let dir = dir(&folder);
    let listed = objects(&printed(&["snapshots", "list", dir, "--json"]));
    let at = |one: &Value| format!("{dir}@{}", one["checkpoint"]);
    let (newest, oldest) = (at(&listed[0]), at(listed.last().unwrap()));
    assert_eq!(printed(&["state", "diff", dir, &newest]), "");
    assert!(found(&["state", "diff", &oldest, &newest]).lines().count() > 0);
}

#[test]
fn a_damaged_file_is_found_and_named() {
    for backend in backends() {
        let folder = finished(backend);
        let dir = dir(&folder);
        let newest = objects(&printed(&["snapshots", "list", dir, "--json"]))[0]["checkpoint"].to_string();
        let parts = fs::read_dir(folder.path().join(format!("chk-{newest}"))).unwrap();
        let mut parts = parts.map(|entry| entry.unwrap().path());
        let part = parts.find(|path| path.extension().is_some_and(|extension| extension == "part")).unwrap();
        let mut bytes = fs::read(&part).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&part, bytes).unwrap();

        let verified = found(&["snapshots", "verify", dir]);
        println!("{verified}");
        let (first, rest) = verified.split_once('\n').unwrap();
        assert!(first.contains(part.to_str().unwrap()) && first.contains("checksum"), "{first}");
        assert!(!rest.is_empty() && rest.lines().all(|line| line.ends_with(" ok")), "{rest}");

        fs::remove_file(&part).unwrap();
        assert!(found(&["snapshots", "verify", dir]).contains("is missing"));
        let manifest = folder.path().join(format!("chk-{newest}/manifest"));
        fs::write(&manifest, "nothing").unwrap();
        assert!(found(&["snapshots", "verify", dir]).contains(manifest.to_str().unwrap()));
        assert!(printed(&["snapshots", "list", dir]).contains("cannot be used: "));
        assert!(!printed(&["snapshots", "show", dir]).contains(&format!("checkpoint {newest} of")));
    }
}

#[test]
fn what_is_not_there_is_answered_with_what_there_is() {
    let folder = finished(StateBackend::Memory);
    let dir = dir(&folder);
    let newest = objects(&printed(&["snapshots", "list", dir, "--json"]))[0]["checkpoint"].to_string();
    let missing = complaint(&["snapshots", "show", dir, "9999"]);
    assert!(missing.contains("no complete checkpoint 9999") && missing.contains(&newest), "{missing}");
    let missing = complaint(&["state", "diff", dir, &format!("{dir}@9999")]);
    assert!(missing.contains("no complete checkpoint 9999"), "{missing}");
    let missing = complaint(&["state", "dump", dir, "--operator", "numbers"]);
    assert!(
        missing.contains("no operator `numbers` has keyed state") && missing.contains("tally"),
        "{missing}"
    );
    let missing = complaint(&["state", "diff", dir, dir, "--operator", "none"]);
    assert!(missing.contains("no operator `none`"), "{missing}");

    let empty = TempDir::new().unwrap();
    let missing = complaint(&["snapshots", "list", empty.path().to_str().unwrap()]);
    assert!(missing.contains("holds no snapshots") && missing.contains("`chk-<id>`"), "{missing}");
    let single = folder.path().join(format!("chk-{newest}"));
    let single = complaint(&["snapshots", "verify", single.to_str().unwrap()]);
    assert!(single.contains("name the folder above it"), "{single}");
    let nowhere = complaint(&["snapshots", "list", &format!("{dir}/nowhere")]);
    assert!(nowhere.contains("nowhere"), "{nowhere}");
}
