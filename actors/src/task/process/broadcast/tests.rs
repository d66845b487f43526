use std::collections::BTreeMap;

use watershed_state::{KeyGroups, Section, hash_key};

use super::*;
use crate::clock::NO_TIMESTAMP;
use crate::error::UserResult;
use crate::failure::FailureKind;
use crate::harness::driver::Driver;
use crate::harness::probe::{Heard, Probe};
use crate::harness::world::World;
use crate::harness::{Harness, Item, record, watermark};
use crate::inbox::Inbox;
use crate::message::Message;
use crate::process::{ConnectedContext, Timer};
use crate::supervision::{Directive, LETTERS, Oversight, Policy, SkipCap, SkipEntry};
use crate::task::{InstanceStore, KeyedStore, OperatorTask};

/// Counts the records of each key, up to the limit that was broadcast for it.
struct Limits;

/// A key with its limit.
type Limit = (u64, u64);

/// Key, how many records it has had, and its limit.
type Said = (u64, u64, Option<u64>);

const REFUSED: u64 = 13;
const PANICS: u64 = 99;

impl BroadcastProcess for Limits {
    type Key = u64;
    type In = u64;
    type Broadcast = Limit;
    type Out = Said;
    type State = u64;
    type Shared = BTreeMap<u64, u64>;

    fn on_record(
        &self,
        key: u64,
        count: &mut u64,
        limits: &BTreeMap<u64, u64>,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        *count += 1;
        let limit = limits.get(&key).copied();
        context.emit((key, *count, limit));
        if let Some(limit) = limit {
            context.timer_at(limit as i64);
        }
        if limit.is_some_and(|limit| *count > limit) { Err("too many".into()) } else { Ok(()) }
    }

    fn on_broadcast(
        &self,
        (key, limit): Limit,
        limits: &mut BTreeMap<u64, u64>,
        context: &mut BroadcastContext<'_, Said>,
    ) -> UserResult {
        limits.insert(key, limit);
        context.emit((key, 0, Some(limit)));
        assert_ne!(limit, PANICS, "it cannot be handled");
        if limit == REFUSED { Err("it is refused".into()) } else { Ok(()) }
    }

    fn on_timer(
        &self,
        timer: Timer,
        count: &mut u64,
        limits: &BTreeMap<u64, u64>,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        let key = *context.key();
        context.emit((key, 1_000 * timer.at as u64 + *count, limits.get(&key).copied()));
        Ok(())
    }
}

type Input = BroadcastInput<u64, Limit>;

fn limit(key: u64, limit: u64) -> Item<Input> {
    record(BroadcastInput::Broadcast((key, limit)))
}

fn of(key: u64) -> Item<Input> {
    record(BroadcastInput::Record(key))
}

fn limits(input: impl IntoIterator<Item = Item<Input>>) -> Harness<Connected<Limits>> {
    Harness::keyed_broadcast(Limits, |key| *key).input(input)
}

#[test]
fn records_and_timers_see_what_was_broadcast_before_them() {
    let input = [
        of(1).at(1),
        limit(1, 5).at(2),
        of(1).at(3),
        of(2).at(3),
        limit(1, 7).at(4),
        watermark(5),
        of(1).at(6),
        watermark(8),
    ];
    limits(input).expect_output([
        record((1, 1, None)).at(1),
        record((1, 0, Some(5))).at(2),
        record((1, 2, Some(5))).at(3),
        record((2, 1, None)).at(3),
        record((1, 0, Some(7))).at(4),
        record((1, 5_002, Some(7))).at(5),
        watermark(5),
        record((1, 3, Some(7))).at(6),
        record((1, 7_003, Some(7))).at(7),
        watermark(8),
    ]);
}

#[test]
fn a_failure_of_a_broadcast_record_has_no_key_and_one_of_a_record_has_its_own() {
    let failure = |cause: &str, kind, key: Option<&str>| Failure {
        cause: cause.to_string(),
        kind,
        key: key.map(str::to_string),
        blame: None,
    };
    let refused = limits([of(1), limit(1, REFUSED)]).expect_failure();
    assert_eq!(refused, failure("it is refused", FailureKind::Error, None));
    let too_many = limits([limit(1, 0), of(1)]).expect_failure();
    assert_eq!(too_many, failure("too many", FailureKind::Error, Some("1")));
}

