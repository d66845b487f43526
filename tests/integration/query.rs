//! Asking a running job for the state of a key.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use watershed::prelude::*;
use watershed::{ErrorKind, Job};

/// Holds whoever comes by as the nth, until the test ends or lets go.
#[derive(Clone)]
struct Door(Arc<Mutex<Held>>);

struct Held {
    left: u64,
    arrived: Sender<()>,
    released: Receiver<()>,
}

/// What the test holds: it hears of the arrival.
struct Latch {
    arrived: Receiver<()>,
    release: Sender<()>,
}

impl Latch {
    fn let_go(self) {
        drop(self.release);
    }
}

fn door(nth: u64) -> (Door, Latch) {
    let ((arrived_at, arrived), (release, released)) = (channel(), channel());
    let held = Held { left: nth, arrived: arrived_at, released };
    (Door(Arc::new(Mutex::new(held))), Latch { arrived, release })
}

impl Door {
    fn pass(&self) {
        let mut held = self.0.lock().unwrap();
        held.left = held.left.saturating_sub(1);
        if held.left == 0 {
            // Both ends go when the test does.
            let _ = held.arrived.send(());
            let _ = held.released.recv();
        }
    }
}

/// Sends so many copies of each record on, and counts the records of each key; fails at one of them.
struct Count {
    copies: usize,
    fails_at: Option<u64>,
}

impl Process for Count {
    type Key = String;
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, n: u64, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        if self.fails_at == Some(n) {
            return Err("as it was told to".into());
        }
        (0..self.copies).for_each(|_| context.emit(n));
        Ok(())
    }
}

fn key(n: u64, keys: u64) -> String {
    format!("key {}", n * n % keys)
}

const RECORDS: u64 = 5_000;
const KEYS: u64 = 701;

/// Counts all records, and holds the last of them behind that.
fn counted(config: Config) -> (Job, Latch) {
    let topology = Topology::new("asked");
    let (door, latch) = door(RECORDS);
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    let spread = numbers.key_by(|n| *n).partition("spread");
    let counted = spread.key_by(|n| key(*n, KEYS)).actor("count", Count { copies: 1, fails_at: None });
    let counted = counted.parallelism(2);
    counted
        .key_by(|_| 0_u8)
        .actor("total", Total)
        .parallelism(1)
        .key_by(|_| 0_u8)
        .partition("door")
        .parallelism(1)
        .for_each(move |_| door.pass());
    let job = topology.start(config.slots(8).ignore_signals()).unwrap();
    (job, latch)
}

/// Has nothing to remember for a key, and counts for itself.
struct Total;

impl Process for Total {
    type Key = u8;
    type In = u64;
    type Out = u64;
    type State = (u64, Option<String>);

    fn on_record(&self, n: u64, total: &mut Self::State, context: &mut Context<'_, Self>) -> UserResult {
        total.0 += 1;
        context.emit(n);
        Ok(())
    }
}

fn ask_for_all(config: Config) {
    let (job, latch) = counted(config);
    latch.arrived.recv().unwrap();
    let mut expected = BTreeMap::<String, u64>::new();
    (0..RECORDS).for_each(|n| *expected.entry(key(n, KEYS)).or_default() += 1);
    for n in 0..KEYS {
        let key = format!("key {n}");
        assert_eq!(job.query::<String, u64>("count", &key).unwrap(), expected.get(&key).copied(), "{key}");
    }
    // A type that is encoded in the same way will do.
    assert_eq!(
        job.query::<String, u32>("count", &key(0, KEYS)).unwrap(),
        Some(expected[&key(0, KEYS)] as u32)
    );
    assert_eq!(
        job.query::<u8, (u64, Option<String>)>("total", &0).unwrap(),
        Some((RECORDS, None)),
        "another operator of the same job"
    );
    assert_eq!(job.query::<u8, (u64, Option<String>)>("total", &1).unwrap(), None);
    latch.let_go();
    let outcome = job.wait().unwrap();
    assert_eq!(outcome.end, End::Finished);
}

#[test]
fn each_key_has_the_state_that_it_has_and_others_have_none() {
    ask_for_all(Config::local());
}

#[test]
fn keys_that_are_in_the_database_alone_are_found_too() {
    ask_for_all(Config::local().state_backend(RocksDb::new().cache_entries(20)));
}

fn refused(asked: watershed::Result<Option<u64>>) -> (ErrorKind, String) {
    let error = asked.unwrap_err();
    (error.kind, error.to_string())
}

#[test]
fn who_asks_for_what_is_not_there_is_told_so() {
    let (job, latch) = counted(Config::local());
    latch.arrived.recv().unwrap();
    let ask = |operator: &str| refused(job.query::<String, u64>(operator, &"key 0".to_string()));
    let (kind, unknown) = ask("counts");
    assert_eq!(kind, ErrorKind::Config);
    assert!(unknown.contains("no operator `counts`; there are `numbers`, `spread`, `count`"), "{unknown}");
    assert!(ask("numbers").1.contains("`numbers` is a source"), "{}", ask("numbers").1);
    assert!(ask("spread").1.contains("`spread`: it keeps no state by key"), "{}", ask("spread").1);

    let (_, key) = refused(job.query::<u64, u64>("count", &7));
    assert!(key.contains("`count`: its keys are of type `alloc::string::String`"), "{key}");
    assert!(key.contains("a `u64`"), "{key}");
    let (kind, state) = match job.query::<String, String>("count", &"key 0".to_string()) {
        Err(error) => (error.kind, error.to_string()),
        Ok(state) => panic!("{state:?}"),
    };
    assert_eq!(kind, ErrorKind::Config);
    assert!(state.contains("`count` are of type `u64`, not `alloc::string::String`"), "{state}");

    latch.let_go();
    // It answers as long as there is a job.
    while job.tree().is_ok() {}
    let (kind, ended) = ask("count");
    assert_eq!((kind, ended.as_str()), (ErrorKind::Config, "the job has ended"));
    job.wait().unwrap();
}

