//! Jobs that are asked to stop, and what becomes of those that cannot make a last checkpoint.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Error, ErrorKind, Job, Reader, SimulatedDisk, SinkFn, Source, SourceContext};

use crate::fixture::{
    compare, expected_payments, finish, pause, payments, seeded, shown_payments, simulated,
};
use crate::processes::{alone, said};
use crate::stuck::wait_until;

/// Where a sink stands still with the first record after it was closed, until the test lets go.
struct Gate {
    is_closed: AtomicBool,
    arrived: SyncSender<()>,
    opened: Mutex<Receiver<()>>,
}

/// The other side of it. To drop it is to let go.
struct Rope {
    arrived: Receiver<()>,
    _open: Sender<()>,
}

fn gate() -> (Arc<Gate>, Rope) {
    let ((arrived, at), (open, opened)) = (sync_channel(1), channel());
    let is_closed = AtomicBool::new(false);
    (Arc::new(Gate { is_closed, arrived, opened: Mutex::new(opened) }), Rope { arrived: at, _open: open })
}

/// Endless numbers into a sink that stands still.
fn stands_still(gate: &Arc<Gate>) -> Topology {
    let (topology, gate) = (Topology::new("still"), Arc::clone(gate));
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).parallelism(1).rate(500.0);
    let sink = SinkFn::new(move |_| {
        let gate = Arc::clone(&gate);
        move |_: u64| {
            if gate.is_closed.swap(false, Ordering::SeqCst) {
                let _ = gate.arrived.try_send(());
                let _ = gate.opened.lock().unwrap().recv();
            }
            Ok(())
        }
    });
    numbers.sink("still", sink).parallelism(1);
    topology
}

/// Starts such a job, and waits until its sink stands still.
fn start_still(folder: &TempDir, change: impl Fn(Config) -> Config) -> (Job, Rope) {
    let (gate, rope) = gate();
    let config = Config::local().slots(2).checkpoints(folder.path()).checkpoint_interval(millis(10));
    let job = stands_still(&gate).start(change(config)).unwrap();
    wait_until("a checkpoint", || job.tree().unwrap().checkpoint.is_some());
    gate.is_closed.store(true, Ordering::SeqCst);
    rope.arrived.recv_timeout(Duration::from_mins(1)).unwrap();
    (job, rope)
}

fn unsaved(result: watershed::Result<watershed::Outcome>) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsaved, "{error}");
    error
}

#[test]
fn a_sink_that_stands_still_keeps_a_job_from_ending_no_longer_than_the_grace_period() {
    let folder = TempDir::new().unwrap();
    let (job, rope) = start_still(&folder, |config| config.stop_grace(millis(200)).ignore_signals());
    job.stop().unwrap();
    let error = unsaved(job.wait()).to_string();
    for said in [
        "could not make its last checkpoint within 200ms (`Config::stop_grace`)",
        "still waits for still[0]",
        "The next start goes on from checkpoint",
        "old",
    ] {
        assert!(error.contains(said), "{said} is missing in {error}");
    }
    // It was still standing there.
    drop(rope);
}

#[test]
fn a_disk_that_refuses_the_last_checkpoint_for_ever_ends_the_job_after_the_grace_period() {
    let (topology, expected) = (payments(), expected_payments());
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let config = simulated(seeded(seed).on_disk(&disk).stop_at(100));
        let job = topology.start(config).unwrap();
        disk.full_during(4 * seed..1_000_000);
        let error = unsaved(job.wait()).to_string();
        assert!(error.contains("within 30s") && error.contains("next start "), "{error}");
        disk.kill();
        finish(&topology, seed, &disk);
        compare(&shown_payments(&disk), &expected, &format!("after the stop with seed {seed}"));
    }
}

