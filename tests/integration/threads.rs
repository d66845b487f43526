//! The same topologies on real threads.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Collector, InstanceState, Job, SinkFn, Tree};

use crate::fixture::{now, pause, plain_counts, text, visible_lines, word_counts};

/// A door that a sink stands before until it is opened.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |open| !*open).unwrap());
    }
}

/// A sink that says when it has come to the door, and passes its records on once through.
fn stopped_sink(
    door: &Door,
    arrived: &SyncSender<()>,
    shown: &Arc<Mutex<Vec<u64>>>,
) -> impl watershed::Sink<In = u64> {
    let (door, arrived, shown) = (door.clone(), arrived.clone(), Arc::clone(shown));
    SinkFn::new(move |_| {
        let (door, arrived, shown) = (door.clone(), arrived.clone(), Arc::clone(&shown));
        move |n: u64| {
            let _ = arrived.try_send(());
            door.pass();
            shown.lock().unwrap().push(n);
            Ok(())
        }
    })
}

fn arrive(at: &Receiver<()>) {
    at.recv_timeout(Duration::from_secs(20)).unwrap();
}

/// Waits until the job has completed a checkpoint after `from`, and returns the newest.
fn checkpoint_after(job: &Job, from: Option<u64>) -> u64 {
    let begin = now();
    loop {
        let newest = job.tree().unwrap().checkpoint;
        match newest {
            Some(id) if newest > from => return id,
            _ => assert!(begin.elapsed() < Duration::from_secs(30), "no checkpoint completes"),
        }
        pause(Duration::from_millis(2));
    }
}

#[test]
fn words_of_a_real_file_are_counted_whatever_the_parallelism() {
    let folder = TempDir::new().unwrap();
    let input = folder.path().join("text");
    fs::write(&input, text(4_000)).unwrap();
    for parallelism in 1..=3 {
        let output = folder.path().join(format!("counts-{parallelism}"));
        let outcome = word_counts(&input, &output).run(Config::local().parallelism(parallelism)).unwrap();
        assert_eq!(outcome.end, End::Finished);
        assert_eq!(visible_lines(&output), plain_counts(&input), "parallelism {parallelism}");
    }
}

#[test]
fn tree_and_cancel_are_answered_while_the_sink_stands_still() {
    let (door, (arrived, at), shown) = (Door::default(), sync_channel(1), Arc::<Mutex<Vec<u64>>>::default());
    let topology = Topology::new("stopped");
    topology
        .source("numbers", Generator::unbounded(|n| n))
        .sink("stopped", stopped_sink(&door, &arrived, &shown));
    let job = topology.start(Config::local().parallelism(1)).unwrap();
    arrive(&at);
    let ask = |_| {
        let begin = now();
        job.tree().unwrap();
        begin.elapsed()
    };
    let mut answers: Vec<Duration> = (0..11).map(ask).collect();
    answers.sort_unstable();
    let begin = now();
    job.cancel().unwrap();
    let states = |tree: &Tree| tree.regions[0].operators[1].instances[0].state;
    while states(&job.tree().unwrap()) != InstanceState::Stopping {
        assert!(begin.elapsed() < Duration::from_secs(10), "it is not cancelled");
    }
    let (tree, cancel) = (answers[5], begin.elapsed());
    door.open();
    assert!(tree.max(cancel) < Duration::from_millis(100), "tree took {tree:?}, cancel {cancel:?}");
    assert_eq!(job.wait().unwrap().end, End::Cancelled);
}

#[test]
fn a_job_that_is_stopped_goes_on_where_it_was() {
    let folder = TempDir::new().unwrap();
    let shown = Collector::new();
    let topology = Topology::new("stops");
    topology
        .source("numbers", Generator::bounded(20_000, |n| n))
        .parallelism(1)
        .rate(40_000.0)
        .sink_exactly_once("shown", shown.sink());
    let config = || Config::local().checkpoints(folder.path()).checkpoint_interval(millis(10));
    let mut stops = 0;
    loop {
        let job = topology.start(config()).unwrap();
        pause(Duration::from_millis(60));
        // It may have ended just now.
        let _ = job.stop();
        match job.wait().unwrap().end {
            End::Stopped => stops += 1,
            end => break assert_eq!(end, End::Finished),
        }
        assert!(stops < 500, "it does not get on");
    }
    assert!(stops > 1, "it was stopped only {stops} times");
    let mut shown = shown.take();
    shown.sort_unstable();
    assert_eq!(shown, (0..20_000).collect::<Vec<_>>());
}

