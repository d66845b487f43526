//! Threads that are stuck in code of the user's: nobody waits for them, and when they come back they change nothing.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watershed::prelude::*;
use watershed::{
    Collector, ErrorKind, Fs, Job, OutputClaim, Owner, Prepare, RegionNode, RegionState, SinkContext,
    TwoPhaseSink, TwoPhaseWriter,
};

use crate::fixture::{now, pause};

/// Where the first who comes by is held until the test lets it go.
#[derive(Clone)]
struct Pit(Arc<Inner>);

struct Inner {
    taken: AtomicBool,
    fell: Mutex<Sender<()>>,
    released: Mutex<Receiver<()>>,
    gone: Mutex<Option<Sender<()>>>,
}

/// What the test holds.
struct Rope {
    fell: Receiver<()>,
    release: Sender<()>,
    gone: Receiver<()>,
}

/// Tells when its thread ends.
struct Farewell(Option<Sender<()>>);

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(gone) = self.0.take() {
            // The test may have ended.
            let _ = gone.send(());
        }
    }
}

thread_local! {
    static FAREWELL: std::cell::RefCell<Farewell> = const { std::cell::RefCell::new(Farewell(None)) };
}

const PATIENCE: Duration = Duration::from_mins(1);

fn pit() -> (Pit, Rope) {
    let ((fell_at, fell), (release, released), (gone_at, gone)) = (channel(), channel(), channel());
    let inner = Inner {
        taken: AtomicBool::new(false),
        fell: Mutex::new(fell_at),
        released: Mutex::new(released),
        gone: Mutex::new(Some(gone_at)),
    };
    (Pit(Arc::new(inner)), Rope { fell, release, gone })
}

impl Pit {
    /// Holds the first who comes.
    fn pass(&self) {
        if self.0.taken.swap(true, Ordering::SeqCst) {
            return;
        }
        let gone = self.0.gone.lock().unwrap().take();
        FAREWELL.with(|farewell| farewell.borrow_mut().0 = gone);
        self.0.fell.lock().unwrap().send(()).unwrap();
        // It also ends when the test does.
        let _ = self.0.released.lock().unwrap().recv();
    }
}

impl Rope {
    fn wait_for_fall(&self) {
        self.fell.recv_timeout(PATIENCE).unwrap();
    }

    /// Lets it go, and waits until its thread has ended.
    fn pull(self) {
        self.release.send(()).unwrap();
        self.gone.recv_timeout(PATIENCE).unwrap();
    }
}

/// Adds up, and passes by the pit with one of the records.
struct Sum {
    pit: Pit,
    at: u64,
}

impl Process for Sum {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, record: u64, sum: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        if record == self.at {
            self.pit.pass();
        }
        *sum += record;
        context.emit((record, *sum));
        Ok(())
    }
}

const RECORDS: u64 = 6_000;

fn expected_sums() -> Vec<(u64, u64)> {
    let sum = |n: u64| (n % 3..=n).step_by(3).sum();
    (0..RECORDS).map(|n| (n, sum(n))).collect()
}

fn sorted<T: Ord>(mut records: Vec<T>) -> Vec<T> {
    records.sort_unstable();
    records
}

/// A thread for each actor, and a watchdog that waits long enough for a busy machine.
fn watched() -> Config {
    Config::local()
        .parallelism(1)
        .slots(8)
        .checkpoint_interval(millis(20))
        .hang_timeout(seconds(1))
        .restart(Restart::from_snapshot().fixed(millis(1)))
        .ignore_signals()
}

fn region_of(job: &Job, operator: &str) -> RegionNode {
    let tree = job.tree().unwrap();
    tree.regions
        .into_iter()
        .find(|region| region.operators.iter().any(|node| node.operator == operator))
        .unwrap()
}

/// Whether this is said of its last failure.
fn says(region: &RegionNode, what: &str) -> bool {
    region.last_failure.as_ref().is_some_and(|failure| failure.contains(what))
}

/// Looks again and again until it is so.
pub(crate) fn wait_until(what: &str, so: impl Fn() -> bool) {
    let begin = now();
    while !so() {
        assert!(begin.elapsed() < PATIENCE, "{what} does not come");
        pause(Duration::from_millis(2));
    }
}

