//! One answer for whatever goes wrong in code of the user's and on its disks, wherever that is: the region is rolled
//! back, and nothing is lost.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use watershed::prelude::*;
use watershed::{
    Collector, End, ErrorKind, FailureKind, Fs, Outcome, OutputClaim, Owner, Polled, Prepare, Reader,
    Records, SimulatedDisk, Sink, SinkContext, SinkWriter, Source, SourceContext, Split, TwoPhaseSink,
    TwoPhaseWriter,
};
use watershed_state::bug::{self, Bug};

use crate::fixture::{compare, expected_payments, finish, payments, seeded, shown_payments, simulated};

/// Where something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    SourceOpen,
    SourcePoll,
    SourcePosition,
    Closure,
    TimeExtractor,
    KeyExtractor,
    ClosureFactory,
    DropOfRecord,
    OnRecord,
    OnTimer,
    SaveState,
    LoadState,
    SaveRecord,
    LoadRecord,
    SinkOpen,
    SinkWrite,
    SinkFlush,
    OnceOpen,
    OnceWrite,
    OncePrepare,
    OncePrepareBeside,
    OnceCommit,
    OnceDiscard,
}

/// Where user code can only panic.
const PANIC_ONLY: [Place; 11] = [
    Place::SourcePosition,
    Place::Closure,
    Place::TimeExtractor,
    Place::KeyExtractor,
    Place::ClosureFactory,
    Place::SaveState,
    Place::LoadState,
    Place::SaveRecord,
    Place::LoadRecord,
    Place::DropOfRecord,
    // Errors of these are tested apart, below.
    Place::OnRecord,
];

/// Where it can also return an error.
const FALLIBLE: [Place; 12] = [
    Place::SourceOpen,
    Place::SourcePoll,
    Place::OnTimer,
    Place::SinkOpen,
    Place::SinkWrite,
    Place::SinkFlush,
    Place::OnceOpen,
    Place::OnceWrite,
    Place::OncePrepare,
    Place::OncePrepareBeside,
    Place::OnceCommit,
    Place::OnceDiscard,
];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Panic,
    /// An error of the operating system with this number.
    Disk(i32),
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

#[derive(Debug, Clone, Copy)]
struct Trap {
    place: Place,
    how: How,
    /// How often it is passed before.
    passes: u32,
}

thread_local! {
    /// A simulated job runs on the thread of its test.
    static TRAP: Cell<Option<Trap>> = const { Cell::new(None) };
}

/// Goes wrong if it is time to, once.
fn try_pass(place: Place) -> UserResult {
    let Some(trap) = TRAP.get().filter(|trap| trap.place == place) else { return Ok(()) };
    if trap.passes > 0 {
        TRAP.set(Some(Trap { passes: trap.passes - 1, ..trap }));
        return Ok(());
    }
    TRAP.set(None);
    match trap.how {
        // Without the message that many panics would print.
        How::Panic => std::panic::resume_unwind(Box::new(format!("a trap in {place:?}"))),
        How::Disk(code) => Err(Box::new(io::Error::from_raw_os_error(code))),
    }
}

fn pass(place: Place) {
    try_pass(place).unwrap();
}

/// A record, with everything that a type can get wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "u64")]
struct Number(u64);

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        pass(Place::LoadRecord);
        Self(number)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pass(Place::SaveRecord);
        serializer.serialize_u64(self.0)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            pass(Place::DropOfRecord);
        }
    }
}

const RECORDS: u64 = 120;
const KEYS: u64 = 5;

/// The numbers of two splits.
struct Numbers;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Half(u64);

impl Split for Half {
    fn id(&self) -> String {
        self.0.to_string()
    }
}

struct NumbersReader {
    next: u64,
}

impl Source for Numbers {
    type Item = Number;
    type Split = Half;
    type Reader = NumbersReader;

    fn splits(&self) -> UserResult<Vec<Half>> {
        Ok(vec![Half(0), Half(1)])
    }