/// Sums what is broadcast for all records of the instance.
struct Total;

impl BroadcastProcess for Total {
    type Key = ();
    type In = u64;
    type Broadcast = u64;
    type Out = (u64, u64);
    type State = u64;
    type Shared = u64;

    fn on_record(
        &self,
        number: u64,
        sum: &mut u64,
        shared: &u64,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        *sum += number;
        context.emit((*sum, *shared));
        Ok(())
    }

    fn on_broadcast(
        &self,
        number: u64,
        shared: &mut u64,
        context: &mut BroadcastContext<'_, (u64, u64)>,
    ) -> UserResult {
        *shared += number;
        if context.instance().index == 0 {
            context.emit_at((0, *shared), context.timestamp().unwrap_or(7));
        }
        Ok(())
    }
}

#[test]
fn without_keys_there_is_one_state_beside_the_replica() {
    let (one, all) = (BroadcastInput::Record, BroadcastInput::Broadcast);
    let input = [record(one(1)), record(all(10)), record(one(2)), record(all(5)), record(one(3))];
    Harness::broadcast(Total).input(input).expect_output([
        record((1, 0)),
        record((0, 10)).at(7),
        record((3, 10)),
        record((0, 15)).at(7),
        record((6, 15)),
    ]);
}

type KeyedLogic = BroadcastLogic<Limits, KeyedStore<Connected<Limits>, fn(&Input) -> u64>>;

/// An instance with its output and its letters.
struct Rig {
    driver: Driver<OperatorTask<KeyedLogic>>,
    output: Probe<Said>,
    letters: Probe<DeadLetter>,
}

/// What its policy says of it.
#[derive(Default)]
struct Care {
    directive: Option<Directive>,
    parks: bool,
    skips: Vec<SkipEntry>,
    careful: u64,
}

fn start(world: &World, (index, parallelism): (usize, usize), saved: &[Vec<Section>], care: Care) -> Rig {
    let mut env = world.env("limits", index, parallelism);
    let mut policy = care.directive.map_or_else(Policy::default, Policy::of);
    policy.parks_keys = care.parks;
    policy.cap = SkipCap { fraction: 1.0, ..SkipCap::default() };
    env.oversight = Arc::new(Oversight::new(policy, 0, care.careful, care.skips));
    let (output, letters) = (Probe::new(), Probe::new());
    let mut sides = SideOutputs::default();
    sides.connect(LETTERS, letters.outlet(8, env.run));
    let outlet = output.outlet(8, env.run);
    let restored =
        Restored { instances: saved.iter().cloned().map(Into::into).collect(), ..Restored::default() };
    let key_of: fn(&Input) -> u64 = |input| *input.record().unwrap();
    let store = KeyedStore::new(Arc::new(key_of), KeyGroups::DEFAULT, &env.instance);
    let given = env.clone();
    let boot = Box::new(move || {
        let mut inbox = Inbox::new(2, given.run);
        let (logic, watermark) =
            BroadcastLogic::restore(given.clone(), Arc::new(Limits), store, (outlet, sides), &restored)?;
        inbox.restore_watermark(watermark);
        Ok(OperatorTask::new(given, inbox, logic))
    });
    let probes: Vec<Box<dyn crate::harness::probe::Credits>> =
        vec![Box::new(output.clone()), Box::new(letters.clone())];
    let driver = Driver::boot(world, env, 2, probes, boot).unwrap();
    Rig { driver, output, letters }
}

impl Rig {
    fn records(&mut self, keys: &[u64]) -> Vec<Said> {
        let mut batch = Batch::default();
        for key in keys {
            batch.push_keyed(BroadcastInput::Record(*key), NO_TIMESTAMP, hash_key(key));
        }
        self.driver.send(0, Message::Batch(batch)).unwrap();
        self.said().unwrap()
    }