/// Sends this process a signal, as often, each as soon as the one before has been delivered: the system makes one of
/// those that have not been.
fn signal(name: &str, times: usize) {
    let pid = std::process::id();
    let is_pending = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let pending =
            status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap().trim().to_string();
        u64::from_str_radix(&pending, 16).unwrap() != 0
    };
    for _ in 0..times {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
        assert!(sent.success());
        while is_pending() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn two_signals_count_as_two_however_soon_the_second_one_comes() {
    alone("stopping::two_signals_count_as_two_however_soon_the_second_one_comes", || {
        for _ in 0..2 {
            let folder = TempDir::new().unwrap();
            let (job, rope) = start_still(&folder, |config| config.stop_grace(Duration::MAX));
            signal("TERM", 2);
            // With one it would never end.
            assert_eq!(job.wait().unwrap().end, End::Cancelled);
            drop(rope);
        }
    });
}

#[test]
fn the_first_signal_says_how_long_it_waits_and_what_a_second_one_does() {
    let said = alone("stopping::the_first_signal_says_how_long_it_waits_and_what_a_second_one_does", || {
        tracing_subscriber::fmt().with_ansi(false).init();
        let folder = TempDir::new().unwrap();
        let (job, rope) = start_still(&folder, |config| config.stop_grace(minutes(10)));
        signal("INT", 2);
        assert_eq!(job.wait().unwrap().end, End::Cancelled);
        drop(rope);
    });
    let Some(said) = said else { return };
    for line in [
        "signal=\"SIGINT\"",
        "it makes a last checkpoint, for 600s at most (`Config::stop_grace`). A second signal ends it at once, without one",
        "it came again: the job ends at once, without a last checkpoint. The next start goes on from checkpoint",
    ] {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
}

#[test]
fn a_signal_stops_each_job_of_the_process_that_does_not_ignore_signals() {
    alone("stopping::a_signal_stops_each_job_of_the_process_that_does_not_ignore_signals", || {
        let start = |config: Config| {
            let topology = Topology::new("endless");
            topology.source("numbers", Generator::unbounded(|n| n)).rate(100.0).for_each(|_| {});
            topology.start(config.slots(1)).unwrap()
        };
        let (one, two) = (start(Config::local()), start(Config::local()));
        let deaf = start(Config::local().ignore_signals());
        signal("TERM", 1);
        assert_eq!([one, two].map(|job| job.wait().unwrap().end), [End::Stopped; 2]);
        deaf.tree().unwrap();
        // A job that begins after others have ended hears, too.
        let three = start(Config::local());
        signal("INT", 1);
        assert_eq!(three.wait().unwrap().end, End::Stopped);
        deaf.stop().unwrap();
        assert_eq!(deaf.wait().unwrap().end, End::Stopped);
    });
}

#[test]
fn a_signal_does_not_end_a_process_with_a_job_that_ignores_signals() {
    alone("stopping::a_signal_does_not_end_a_process_with_a_job_that_ignores_signals", || {
        let heard = begins(|| Ok(())).start(Config::local().slots(1)).unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let (topology, seen) = (Topology::new("deaf"), Arc::clone(&count));
        let numbers = topology.source("numbers", Generator::unbounded(|n| n)).rate(1_000.0);
        numbers.for_each(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        let deaf = topology.start(Config::local().slots(1).ignore_signals()).unwrap();
        signal("TERM", 1);
        assert_eq!(heard.wait().unwrap().end, End::Stopped);
        // Now there is none but the deaf one, and the program sees to signals itself.
        signal("TERM", 2);
        let then = count.load(Ordering::Relaxed) + 500;
        wait_until("more numbers", || count.load(Ordering::Relaxed) >= then);
        deaf.stop().unwrap();
        assert_eq!(deaf.wait().unwrap().end, End::Stopped);
    });
}

#[test]
fn a_signal_that_a_process_ignores_does_not_end_it_between_two_jobs() {
    const ALONE: &str = "WATERSHED_TEST_IGNORING";
    let test = "stopping::a_signal_that_a_process_ignores_does_not_end_it_between_two_jobs";
    if std::env::var_os(ALONE).is_some() {
        let run = || begins(|| Err("there is no input".into())).run(Config::local().slots(1)).unwrap_err();
        run();
        signal("INT", 2);
        run();
        return;
    }
    let test_binary = std::env::current_exe().unwrap();
    let ignoring = format!("trap '' INT; exec '{}' --exact {test}", test_binary.display());
    let output = Command::new("sh").args(["-c", &ignoring]).env(ALONE, "1").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// Runs a test in a process of its own, which a signal is to end.
fn ended_by_sigterm(test: &str, body: impl FnOnce()) {
    const DOOMED: &str = "WATERSHED_TEST_DOOMED";
    if std::env::var_os(DOOMED).is_some() {
        body();
        // It is on its way.
        return pause(Duration::from_mins(1));
    }
    let command = std::env::current_exe().unwrap();
    let output =
        Command::new(command).args(["--exact", test, "--nocapture"]).env(DOOMED, "1").output().unwrap();
    assert_eq!(output.status.signal(), Some(15), "{}", said(&output));
}

/// Numbers, before which something happens as the job begins.
struct Begins<S, F> {
    numbers: S,
    happens: F,
}

impl<S: Source, F: Fn() -> UserResult<()> + Send + Sync + 'static> Source for Begins<S, F> {
    type Item = S::Item;
    type Split = S::Split;
    type Reader = S::Reader;

    fn splits(&self) -> UserResult<Vec<S::Split>> {
        (self.happens)()?;
        self.numbers.splits()
    }

    fn open(
        &self,
        split: &S::Split,
        position: Option<<S::Reader as Reader>::Position>,
        context: &SourceContext,
    ) -> UserResult<S::Reader> {
        self.numbers.open(split, position, context)
    }

    fn is_bounded(&self) -> bool {
        self.numbers.is_bounded()
    }
}

/// An endless job as which begins something happens.
fn begins(happens: impl Fn() -> UserResult<()> + Send + Sync + 'static) -> Topology {
    let topology = Topology::new("endless");
    let numbers = Begins { numbers: Generator::unbounded(|n| n), happens };
    topology.source("numbers", numbers).rate(100.0).for_each(|_: u64| {});
    topology
}

#[test]
fn a_signal_between_two_jobs_ends_the_process() {
    ended_by_sigterm("stopping::a_signal_between_two_jobs_ends_the_process", || {
        let topology = Topology::new("numbers");
        topology.source("numbers", Generator::bounded(9, |n| n)).for_each(|_: u64| {});
        assert_eq!(topology.run(Config::local().slots(1)).unwrap().end, End::Finished);
        signal("USR1", 1);
        signal("TERM", 1);
    });
}

#[test]
fn a_signal_stops_a_job_that_is_still_being_restored() {
    alone("stopping::a_signal_stops_a_job_that_is_still_being_restored", || {
        let topology = begins(|| {
            signal("TERM", 1);
            Ok(())
        });
        for _ in 0..2 {
            assert_eq!(topology.run(Config::local().slots(1)).unwrap().end, End::Stopped);
        }
    });
}

#[test]
fn a_second_signal_ends_a_process_whose_only_job_is_being_restored() {
    ended_by_sigterm("stopping::a_second_signal_ends_a_process_whose_only_job_is_being_restored", || {
        let topology = begins(|| {
            signal("TERM", 2);
            pause(Duration::from_mins(1));
            Err("it was not ended".into())
        });
        topology.run(Config::local().slots(1)).unwrap_err();
    });
}

#[test]
fn a_signal_for_a_job_that_then_does_not_begin_ends_the_process() {
    ended_by_sigterm("stopping::a_signal_for_a_job_that_then_does_not_begin_ends_the_process", || {
        let topology = begins(|| {
            signal("TERM", 1);
            Err("there is no input".into())
        });
        topology.run(Config::local().slots(1)).unwrap_err();
    });
}