#[test]
fn a_stuck_operator_is_left_behind_while_another_region_goes_on_and_changes_nothing_when_it_comes_back() {
    let (pit, rope) = pit();
    let (sums, others) = (Collector::new(), Collector::new());
    let topology = Topology::new("stuck");
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).rate(3_000.0);
    let sum = Sum { pit, at: RECORDS / 4 };
    numbers.key_by(|n| n % 3).actor("sum", sum).sink_exactly_once("sums", sums.sink());
    let other = topology.source("other", Generator::unbounded(|n| n)).rate(20_000.0);
    other.sink_exactly_once("others", others.sink());
    let job = topology.start(watched()).unwrap();
    rope.wait_for_fall();
    // While it is stuck the other region reads on, as long as nobody has noticed and after that.
    let read = || region_of(&job, "other").operators[0].instances[0].records;
    let at_fall = read();
    wait_until("more of the other region", || read() > at_fall + 1_000);
    wait_until("the region", || {
        let region = region_of(&job, "sum");
        let hung = says(&region, "sum[0] hung") && says(&region, "a step has taken");
        region.restarts >= 1 && region.state == RegionState::Running && hung
    });
    wait_until("all sums", || sums.snapshot().len() == RECORDS as usize);
    rope.pull();
    assert_eq!(region_of(&job, "other").restarts, 0);
    job.stop().unwrap();
    assert_eq!(job.wait().unwrap().end, End::Stopped);
    assert_eq!(sorted(sums.take()), expected_sums());
    let shown = others.take();
    assert!(
        shown.iter().copied().eq(0..shown.len() as u64),
        "the other region has lost or repeated something"
    );
}

#[test]
fn a_thread_that_comes_back_in_the_middle_of_the_next_attempt_changes_nothing() {
    let (pit, rope) = pit();
    let sums = Collector::new();
    let topology = Topology::new("stuck");
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).rate(3_000.0);
    let sum = Sum { pit, at: RECORDS / 4 };
    numbers.key_by(|n| n % 3).actor("sum", sum).sink_exactly_once("sums", sums.sink());
    let job = topology.start(watched()).unwrap();
    rope.wait_for_fall();
    wait_until("the region", || says(&region_of(&job, "sum"), "sum[0] hung"));
    rope.pull();
    assert_eq!(job.wait().unwrap().end, End::Finished);
    assert_eq!(sorted(sums.take()), expected_sums());
}

#[test]
fn everything_on_a_stuck_thread_comes_back_on_another_one() {
    let (pit, rope) = pit();
    let (sums, others) = (Collector::new(), Collector::new());
    let topology = Topology::new("stuck");
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).rate(3_000.0);
    let sum = Sum { pit, at: RECORDS / 4 };
    numbers.key_by(|n| n % 3).actor("sum", sum).sink_exactly_once("sums", sums.sink());
    let other = topology.source("other", Generator::bounded(RECORDS, |n| n)).rate(3_000.0);
    other.sink_exactly_once("others", others.sink());
    // One thread for both regions; and no budget for the one that has done nothing wrong.
    let once = Supervision::from(Restart::failure_rate(1, minutes(60), millis(1)));
    let config = watched().slots(1).supervise(once).restart(Restart::never());
    let outcome = topology.run(config).unwrap();
    assert_eq!(outcome.end, End::Finished);
    assert_eq!(outcome.tree.regions.iter().map(|region| region.restarts).collect::<Vec<_>>(), [1, 1]);
    rope.pull();
    assert_eq!(sorted(sums.take()), expected_sums());
    assert_eq!(sorted(others.take()), (0..RECORDS).collect::<Vec<_>>());
}

#[test]
fn a_job_that_ends_because_of_a_stuck_thread_does_not_wait_for_it() {
    let (pit, rope) = pit();
    let topology = Topology::new("stuck");
    let numbers = topology.source("numbers", Generator::unbounded(|n| n));
    numbers.key_by(|n| n % 3).actor("sum", Sum { pit, at: 1_000 }).for_each(|_| {});
    let error = topology.run(watched().restart(Restart::never())).unwrap_err().to_string();
    assert!(error.contains("`sum[0]` hung: a step has taken"), "{error}");
    // It was still down there when the job had ended.
    rope.wait_for_fall();
    rope.pull();
}

/// A sink that passes by a pit in one of its methods.
struct Holed<S> {
    sink: S,
    pit: Pit,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Open,
    Write,
    Prepare,
    PrepareBeside,
    Commit,
}

struct HoledWriter<W> {
    writer: W,
    pit: Pit,
    place: Place,
}

impl<S: TwoPhaseSink<In = u64>> TwoPhaseSink for Holed<S> {
    type In = u64;
    type Writer = HoledWriter<S::Writer>;
    type Committable = S::Committable;

    fn check(&self, fs: &Fs) -> UserResult {
        self.sink.check(fs)
    }

    fn claim(&self, owner: &Owner, fs: &Fs) -> UserResult<Box<dyn OutputClaim>> {
        self.sink.claim(owner, fs)
    }

    fn open(&self, context: &SinkContext) -> UserResult<Self::Writer> {
        if self.place == Place::Open {
            self.pit.pass();
        }
        Ok(HoledWriter { writer: self.sink.open(context)?, pit: self.pit.clone(), place: self.place })
    }

    fn commit(&self, committable: &Self::Committable, context: &SinkContext) -> UserResult {
        if self.place == Place::Commit {
            self.pit.pass();
        }
        self.sink.commit(committable, context)
    }