    fn broadcast(&mut self, limits: &[Limit]) -> Result<Vec<Said>, Failure> {
        let values = limits.iter().copied().map(BroadcastInput::Broadcast).collect();
        self.driver.send_values(1, values)?;
        self.said()
    }

    fn said(&mut self) -> Result<Vec<Said>, Failure> {
        self.driver.settle()?;
        let heard = self.output.take().into_iter();
        Ok(heard
            .filter_map(|heard| if let Heard::Record(said, _) = heard { Some(said) } else { None })
            .collect())
    }

    fn letters(&self) -> Vec<DeadLetter> {
        let heard = self.letters.take().into_iter();
        heard
            .filter_map(|heard| if let Heard::Record(letter, _) = heard { Some(letter) } else { None })
            .collect()
    }
}

fn quarantine() -> Care {
    Care { directive: Some(Directive::Quarantine), ..Care::default() }
}

/// A key of each of so many instances, from the first on.
fn key_of(instance: usize, parallelism: usize) -> u64 {
    let groups = KeyGroups::DEFAULT;
    (0..10_000)
        .find(|key| groups.instance_of(groups.group_of(hash_key(key)), parallelism) == instance)
        .unwrap()
}

#[test]
fn after_a_change_of_parallelism_every_instance_has_a_copy() {
    let world = World::new();
    let mut rigs = [0, 1].map(|index| start(&world, (index, 2), &[], Care::default()));
    for rig in &mut rigs {
        rig.broadcast(&[(0, 50), (1, 60)]).unwrap();
    }
    // So that it shows whose copy it is.
    rigs[1].broadcast(&[(key_of(1, 2), 70)]).unwrap();
    let saved: Vec<Vec<Section>> =
        rigs.iter_mut().map(|rig| rig.driver.snapshot(&world, 1).unwrap()).collect();

    for parallelism in [1, 3, 5] {
        for index in 0..parallelism {
            let key = key_of(index, parallelism);
            let limit = [(0, 50), (1, 60)].into_iter().find(|(limited, _)| *limited == key);
            let mut rig = start(&World::new(), (index, parallelism), &saved, Care::default());
            assert_eq!(rig.records(&[key]), [(key, 1, limit.map(|(_, limit)| limit))]);
        }
    }
    let key = key_of(1, 2);
    assert_eq!(start(&World::new(), (1, 2), &saved, Care::default()).records(&[key]), [(key, 1, Some(70))]);
}

#[test]
fn what_a_broadcast_record_wrote_is_taken_back_when_it_is_left_out() {
    for careful in [0, 100] {
        let world = World::new();
        let mut rig = start(&world, (0, 1), &[], Care { careful, ..quarantine() });
        let said = rig.broadcast(&[(1, 5), (1, REFUSED), (2, REFUSED), (3, 8)]).unwrap();
        assert_eq!(said, [(1, 0, Some(5)), (3, 0, Some(8))]);
        assert_eq!(rig.records(&[1, 2, 3]), [(1, 1, Some(5)), (2, 1, None), (3, 1, Some(8))]);
        let letters = rig.letters();
        let payloads: Vec<_> = letters.iter().map(|letter| letter.evidence.payload.to_string()).collect();
        assert_eq!(payloads, ["{\"Broadcast\":[1,13]}", "{\"Broadcast\":[2,13]}"]);
        assert!(letters.iter().all(|letter| letter.cause == "it is refused" && !letter.parked));
    }
}

#[test]
fn records_that_are_left_out_and_keys_that_wait_are_so_beside_broadcast_records_too() {
    let world = World::new();
    let mut rig = start(&world, (0, 1), &[], Care { parks: true, ..quarantine() });
    rig.broadcast(&[(1, 0), (2, 9)]).unwrap();
    // The first of key 1 is refused, and the next one waits for it.
    assert_eq!(rig.records(&[1, 2, 1]), [(2, 1, Some(9))]);
    // The other input goes on, and the key waits still, also in a batch of both.
    assert_eq!(rig.broadcast(&[(1, 20)]).unwrap(), [(1, 0, Some(20))]);
    let mut mixed = Batch::default();
    for input in [BroadcastInput::Record(1), BroadcastInput::Broadcast((2, 8)), BroadcastInput::Record(2)] {
        let hash = input.record().map_or(0, hash_key);
        mixed.push_keyed(input, NO_TIMESTAMP, hash);
    }
    rig.driver.send(0, Message::Batch(mixed)).unwrap();
    assert_eq!(rig.said().unwrap(), [(2, 0, Some(8)), (2, 2, Some(8))]);

    // Once its letter is replayed, all comes in order, as the limit is another one now.
    let letter = rig.letters().pop().unwrap();
    assert!(letter.parked);
    rig.driver.cell.env().oversight.replay([Replay { letter, discarded: false }]);
    assert_eq!(rig.said().unwrap(), [(1, 1, Some(20)), (1, 2, Some(20)), (1, 3, Some(20))]);
}