#[test]
fn an_idle_socket_beside_a_busy_source_holds_up_neither_checkpoints_nor_event_time() {
    let folder = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (alarm, alarms) = sync_channel(1_000);
    let topology = Topology::new("idle");
    let busy = topology.source("busy", Generator::unbounded(|n| n)).parallelism(1).rate(5_000.0);
    let idle = topology.source("idle", SocketLines::connect(address)).parallelism(1);
    busy.union(&idle.map(|line| line.len() as u64))
        .event_time(|n| *n as i64, Lateness::none().idle_after(millis(50)))
        .key_by(|n| n % 3)
        .actor("alarms", Alarms)
        .for_each(move |at| {
            let _ = alarm.try_send(at);
        });
    let job =
        topology.start(Config::local().checkpoints(folder.path()).checkpoint_interval(millis(20))).unwrap();
    let (mut connection, _) = listener.accept().unwrap();
    let mut newest = None;
    for _ in 0..3 {
        newest = Some(checkpoint_after(&job, newest));
    }
    alarms.recv_timeout(Duration::from_secs(20)).unwrap();
    connection.write_all(b"still there\n").unwrap();
    checkpoint_after(&job, newest);
    job.cancel().unwrap();
    assert_eq!(job.wait().unwrap().end, End::Cancelled);
}

/// Sets a timer for each record and tells when it fires.
struct Alarms;

impl Process for Alarms {
    type Key = u64;
    type In = u64;
    type Out = i64;
    type State = ();

    fn on_record(&self, record: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        context.timer_at(record as i64);
        Ok(())
    }

    fn on_timer(&self, timer: Timer, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        context.emit(timer.at);
        Ok(())
    }
}

#[test]
fn checkpoints_complete_within_a_second_though_a_record_takes_twenty_milliseconds() {
    let folder = TempDir::new().unwrap();
    let topology = Topology::new("slow");
    topology
        .source("numbers", Generator::unbounded(|n| n))
        .parallelism(1)
        .key_by(|n| n % 7)
        .actor("slow", Slow)
        .parallelism(1)
        .for_each(|_| {});
    let interval = Duration::from_millis(20);
    let job =
        topology.start(Config::local().checkpoints(folder.path()).checkpoint_interval(interval)).unwrap();
    let mut newest = None;
    for _ in 0..5 {
        let begin = now();
        newest = Some(checkpoint_after(&job, newest));
        assert!(begin.elapsed() < Duration::from_millis(1_500), "a checkpoint took {:?}", begin.elapsed());
    }
    job.cancel().unwrap();
    job.wait().unwrap();
}

/// Takes twenty milliseconds a record.
struct Slow;

impl Process for Slow {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, record: u64, _: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        pause(Duration::from_millis(20));
        context.emit(record);
        Ok(())
    }
}

#[test]
fn a_stopped_sink_also_stops_a_source_that_fills_no_batch() {
    const RECORDS: u64 = 60_000;
    let (door, (arrived, at), shown) = (Door::default(), sync_channel(1), Arc::<Mutex<Vec<u64>>>::default());
    let topology = Topology::new("stopped-drops");
    let numbers =
        topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1).rate(20_000.0);
    let few = numbers.event_time(|n| *n as i64, Lateness::none()).filter(|n| n % 2 == 0);
    few.sink("stopped", stopped_sink(&door, &arrived, &shown));
    let job = topology.start(Config::local().ignore_signals()).unwrap();
    arrive(&at);
    let read = || job.tree().unwrap().regions[0].operators[0].instances[0].records;
    let (mut before, mut rests) = (read(), 0);
    while rests < 5 {
        pause(Duration::from_millis(50));
        let after = read();
        rests = if after == before { rests + 1 } else { 0 };
        before = after;
        assert!(before < RECORDS / 2, "{before} records were read while the sink stood still");
    }
    door.open();
    assert_eq!(job.wait().unwrap().end, End::Finished);
    assert_eq!(*shown.lock().unwrap(), (0..RECORDS).step_by(2).collect::<Vec<_>>());
}

#[test]
fn a_stopped_sink_stops_the_source_and_loses_nothing() {
    const RECORDS: u64 = 500_000;
    let (door, (arrived, at), shown) = (Door::default(), sync_channel(1), Arc::<Mutex<Vec<u64>>>::default());
    let topology = Topology::new("stopped");
    topology
        .source("numbers", Generator::bounded(RECORDS, |n| n))
        .parallelism(1)
        .sink("stopped", stopped_sink(&door, &arrived, &shown));
    let job = topology.start(Config::local()).unwrap();
    arrive(&at);
    // Read so far, once it has come to rest: what is on its way is bounded by credits and batches.
    let read = || job.tree().unwrap().regions[0].operators[0].instances[0].records;
    let mut before = read();
    loop {
        pause(Duration::from_millis(100));
        let after = read();
        if after == before {
            break;
        }
        before = after;
    }
    assert!(before < 8 * 1_024 + 2 * 1_024, "{before} records were read while the sink stood still");
    door.open();
    assert_eq!(job.wait().unwrap().end, End::Finished);
    assert!(
        *shown.lock().unwrap() == (0..RECORDS).collect::<Vec<_>>(),
        "records are missing or out of order"
    );
}