    fn discard_dangling(
        &self,
        keep: &[Self::Committable],
        runs: Range<u64>,
        instance: Option<usize>,
        context: &SinkContext,
    ) -> UserResult {
        self.sink.discard_dangling(keep, runs, instance, context)
    }

    fn committed_through(&self, lineage: &str, fs: &Fs) -> UserResult<Option<u64>> {
        self.sink.committed_through(lineage, fs)
    }

    fn lineages(&self, operator: &str, fs: &Fs) -> UserResult<BTreeSet<String>> {
        self.sink.lineages(operator, fs)
    }
}

impl<W: TwoPhaseWriter<In = u64>> TwoPhaseWriter for HoledWriter<W>
where
    W::Committable: Send + 'static,
{
    type In = u64;
    type Committable = W::Committable;

    fn write(&mut self, record: u64) -> UserResult {
        if self.place == Place::Write && record == 100 {
            self.pit.pass();
        }
        self.writer.write(record)
    }

    fn prepare(&mut self, checkpoint: u64) -> UserResult<Option<Prepare<W::Committable>>> {
        if self.place == Place::Prepare {
            self.pit.pass();
        }
        let (pit, place) = (self.pit.clone(), self.place);
        let prepare = self.writer.prepare(checkpoint)?;
        Ok(prepare.map(|prepare| {
            Box::new(move || {
                if place == Place::PrepareBeside {
                    pit.pass();
                }
                prepare()
            }) as Prepare<W::Committable>
        }))
    }
}

/// Lets a sink be stuck there. Returns what was said of it.
fn stuck_in(place: Place, what: &str) -> String {
    let (pit, rope) = pit();
    let shown = Collector::new();
    let topology = Topology::new("stuck");
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).rate(10_000.0);
    numbers.sink_exactly_once("shown", Holed { sink: shown.sink(), pit, place });
    // Opening may take ten times as long.
    let timeout = if place == Place::Open { millis(100) } else { seconds(1) };
    let job = topology.start(watched().hang_timeout(timeout)).unwrap();
    rope.wait_for_fall();
    // On a busy machine other steps may take too long, too.
    wait_until(what, || says(&region_of(&job, "shown"), what));
    let failure = region_of(&job, "shown").last_failure.unwrap();
    wait_until("the next attempt", || region_of(&job, "shown").state == RegionState::Running);
    rope.release.send(()).unwrap();
    job.stop().unwrap();
    let outcome = job.wait().unwrap();
    assert!(outcome.end == End::Stopped && outcome.restarts >= 1, "stuck in {place:?}");
    let shown = shown.take();
    assert!(!shown.is_empty(), "stuck in {place:?}, it has shown nothing");
    let all = 0..shown.len() as u64;
    assert!(shown.into_iter().eq(all), "stuck in {place:?}, something is missing, or there twice");
    failure
}

#[test]
fn a_sink_that_is_stuck_while_it_writes_is_left_behind() {
    stuck_in(Place::Write, "shown[0] hung: a step has taken");
}

#[test]
fn a_sink_that_is_stuck_while_it_closes_its_output_is_left_behind() {
    stuck_in(Place::Prepare, "shown[0] hung: a step has taken");
}

#[test]
fn a_sink_that_is_stuck_while_it_syncs_is_restarted() {
    stuck_in(Place::PrepareBeside, "shown[0] hung: preparing its output for a checkpoint has taken");
}

#[test]
fn a_sink_that_is_stuck_while_it_commits_is_restarted() {
    stuck_in(Place::Commit, "shown[0] hung: committing its output has taken");
}

#[test]
fn a_sink_that_is_stuck_while_it_opens_is_left_behind_after_ten_times_as_long() {
    let failure = stuck_in(Place::Open, "shown[0] hung: opening and restoring it has taken ");
    let took = failure.split("has taken ").nth(1).and_then(|rest| rest.split(" so far").next()).unwrap();
    // A second or more, not some milliseconds.
    assert!(took.ends_with('s') && !took.ends_with("ms"), "{failure}");
}

#[test]
fn a_stop_waits_for_a_sink_that_is_stuck_while_it_commits_no_longer_than_the_grace_period() {
    let (pit, rope) = pit();
    let shown = Collector::new();
    let topology = Topology::new("stuck");
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).rate(1_000.0);
    let sink = Holed { sink: shown.sink(), pit, place: Place::Commit };
    numbers.sink_exactly_once("shown", sink);
    let config = watched().hang_timeout(Duration::MAX).stop_grace(millis(300));
    let job = topology.start(config).unwrap();
    rope.wait_for_fall();
    job.stop().unwrap();
    let error = job.wait().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsaved);
    let text = error.to_string();
    for said in
        ["its last checkpoint", "is complete", "shown[0] has not shown all of its output", "within 300ms"]
    {
        assert!(text.contains(said), "{said} is missing in {text}");
    }
    assert!(shown.take().is_empty(), "it was stuck");
    rope.release.send(()).unwrap();
}