#[test]
fn a_letter_of_a_broadcast_record_cannot_be_replayed_by_one_instance_and_says_why() {
    let world = World::new();
    let mut rig = start(&world, (0, 1), &[], quarantine());
    rig.broadcast(&[(1, REFUSED)]).unwrap();
    let letter = rig.letters().pop().unwrap();
    rig.driver.cell.env().oversight.replay([Replay { letter, discarded: false }]);
    assert_eq!(rig.said().unwrap(), []);
    let why = world.reports.of(crate::task::TaskId(0)).into_iter().find_map(|event| match event {
        crate::task::TaskEvent::CannotReplay { why, .. } => Some(why),
        _ => None,
    });
    let why = why.unwrap();
    assert!(why.contains("send it again through its stream"), "{why}");
}

#[test]
fn a_broadcast_record_that_panics_is_the_suspect_and_is_left_out_by_all_once_it_is_listed() {
    let world = World::new();
    let mut rig = start(&world, (0, 1), &[], Care { careful: 10, ..quarantine() });
    rig.broadcast(&[(1, 5)]).unwrap();
    let failure = rig.broadcast(&[(2, 6), (1, PANICS)]).unwrap_err();
    assert_eq!((failure.kind, &failure.key), (FailureKind::Panic, &None));
    let suspect = failure.blame.unwrap().suspect.unwrap();
    assert_eq!(suspect.evidence.payload.to_string(), "{\"Broadcast\":[1,99]}");

    let entry = SkipEntry {
        id: 1,
        operator: "limits".to_string(),
        instance: 0,
        fingerprint: suspect.fingerprint,
        occurrence: 1,
        lineage: "test".to_string(),
        parallelism: 1,
        checkpoint: 0,
        within_records: 100,
        evidence: suspect.evidence,
        attempts: 3,
        cause: "it cannot be handled".to_string(),
        backtrace: None,
        panicked: true,
        replay_of: None,
    };
    for (index, parallelism) in [(0, 1), (0, 2), (1, 2)] {
        let care = Care { skips: vec![entry.clone()], ..quarantine() };
        let mut rig = start(&World::new(), (index, parallelism), &[], care);
        let key = key_of(index, parallelism);
        assert_eq!(rig.broadcast(&[(key, 5), (1, PANICS)]).unwrap(), [(key, 0, Some(5))]);
        assert_eq!(rig.records(&[key]), [(key, 1, Some(5))]);
        assert_eq!(rig.letters().len(), 1);
    }
}

#[test]
fn a_replica_that_cannot_be_restored_names_operator_and_type() {
    let mut bytes = Vec::new();
    watershed_state::encode("no map", &mut bytes).unwrap();
    let section = SavedState::section(SavedState::REPLICA, Redistribution::Broadcast, 1, &bytes).unwrap();
    let restored = Restored { instances: vec![vec![section].into()], ..Restored::default() };
    let world = World::new();
    let store = InstanceStore::<Connected<Total>>::new();
    let outputs = (Probe::new().outlet(8, 1), SideOutputs::default());
    let env = world.env("total", 0, 1);
    let failure = BroadcastLogic::restore(env, Arc::new(Total), store, outputs, &restored).err().unwrap();
    assert_eq!(failure.kind, FailureKind::State);
    assert!(failure.cause.contains("`shared` of `total`") && failure.cause.contains("u64"), "{failure}");
}
