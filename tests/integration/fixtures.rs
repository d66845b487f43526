//! Snapshots of released versions, which every later version loads.
//!
//! Each folder of `tests/fixtures/` has a savepoint in the middle of [`bookkeeping`], written by the version that it is
//! named after, and what that had shown by then. `WATERSHED_WRITE_FIXTURES=<name> make test` writes those of another
//! version.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::{Claim, Drain, RocksDb, SimulatedDisk, SinkFn, StateBackend};

use crate::fixture::{seeded, simulated};

const RECORDS: u64 = 400;
const KEYS: u64 = 17;

/// A state with something of each kind that can be in one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Account {
    count: u64,
    #[serde(default)]
    last: Option<String>,
    mood: Mood,
    weights: Vec<f64>,
    /// What the format marks since version 3 of part files.
    #[serde(default)]
    marked: Option<Marked>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Marked {
    address: IpAddr,
    limit: Option<Limit>,
}

/// A limit, or that there is none.
type Limit = Option<u64>;

impl Marked {
    /// That of an account after so many records.
    fn after(count: u64) -> Self {
        let limit = match count % 3 {
            0 => None,
            1 => Some(None),
            _ => Some(Some(count)),
        };
        Self { address: IpAddr::from([10, 0, 0, count as u8]), limit }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
enum Mood {
    #[default]
    New,
    Since(u64),
    Both {
        from: i32,
        to: i32,
    },
}

/// Uses all that an operator with keys can have: state, timers of both kinds, collections.
struct Accounts {
    digits: MapState<u8, u64>,
    numbers: ListState<u64>,
    smallest: ReducingState<u64>,
    first: ValueState<String>,
}

impl Process for Accounts {
    type Key = (String, u64);
    type In = u64;
    type Out = (u64, String);
    type State = Account;

    fn on_record(&self, n: u64, account: &mut Account, context: &mut Context<'_, Self>) -> UserResult {
        let key = context.key().1;
        if account.marked.as_ref().is_some_and(|marked| *marked != Marked::after(account.count)) {
            return Err(format!("{:?} after {} records", account.marked, account.count).into());
        }
        account.count += 1;
        account.marked = Some(Marked::after(account.count));
        account.weights.push(n as f64 / 4.0);
        account.mood = match account.mood {
            Mood::New => Mood::Since(n),
            Mood::Since(since) => Mood::Both { from: since as i32, to: -(n as i32) },
            Mood::Both { .. } => Mood::New,
        };
        let before = account.last.replace(format!("at {n}"));
        let mut digits = context.map(&self.digits);
        *digits.get_or_default((n % 10) as u8) += 1;
        let digits = digits.len();
        context.list(&self.numbers).push(n);
        context.reducing(&self.smallest).add(n);
        let mut first = context.value(&self.first);
        if first.get().is_none() {
            first.set(n.to_string());
        }
        let first = first.get().cloned();
        let said = (account.count, before, &account.mood, digits, first);
        context.emit((key, format!("{said:?}")));
        context.timer_at(n as i64 / 50 * 50 + 49);
        if n % 100 == 7 {
            context.timer_at_processing_time(i64::MAX);
        }
        Ok(())
    }

    fn on_timer(&self, timer: Timer, account: &mut Account, context: &mut Context<'_, Self>) -> UserResult {
        let key = context.key().1;
        let weight: f64 = account.weights.drain(..).sum();
        let mut digits = context.map(&self.digits).entries();
        digits.sort_unstable();
        let numbers = context.list(&self.numbers).to_vec();
        let smallest = context.reducing(&self.smallest).get().copied();
        context.emit((key, format!("{} {weight} {digits:?} {numbers:?} {smallest:?}", timer.at)));
        Ok(())
    }
}

/// Has one state for the instance.
struct Total;

impl Process for Total {
    type Key = ();
    type In = (u64, String);
    type Out = (u64, u64, String);
    type State = u64;

    fn on_record(
        &self,
        (key, said): (u64, String),
        total: &mut u64,
        context: &mut Context<'_, Self>,
    ) -> UserResult {
        *total += 1;
        context.emit((*total, key, said));
        Ok(())
    }
}

type Shown = Arc<Mutex<Vec<(u64, u64, String)>>>;

fn bookkeeping(shown: &Shown) -> Topology {
    let topology = Topology::new("bookkeeping");
    let accounts = Accounts {
        digits: MapState::new("digits"),
        numbers: ListState::new("numbers"),
        smallest: ReducingState::new("smallest", |one: u64, two| one.min(two)),
        first: ValueState::new("first"),
    };
    let shown = Arc::clone(shown);
    topology
        .source("numbers", Generator::bounded(RECORDS, |n| n).splits(3))
        .parallelism(1)
        .event_time(|n| *n as i64, Lateness::up_to(millis(1_000)))
        .key_by(|n| ("account".to_string(), n % KEYS))
        .actor("accounts", accounts)
        .rebalance()
        .actor("total", Total)
        .parallelism(1)
        .sink(
            "shown",
            SinkFn::new(move |_| {
                let shown = Arc::clone(&shown);
                move |record| {
                    shown.lock().map_err(|_| "a writer has panicked")?.push(record);
                    Ok(())
                }
            }),
        );
    topology
}

fn over_a_database() -> StateBackend {
    RocksDb::new().memory_bytes(0).cache_entries(3).into()
}

/// What it shows is the same but for the order and so the running number.
fn sorted(shown: &[(u64, u64, String)]) -> Vec<(u64, String)> {
    let mut sorted: Vec<_> = shown.iter().map(|(_, key, said)| (*key, said.clone())).collect();
    sorted.sort();
    sorted
}

fn taken(shown: &Shown) -> Vec<(u64, u64, String)> {
    std::mem::take(&mut shown.lock().unwrap())
}

fn everything() -> Vec<(u64, String)> {
    let shown = Shown::default();
    bookkeeping(&shown).run(simulated(seeded(1))).unwrap();
    sorted(&taken(&shown))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

#[test]
fn snapshots_of_every_released_version_are_restored_by_either_backend_with_any_parallelism() {
    if let Ok(name) = std::env::var("WATERSHED_WRITE_FIXTURES") {
        write(&folder().join(name));
    }
    let all = everything();
    let mut names: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(!names.is_empty());
    for of in names {
        for written_by in ["memory", "rocksdb"] {
            let savepoint = of.join(written_by);
            let before = std::fs::read(savepoint.join("shown.json")).unwrap();
            let before: Vec<(u64, u64, String)> = serde_json::from_slice(&before).unwrap();
            for (backend, parallelism) in [
                (StateBackend::Memory, 2),
                (over_a_database(), 2),
                (StateBackend::Memory, 3),
                (over_a_database(), 1),
            ] {
                let shown = Shown::default();
                let name = backend.name();
                let config = Config::local().parallelism(parallelism).state_backend(backend).ignore_signals();
                let uri = format!("file://{}", savepoint.display());
                bookkeeping(&shown).run(config.start_from(&uri, Claim::No)).unwrap();
                let after = taken(&shown);
                // The state of the instance went on, too.
                let numbers: Vec<u64> = after.iter().map(|(number, ..)| *number).collect();
                let first = before.len() as u64 + 1;
                assert_eq!(numbers, (first..first + after.len() as u64).collect::<Vec<_>>());
                let both = [before.as_slice(), &after].concat();
                let of = savepoint.display();
                assert!(sorted(&both) == all, "{of} restored by {name}, {parallelism} instances");
            }
        }
    }
}

/// Writes savepoints of this version.
fn write(to: &Path) {
    for backend in [StateBackend::Memory, over_a_database()] {
        let (shown, disk) = (Shown::default(), SimulatedDisk::new(7));
        let simulation = seeded(7).on_disk(&disk).stop_with_savepoint_at(300, "file:///savepoint", Drain::No);
        let config = simulated(simulation).parallelism(2).state_backend(backend.clone());
        let outcome = bookkeeping(&shown).run(config).unwrap();
        assert_eq!(outcome.end, End::Stopped);
        let before = taken(&shown);
        assert!(before.len() > 100 && before.len() < all_of_it(), "{} records", before.len());
        let to = to.join(backend.name());
        copy(&disk, Path::new("/savepoint"), &to);
        std::fs::write(to.join("shown.json"), serde_json::to_vec(&before).unwrap()).unwrap();
    }
}

fn all_of_it() -> usize {
    everything().len()
}

fn copy(disk: &SimulatedDisk, from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in disk.fs().list(from).unwrap() {
        let (from, to) = (from.join(&file.name), to.join(&file.name));
        if file.is_dir {
            copy(disk, &from, &to);
        } else {
            std::fs::write(to, disk.fs().read(&from).unwrap()).unwrap();
        }
    }
}