/// Numbers without end, counted, with a door behind them that lets `passes` through.
fn endless(count: Count, passes: u64, config: Config) -> (Job, Latch) {
    let topology = Topology::new("asked");
    let (door, latch) = door(passes);
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).parallelism(1);
    let counted = numbers.key_by(|n| key(*n, 2)).actor("count", count).parallelism(1);
    counted.key_by(|_| 0_u8).partition("door").parallelism(1).for_each(move |_| door.pass());
    (topology.start(config.slots(4).ignore_signals()).unwrap(), latch)
}

#[test]
fn an_operator_without_room_in_its_output_answers_at_once() {
    let config = Config::local().credits(1).batch_records(1);
    let (job, latch) = endless(Count { copies: 1_000, fails_at: None }, 1, config);
    latch.arrived.recv().unwrap();
    let ask = || job.query::<String, u64>("count", &"key 0".to_string()).unwrap();
    // It is stuck with what came of its first record.
    assert_eq!([ask(), ask(), ask()], [Some(1); 3]);
    assert_eq!(job.query::<String, u64>("count", &"key 1".to_string()).unwrap(), None);
    latch.let_go();
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn an_operator_that_restarts_says_so() {
    let config = Config::local().restart(Restart::from_snapshot().backoff(minutes(10), minutes(10)));
    let (job, _latch) = endless(Count { copies: 1, fails_at: Some(1_000) }, u64::MAX, config);
    let why = loop {
        match job.query::<String, u64>("count", &"key 0".to_string()) {
            Ok(count) => assert!(count <= Some(1_001)),
            Err(error) if error.to_string().contains("ask again later") => break error,
            // It went while it was asked.
            Err(error) => assert!(error.to_string().contains("restarts, or the job ends"), "{error}"),
        }
    };
    assert_eq!(why.kind, ErrorKind::State);
    assert!(why.to_string().contains("`count` is starting or restarting"), "{why}");
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn who_asks_an_operator_that_hangs_is_not_kept_waiting_for_ever() {
    let topology = Topology::new("asked");
    let (door, latch) = door(3);
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).parallelism(1);
    let stuck = numbers.key_by(|n| key(*n, 2)).actor("count", Count { copies: 1, fails_at: None });
    // In the same actor: it is the one that is held.
    stuck.parallelism(1).for_each(move |_| door.pass());
    let job = topology.start(Config::local().slots(4).ignore_signals()).unwrap();
    latch.arrived.recv().unwrap();
    let why = job.query::<String, u64>("count", &"key 0".to_string()).unwrap_err().to_string();
    assert!(why.contains("`count` has not answered within 10 seconds"), "{why}");
    latch.let_go();
    job.query::<String, u64>("count", &"key 0".to_string()).unwrap();
    job.cancel().unwrap();
    job.wait().unwrap();
}

/// Counts the records of each key, and how many were broadcast.
struct Beside;

impl BroadcastProcess for Beside {
    type Key = String;
    type In = u64;
    type Broadcast = u64;
    type Out = u64;
    type State = u64;
    type Shared = u64;

    fn on_record(
        &self,
        n: u64,
        count: &mut u64,
        _shared: &u64,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        *count += 1;
        context.emit(n);
        Ok(())
    }

    fn on_broadcast(
        &self,
        _n: u64,
        shared: &mut u64,
        _context: &mut BroadcastContext<'_, Self::Out>,
    ) -> UserResult {
        *shared += 1;
        Ok(())
    }
}

#[test]
fn an_operator_with_a_broadcast_input_is_asked_like_any_other() {
    let topology = Topology::new("asked");
    let (door, latch) = door(20);
    let all = topology.source("all", Generator::bounded(5, |n| n)).parallelism(1);
    let numbers = topology.source("numbers", Generator::bounded(20, |n| n)).parallelism(1);
    let counted = numbers.key_by(|n| key(*n, 4)).connect_broadcast("count", &all, Beside);
    counted.key_by(|_| 0_u8).partition("door").parallelism(1).for_each(move |_| door.pass());
    let job = topology.start(Config::local().slots(8).ignore_signals()).unwrap();
    latch.arrived.recv().unwrap();
    for n in 0..4 {
        let expected = (0..20).filter(|other| key(*other, 4) == key(n, 4)).count() as u64;
        assert_eq!(job.query::<String, u64>("count", &key(n, 4)).unwrap(), Some(expected));
    }
    assert_eq!(job.query::<String, u64>("count", &"nobody".to_string()).unwrap(), None);
    latch.let_go();
    job.wait().unwrap();
}