    fn open(
        &self,
        half: &Half,
        position: Option<u64>,
        _context: &SourceContext,
    ) -> UserResult<NumbersReader> {
        try_pass(Place::SourceOpen)?;
        Ok(NumbersReader { next: position.unwrap_or(half.0) })
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

impl Reader for NumbersReader {
    type Item = Number;
    type Position = u64;

    fn poll(&mut self, records: &mut Records<'_, Number>, limit: usize) -> UserResult<Polled> {
        for _ in 0..limit.min(3) {
            if self.next >= RECORDS {
                return Ok(Polled::End);
            }
            // What was pushed before the failure has to come again.
            try_pass(Place::SourcePoll)?;
            records.push(Number(self.next));
            self.next += 2;
        }
        Ok(Polled::Ready)
    }

    fn position(&self) -> u64 {
        pass(Place::SourcePosition);
        self.next
    }
}

#[derive(Debug, Clone, Default)]
struct Counted(u64);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        try_pass(Place::SaveState).map_err(serde::ser::Error::custom)?;
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        try_pass(Place::LoadState).map_err(serde::de::Error::custom)?;
        Ok(Self(u64::deserialize(deserializer)?))
    }
}

/// Numbers the records of a key, and sets a timer for some.
struct Count;

impl Process for Count {
    type Key = u64;
    type In = Number;
    type Out = Number;
    type State = Counted;

    fn on_record(&self, record: Number, count: &mut Counted, context: &mut Context<'_, Self>) -> UserResult {
        count.0 += 1;
        context.timer_at(record.0 as i64 / 10 * 10);
        context.emit(Number(*context.key() * 1_000 + count.0));
        // What was written before the failure must not stay.
        try_pass(Place::OnRecord)
    }

    fn on_timer(&self, _: Timer, _: &mut Counted, _: &mut Context<'_, Self>) -> UserResult {
        try_pass(Place::OnTimer)
    }
}

/// A sink that shows records at least once.
#[derive(Clone, Default)]
struct Loose(Arc<Mutex<BTreeSet<u64>>>);

impl Sink for Loose {
    type In = Number;
    type Writer = Self;

    fn open(&self, _: &SinkContext) -> UserResult<Self> {
        try_pass(Place::SinkOpen)?;
        Ok(self.clone())
    }
}

impl SinkWriter for Loose {
    type In = Number;

    fn write(&mut self, record: Number) -> UserResult {
        try_pass(Place::SinkWrite)?;
        self.0.lock().unwrap().insert(record.0);
        Ok(())
    }

    fn flush(&mut self) -> UserResult {
        try_pass(Place::SinkFlush)
    }
}

/// A sink that shows records exactly once, with traps before whatever it does.
struct Once<S>(S);

impl<S: TwoPhaseSink<In = Number>> TwoPhaseSink for Once<S> {
    type In = Number;
    type Writer = Once<S::Writer>;
    type Committable = S::Committable;

    fn check(&self, fs: &Fs) -> UserResult {
        self.0.check(fs)
    }

    fn claim(&self, owner: &Owner, fs: &Fs) -> UserResult<Box<dyn OutputClaim>> {
        self.0.claim(owner, fs)
    }

    fn open(&self, context: &SinkContext) -> UserResult<Self::Writer> {
        try_pass(Place::OnceOpen)?;
        Ok(Once(self.0.open(context)?))
    }

    fn commit(&self, committable: &Self::Committable, context: &SinkContext) -> UserResult {
        try_pass(Place::OnceCommit)?;
        self.0.commit(committable, context)
    }

    fn discard_dangling(
        &self,
        keep: &[Self::Committable],
        runs: Range<u64>,
        instance: Option<usize>,
        context: &SinkContext,
    ) -> UserResult {
        try_pass(Place::OnceDiscard)?;
        self.0.discard_dangling(keep, runs, instance, context)
    }

    fn committed_through(&self, lineage: &str, fs: &Fs) -> UserResult<Option<u64>> {
        self.0.committed_through(lineage, fs)
    }

    fn lineages(&self, operator: &str, fs: &Fs) -> UserResult<BTreeSet<String>> {
        self.0.lineages(operator, fs)
    }
}

impl<W: TwoPhaseWriter<In = Number>> TwoPhaseWriter for Once<W>
where
    W::Committable: 'static,
{
    type In = Number;
    type Committable = W::Committable;

    fn write(&mut self, record: Number) -> UserResult {
        try_pass(Place::OnceWrite)?;
        self.0.write(record)
    }

    fn prepare(&mut self, checkpoint: u64) -> UserResult<Option<Prepare<W::Committable>>> {
        try_pass(Place::OncePrepare)?;
        let prepare = self.0.prepare(checkpoint)?;
        Ok(prepare.map(|prepare| {
            Box::new(move || {
                try_pass(Place::OncePrepareBeside)?;
                prepare()
            }) as Prepare<W::Committable>
        }))
    }
}

