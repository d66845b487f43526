//! Jobs whose handle is dropped, and what a job takes of the machine.

use std::fs;
use std::sync::mpsc::{channel, sync_channel};
use std::time::Duration;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Collector, ErrorKind};

use crate::processes::{alone, alone_with};
use crate::stuck::wait_until;

/// Endless numbers, shown exactly once.
fn endless(shown: &Collector<u64>) -> Topology {
    let topology = Topology::new("endless");
    let numbers = topology.source("numbers", Generator::unbounded(|n| n)).rate(1_000.0);
    numbers.key_by(|n| n % 3).reduce("sum", |sum, n| sum + n).sink_exactly_once("shown", shown.sink());
    topology
}

/// Threads of this process, and files that it has open.
fn taken() -> (usize, usize) {
    let entries = |of: &str| fs::read_dir(format!("/proc/self/{of}")).unwrap().count();
    (entries("task"), entries("fd"))
}

#[test]
fn jobs_that_are_dropped_give_back_their_threads_files_and_lock() {
    alone("dropped::jobs_that_are_dropped_give_back_their_threads_files_and_lock", || {
        let (folder, shown) = (TempDir::new().unwrap(), Collector::new());
        let start = || {
            let config = Config::local().slots(3).checkpoints(folder.path());
            let job = endless(&shown).start(config.checkpoint_interval(millis(5))).unwrap();
            wait_until("a checkpoint", || job.tree().unwrap().checkpoint.is_some());
        };
        // What is made once for the process is there after the first.
        start();
        let before = taken();
        for _ in 0..20 {
            // The folder is locked as long as there is another.
            start();
        }
        // A thread is counted for a moment after it has said that it ends.
        wait_until("the end of threads, or of files", || {
            let now = taken();
            now.0 <= before.0 && now.1 <= before.1
        });
    });
}

#[test]
fn a_job_that_is_detached_goes_on_to_its_end() {
    let (say, said) = channel();
    let topology = Topology::new("detached");
    let numbers = topology.source("numbers", Generator::bounded(300, |n| n)).parallelism(1).rate(1_000.0);
    numbers.for_each(move |n| _ = say.send(n));
    topology.start(Config::local().slots(1).ignore_signals()).unwrap().detach();
    let all: Vec<u64> = (0..300).map(|_| said.recv_timeout(Duration::from_mins(1)).unwrap()).collect();
    assert!(all.into_iter().eq(0..300));
}

#[test]
fn a_job_that_is_stuck_in_code_of_the_users_is_dropped_all_the_same() {
    let ((fell_at, fell), (release, released)) = (sync_channel(1), channel::<()>());
    let released = std::sync::Mutex::new(released);
    let topology = Topology::new("stuck");
    topology.source("numbers", Generator::unbounded(|n| n)).parallelism(1).for_each(move |_| {
        let _ = fell_at.try_send(());
        let _ = released.lock().unwrap().recv();
    });
    let job = topology.start(Config::local().slots(1).ignore_signals()).unwrap();
    fell.recv_timeout(Duration::from_mins(1)).unwrap();
    drop(job);
    // It was still stuck when that returned.
    release.send(()).unwrap();
}

#[test]
fn a_process_that_may_open_too_few_files_says_so_and_what_to_do() {
    let test = "dropped::a_process_that_may_open_too_few_files_says_so_and_what_to_do";
    alone_with(test, "ulimit -n 40;", || {
        let mut taken = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            taken.push(file);
        }
        let error = endless(&Collector::new()).start(Config::local().slots(2)).unwrap_err();
        drop(taken);
        assert_eq!(error.kind, ErrorKind::Config);
        let message = error.to_string();
        for said in
            ["there is no room for the runtime of the control plane", "`ulimit -n`", "Too many open files"]
        {
            assert!(message.contains(said), "{said} is missing in {message}");
        }
    });
}
