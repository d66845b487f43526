//! What cannot be done, and that the job goes on all the same.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{ErrorKind, Job, RegionState, SinkFn, Tree};
use watershed_runtime::remote::{Client, socket_in};

use crate::rescale::width;

/// Numbers the records of an instance.
struct Numbers;

impl Process for Numbers {
    type Key = ();
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, _: u64, nth: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *nth += 1;
        context.emit(*nth);
        Ok(())
    }
}

/// Sums by key, and beside them records that are numbered by instance.
fn running() -> Job {
    let topology = Topology::new("refusing");
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).rate(5_000.0).parallelism(2);
    numbers.key_by(|n| n % 9).reduce("sum", |one, other| one + other).parallelism(2).for_each(|_| {});
    numbers.actor("nth", Numbers).parallelism(2).for_each(|_| {});
    let equal = numbers.forward().sink("equal", SinkFn::new(|_| |_: u64| Ok(())));
    equal.parallelism(2);
    topology.start(Config::local().slots(2).ignore_signals()).unwrap()
}

#[test]
fn what_does_not_go_is_refused_with_the_reason_and_the_job_goes_on() {
    let job = running();
    let refused = |operator: &str, instances: usize| {
        let error = job.rescale(operator, instances).unwrap_err();
        (error.kind, error.to_string())
    };
    for (operator, instances, why) in [
        ("sums", 3, "there is no operator `sums`; there are numbers, sum, nth, equal"),
        ("sum", 0, "needs at least one instance"),
        ("sum", 200, "more than the 128 key groups"),
        ("sum", 2, "it has so many already"),
        ("numbers", 3, "`forward` from `numbers` with 3 instances to `equal` with 2"),
        ("equal", 3, "`forward` from `numbers` with 2 instances to `equal` with 3"),
    ] {
        let (kind, text) = refused(operator, instances);
        assert!(kind == ErrorKind::Config && text.contains(why), "{text}");
    }
    let counted = |tree: &Tree, index| tree.instance("nth", index).unwrap().records;
    while (0..2).all(|index| counted(&job.tree().unwrap(), index) == 0) {
        std::thread::yield_now();
    }
    // Only a checkpoint tells that it has a state.
    let (kind, text) = refused("nth", 3);
    assert_eq!(kind, ErrorKind::State);
    assert!(
        text.starts_with("`nth` is not rescaled to 3 instances: `nth`: it keeps its state per instance"),
        "{text}"
    );
    assert!(text.ends_with("; the job goes on"), "{text}");
    let tree = job.tree().unwrap();
    assert!(["numbers", "sum", "nth", "equal"].iter().all(|operator| width(&tree, operator) == 2));
    assert!(tree.regions.iter().all(|region| region.restarts == 0 && region.state == RegionState::Running));
    // After all that it can still be done.
    assert_eq!(job.rescale("sum", 3).unwrap().from, 2);
    job.cancel().unwrap();
    job.wait().unwrap();
}

/// A job with a sink that takes a record for each that is let through.
struct Gated {
    folder: TempDir,
    job: Job,
    /// Dropped to let all through.
    gate: Option<Sender<()>>,
}

impl Gated {
    fn new(config: Config) -> Self {
        let folder = TempDir::new().unwrap();
        let (gate, closed): (Sender<()>, Receiver<()>) = channel();
        let closed = Arc::new(Mutex::new(closed));
        let (arrived, first) = sync_channel(1);
        let topology = Topology::new("gated");
        topology
            .source("numbers", Generator::unbounded(|n| n))
            .key_by(|n| n % 9)
            .reduce("sum", u64::max)
            .sink(
                "gate",
                SinkFn::new(move |_| {
                    let (closed, arrived) = (Arc::clone(&closed), arrived.clone());
                    move |_: u64| {
                        let _ = arrived.try_send(());
                        // Once the other end is gone nothing waits any more.
                        let _ = closed.lock().unwrap().recv();
                        Ok(())
                    }
                }),
            );
        let config = config.slots(2).parallelism(1).checkpoints(folder.path().join("state")).ignore_signals();
        let job = topology.start(config.checkpoint_interval(minutes(60))).unwrap();
        // From here on no barrier can overtake what stands at the gate.
        first.recv().unwrap();
        Self { folder, job, gate: Some(gate) }
    }

    /// Asks from another process' point of view, on a thread of its own.
    fn ask(&self, instances: usize) -> std::thread::JoinHandle<Result<usize, String>> {
        let socket = socket_in(&self.folder.path().join("state"));
        std::thread::spawn(move || {
            let mut client = Client::connect(&socket).unwrap();
            client.rescale("sum", instances).map(|done| done.to).map_err(|error| error.to_string())
        })
    }

    /// Asks for what makes no difference until it is refused with this reason.
    fn wait_for(&self, why: &str) {
        while !self.job.rescale("sum", 1).unwrap_err().to_string().contains(why) {
            std::thread::yield_now();
        }
    }

    fn end(self) {
        self.job.cancel().unwrap();
        self.job.wait().unwrap();
    }
}

#[test]
fn of_two_at_once_the_second_is_refused_and_the_first_is_done() {
    let mut gated = Gated::new(Config::local());
    let first = gated.ask(3);
    gated.wait_for("`sum` is being rescaled: ask again when it is done");
    gated.gate.take();
    assert_eq!(first.join().unwrap(), Ok(3));
    assert_eq!(width(&gated.job.tree().unwrap(), "sum"), 3);
    gated.end();
}

#[test]
fn while_a_savepoint_is_being_made_nothing_is_rescaled() {
    let Gated { folder, job, mut gate } = Gated::new(Config::local());
    let place = folder.path().join("savepoint").display().to_string();
    let to = place.clone();
    let savepoint = std::thread::spawn(move || {
        let made = job.savepoint(&to);
        (job, made)
    });
    let mut client = Client::connect(&socket_in(&folder.path().join("state"))).unwrap();
    let mut refused = || client.rescale("sum", 1).unwrap_err().to_string();
    while !refused().contains("a savepoint is being made: ask again when it is done") {
        std::thread::yield_now();
    }
    gate.take();
    let (job, made) = savepoint.join().unwrap();
    made.unwrap();
    assert!(Path::new(&place).exists());
    assert_eq!(job.rescale("sum", 2).unwrap().to, 2);
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn if_its_checkpoint_is_given_up_everything_stays_as_it_was() {
    let mut gated = Gated::new(Config::local().checkpoint_timeout(millis(200)));
    let text = gated.job.rescale("sum", 3).unwrap_err().to_string();
    assert!(
        text.starts_with(
            "`sum` is not rescaled to 3 instances: its checkpoint was given up: it took too long"
        ),
        "{text}"
    );
    assert!(text.ends_with("; the job goes on"), "{text}");
    assert_eq!(width(&gated.job.tree().unwrap(), "sum"), 1);
    gated.gate.take();
    while gated.job.rescale("sum", 3).is_err() {
        // What the sink has before it takes its time, too.
        std::thread::yield_now();
    }
    gated.end();
}

#[test]
fn who_waits_for_it_hears_that_the_job_has_ended() {
    let mut gated = Gated::new(Config::local());
    let first = gated.ask(3);
    gated.wait_for("is being rescaled");
    gated.job.cancel().unwrap();
    let text = first.join().unwrap().unwrap_err();
    assert!(text.contains("`sum` is not rescaled to 3 instances: the job has ended before"), "{text}");
    gated.gate.take();
    gated.job.wait().unwrap();
}