/// Everything that runs code of the user's, in one region.
fn topology(once: &Collector<Number>, loose: &Loose) -> Topology {
    let topology = Topology::new("answers");
    let numbers = topology.source("numbers", Numbers).map(|number: Number| {
        pass(Place::Closure);
        number
    });
    let timed = numbers.event_time(
        |number| {
            pass(Place::TimeExtractor);
            number.0 as i64
        },
        Lateness::up_to(seconds(1)),
    );
    let keyed = timed.key_by(|number| {
        pass(Place::KeyExtractor);
        number.0 % KEYS
    });
    let counted = keyed.actor("count", Count);
    counted.sink_exactly_once("once", Once(once.sink()));
    counted.sink("loose", loose.clone());
    counted.for_each_instance(|_| {
        pass(Place::ClosureFactory);
        |_| {}
    });
    topology
}

fn expected() -> Vec<u64> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut count = |number| {
        let count = counts.entry(number % KEYS).or_default();
        *count += 1;
        number % KEYS * 1_000 + *count
    };
    let mut expected: Vec<u64> = (0..RECORDS).map(&mut count).collect();
    expected.sort_unstable();
    expected
}

/// Runs with a trap, and with a crash on the way, as something has to be loaded. Returns how it ended, and whether the
/// trap was come by.
fn run_with(trap: Trap, seed: u64) -> (Outcome, bool) {
    let (once, loose) = (Collector::new(), Loose::default());
    TRAP.set(Some(trap));
    let restart = Restart::from_snapshot().fixed(millis(1));
    let config = simulated(seeded(seed).panic_at(300).panic_at(600)).restart(restart);
    let outcome = topology(&once, &loose).run(config);
    let sprung = TRAP.take().is_none();
    let outcome = outcome.unwrap_or_else(|error| panic!("{trap:?} ended the job: {error}"));
    assert_eq!(outcome.end, End::Finished, "{trap:?}");
    assert_eq!(taken(&once), expected(), "{trap:?}");
    assert_eq!(*loose.0.lock().unwrap(), expected().into_iter().collect(), "{trap:?}");
    (outcome, sprung)
}

/// Whether the tree says that this was the cause of a restart.
fn says(outcome: &Outcome, cause: &str) -> bool {
    let failures = outcome.tree.regions.iter().flat_map(|region| &region.recent_failures);
    failures.into_iter().any(|failure| failure.cause.contains(cause))
}

/// Lets it go wrong the first time, and some times later.
fn check(place: Place, how: How, cause: &str) {
    let (mut sprung, mut said) = (0, 0);
    for passes in [0, 1, 5, 30] {
        for seed in 0..5 {
            let (outcome, is_sprung) = run_with(Trap { place, how, passes }, seed);
            sprung += u32::from(is_sprung);
            said += u32::from(says(&outcome, cause));
        }
    }
    assert!(sprung >= 5, "{place:?} was come by only {sprung} times");
    // What fails while the region is on its way down already has no consequences of its own.
    assert!(
        said <= sprung && said * 10 >= sprung * 8,
        "{cause} was the cause of {said} restarts of {sprung}"
    );
}

#[test]
fn a_panic_anywhere_in_code_of_the_users_rolls_the_region_back_and_loses_nothing() {
    for place in PANIC_ONLY.into_iter().chain(FALLIBLE) {
        check(place, How::Panic, &format!("a trap in {place:?}"));
    }
}

#[test]
fn an_error_anywhere_in_code_of_the_users_rolls_the_region_back_and_loses_nothing() {
    for place in FALLIBLE.into_iter().chain([Place::OnRecord]) {
        for code in [EIO, EROFS] {
            check(place, How::Disk(code), &format!("os error {code}"));
        }
    }
}

#[test]
fn a_full_disk_anywhere_in_code_of_the_users_is_waited_out_without_a_budget() {
    for place in FALLIBLE {
        for passes in [0, 1, 3] {
            let (outcome, sprung) = run_with(Trap { place, how: How::Disk(ENOSPC), passes }, 7);
            if sprung {
                assert!(says(&outcome, "os error 28"), "{place:?}: {}", outcome.tree);
                let region = &outcome.tree.regions[0];
                assert!(
                    region.recent_failures.iter().any(|failure| failure.kind == FailureKind::NoSpace),
                    "{place:?}"
                );
            }
        }
    }
}

