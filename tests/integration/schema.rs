//! State that outlives the code: what one version of a struct has written, another one reads.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::{Claim, Collector, Config, ErrorKind, RocksDb, SimulatedDisk, State, StateBackend};

use crate::fixture::{seeded, simulated};

const SAVEPOINT: &str = "file:///savepoints/old";

/// How the versions of a state are used.
trait Visits: State {
    /// Counts a visit; how many there have been, and what else is known.
    fn visit(&mut self, n: u64) -> (u64, String);
}

/// As it was first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Old {
    count: u64,
    last: String,
    parity: u8,
    sizes: Vec<u32>,
}

impl Visits for Old {
    fn visit(&mut self, n: u64) -> (u64, String) {
        self.count += 1;
        self.last = format!("visit {n}");
        self.parity = (n % 2) as u8;
        self.sizes.push(n as u32);
        (self.count, self.last.clone())
    }
}

/// In another order, without the parity, with a wider number, a new name and a new field.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct New {
    #[serde(default)]
    comment: Option<String>,
    sizes: Vec<u64>,
    last: String,
    #[serde(alias = "count")]
    visits: u64,
}

impl Visits for New {
    fn visit(&mut self, n: u64) -> (u64, String) {
        self.visits += 1;
        assert_eq!(self.visits, self.sizes.len() as u64 + 1);
        assert_eq!(self.last.is_empty(), self.visits == 1);
        self.sizes.push(n);
        self.comment.get_or_insert_with(|| format!("since {n}"));
        self.last = format!("visit {n}");
        (self.visits, self.last.clone())
    }
}

/// With a field of another type.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Retyped {
    count: String,
}

/// With a field that what was written before does not have.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Demanding {
    count: u64,
    city: String,
}

impl Visits for Retyped {
    fn visit(&mut self, _: u64) -> (u64, String) {
        (0, self.count.clone())
    }
}

impl Visits for Demanding {
    fn visit(&mut self, _: u64) -> (u64, String) {
        (self.count, self.city.clone())
    }
}

struct Visit<S>(PhantomData<fn() -> S>);

impl<S: Visits> Process for Visit<S> {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64, String);
    type State = S;

    fn on_record(&self, n: u64, state: &mut S, context: &mut Context<'_, Self>) -> UserResult {
        let (count, last) = state.visit(n);
        context.emit((*context.key(), count, last));
        Ok(())
    }
}

const RECORDS: u64 = 400;
const KEYS: u64 = 23;

fn visits<S: Visits>(shown: &Collector<(u64, u64, String)>) -> Topology {
    let topology = Topology::new("visits");
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    numbers
        .key_by(|n| n % KEYS)
        .actor("visits", Visit::<S>(PhantomData))
        .sink_exactly_once("shown", shown.sink());
    topology
}

fn over_a_database() -> StateBackend {
    RocksDb::new().memory_bytes(0).cache_entries(3).into()
}

/// A disk with a savepoint of the old version, whose output is in `shown`.
fn old(backend: &StateBackend, shown: &Collector<(u64, u64, String)>) -> SimulatedDisk {
    let disk = SimulatedDisk::new(5);
    let stop = seeded(5).on_disk(&disk).stop_with_savepoint_at(80, SAVEPOINT, watershed::Drain::No);
    let config = simulated(stop).checkpoints("/first").state_backend(backend.clone());
    assert_eq!(visits::<Old>(shown).run(config).unwrap().end, End::Stopped);
    disk
}

fn from_savepoint(disk: &SimulatedDisk, backend: StateBackend) -> Config {
    simulated(seeded(6).on_disk(disk)).start_from(SAVEPOINT, Claim::No).state_backend(backend)
}

#[test]
fn a_struct_gains_loses_reorders_and_renames_fields_and_goes_on_with_what_the_old_one_has_saved() {
    let backends = [StateBackend::Memory, over_a_database()];
    for (before, after) in
        backends.iter().flat_map(|before| backends.iter().map(move |after| (before, after)))
    {
        let shown = Collector::new();
        let disk = old(before, &shown);
        let mut all = shown.take();
        let by_the_old = all.len();
        assert!(by_the_old > KEYS as usize && by_the_old < RECORDS as usize, "{by_the_old}");
        visits::<New>(&shown).run(from_savepoint(&disk, after.clone())).unwrap();
        all.extend(shown.take());
        all.sort_unstable();
        let mut expected: Vec<(u64, u64, String)> =
            (0..RECORDS).map(|n| (n % KEYS, n / KEYS + 1, format!("visit {n}"))).collect();
        expected.sort_unstable();
        assert_eq!(all, expected, "from {} to {}", before.name(), after.name());
    }
}

fn refused<S: Visits>(before: &StateBackend, after: StateBackend) -> String {
    let shown = Collector::new();
    let disk = old(before, &shown);
    let error = visits::<S>(&Collector::new()).run(from_savepoint(&disk, after)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::State);
    error.to_string()
}

#[test]
fn a_struct_that_cannot_read_what_was_saved_ends_the_job_and_the_error_says_where_and_what_to_do() {
    let backends = [StateBackend::Memory, over_a_database()];
    for (before, after) in
        backends.iter().flat_map(|before| backends.iter().map(move |after| (before, after)))
    {
        let when = format!("from {} to {}", before.name(), after.name());
        let retyped = refused::<Retyped>(before, after.clone());
        let demanding = refused::<Demanding>(before, after.clone());
        for (error, what) in [(&retyped, "Retyped"), (&demanding, "Demanding")] {
            // One of its instances.
            assert!(
                error.contains("`visits[") && error.contains(&format!("schema::{what}")),
                "{when}: {error}"
            );
            assert!(error.contains("new fields need #[serde(default)]"), "{when}: {error}");
            assert!(error.contains("SavepointWriter::transform"), "{when}: {error}");
            assert!(error.contains("a restart would not change that"), "{when}: {error}");
        }
        assert!(demanding.contains("missing field `city`"), "{when}: {demanding}");
    }
}

/// Counts what was broadcast, in each instance.
struct Heard;

impl BroadcastProcess for Heard {
    type Key = u64;
    type In = u64;
    type Broadcast = u64;
    type Out = (u64, u64, String);
    type State = Old;
    type Shared = u64;

    fn on_record(
        &self,
        n: u64,
        state: &mut Old,
        _shared: &u64,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        let (count, last) = state.visit(n);
        context.emit((*context.key(), count, last));
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
fn an_operator_that_has_no_broadcast_input_any_more_does_not_lose_its_replica_without_a_word() {
    let (disk, shown) = (SimulatedDisk::new(5), Collector::new());
    let topology = Topology::new("visits");
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    let heard = numbers.key_by(|n| n % KEYS).connect_broadcast("visits", &numbers, Heard);
    heard.sink_exactly_once("shown", shown.sink());
    let stop = seeded(5).on_disk(&disk).stop_with_savepoint_at(60, SAVEPOINT, watershed::Drain::No);
    assert_eq!(topology.run(simulated(stop).checkpoints("/first")).unwrap().end, End::Stopped);
    let config = simulated(seeded(5).on_disk(&disk)).checkpoints("/second").start_from(SAVEPOINT, Claim::No);
    let error = visits::<Old>(&shown).run(config).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    let said = error.to_string();
    assert!(said.contains("`visits`") && said.contains("drop_state_of"), "{said}");
}