/// What is shown, in order.
fn taken(once: &Collector<Number>) -> Vec<u64> {
    let mut shown: Vec<u64> = once.take().into_iter().map(|number| number.0).collect();
    shown.sort_unstable();
    shown
}

#[test]
fn an_error_of_serialize_gives_up_the_checkpoint_and_the_job_goes_on() {
    for seed in 0..20 {
        let (once, loose) = (Collector::new(), Loose::default());
        TRAP.set(Some(Trap { place: Place::SaveState, how: How::Disk(EIO), passes: seed as u32 % 6 }));
        let outcome = topology(&once, &loose).run(simulated(seeded(seed))).unwrap();
        assert!(TRAP.take().is_none(), "it was not come by");
        assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0));
        assert!(outcome.checkpoint.unwrap() > outcome.checkpoints, "no checkpoint was given up");
        assert_eq!(taken(&once), expected());
    }
}

#[test]
fn an_error_of_deserialize_ends_the_job_and_loses_nothing() {
    // It comes with the restore, not with the look at what has just been written.
    let _unseen = bug::seed(Bug::UnreadableStateSaved);
    let mut ended = 0;
    for seed in 0..20 {
        let (once, loose) = (Collector::new(), Loose::default());
        let (topology, disk) = (topology(&once, &loose), SimulatedDisk::new(seed));
        TRAP.set(Some(Trap { place: Place::LoadState, how: How::Disk(EIO), passes: 2 }));
        let result = topology.run(simulated(seeded(seed).on_disk(&disk).panic_at(400)));
        if TRAP.take().is_none() {
            let error = result.unwrap_err();
            assert_eq!(error.kind, ErrorKind::State);
            for part in ["`count[", "cannot be restored", "os error 5", "a restart would not change that"] {
                assert!(error.to_string().contains(part), "there is no {part:?} in: {error}");
            }
            ended += 1;
            finish(&topology, seed, &disk);
        }
        assert_eq!(taken(&once), expected());
    }
    assert!(ended > 10, "only {ended} jobs had something to load");
}

#[test]
fn a_disk_that_fails_at_whatever_operation_loses_nothing() {
    let (topology, expected) = (payments(), expected_payments());
    let (mut ended, mut finished) = (0, 0);
    for operation in 1..300 {
        let disk = SimulatedDisk::new(operation);
        disk.fail_during(operation..operation + 1 + operation % 5);
        let config = simulated(seeded(operation).on_disk(&disk).panic_at(100));
        match topology.run(config) {
            Ok(outcome) => {
                assert_eq!(outcome.end, End::Finished);
                compare(&shown_payments(&disk), &expected, &format!("after a defect at {operation}"));
                finished += 1;
            }
            // The start, or a restart, could not read or write what it needs: it says so, and can be tried again.
            Err(error) => {
                use ErrorKind::{Config, Connector, State};
                assert!(matches!(error.kind, State | Config | Connector), "{error:?}");
                ended += 1;
            }
        }
        disk.mend();
        finish(&topology, operation, &disk);
        compare(&shown_payments(&disk), &expected, &format!("after a defect at operation {operation}"));
    }
    assert!(ended > 0 && finished > 200, "{ended} ended, {finished} finished");
}

#[test]
fn a_hundred_restarts_on_a_disk_that_fails_now_and_then_lose_nothing() {
    let (topology, expected) = (payments(), expected_payments());
    for seed in 0..60 {
        let disk = SimulatedDisk::new(seed);
        let simulation =
            (0..100).fold(seeded(seed).on_disk(&disk), |simulation, n| simulation.panic_at(60 + 12 * n));
        let patient = Restart::from_snapshot().fixed(millis(0)).at_most(1_000, minutes(60));
        // Sooner or later that is where the next run numbers are reserved.
        disk.fail_during(60 + 11 * seed..70 + 11 * seed);
        if let Err(error) = topology.run(simulated(simulation).restart(patient)) {
            assert!(matches!(error.kind, ErrorKind::State | ErrorKind::Config), "{error:?}");
        }
        disk.mend();
        finish(&topology, seed, &disk);
        compare(&shown_payments(&disk), &expected, &format!("with seed {seed}"));
    }
}
