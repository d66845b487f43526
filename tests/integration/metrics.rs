//! What the supervision tree says of how a job does.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watershed::prelude::*;
use watershed::{
    FailureKind, FailureNode, InstanceNode, Job, Shares, SimulatedDisk, SinkFn, SupervisionLevel, Tree,
};

use crate::fixture::{finish, now, pause, payments, seeded, simulated};

/// The first instance of an operator.
fn first<'a>(tree: &'a Tree, operator: &str) -> &'a InstanceNode {
    tree.instance(operator, 0).unwrap()
}

/// Asks for the tree until it is as wanted.
fn wait_until(job: &Job, what: &str, wanted: impl Fn(&Tree) -> bool) -> Tree {
    let begin = now();
    loop {
        let tree = job.tree().unwrap();
        if wanted(&tree) {
            return tree;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{what} does not happen:\n{tree}");
        pause(Duration::from_millis(2));
    }
}

/// Looks at a running job again and again until its time is shared out as wanted between two looks.
fn wait_for_shares(job: &Job, operator: &str, wanted: impl Fn(Shares) -> bool) {
    let begin = now();
    let mut before = first(&job.tree().unwrap(), operator).time;
    loop {
        pause(Duration::from_millis(100));
        let after = first(&job.tree().unwrap(), operator).time;
        let shares = Shares::between(before, after).unwrap();
        if wanted(shares) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "{operator}: {shares:?}");
        before = after;
    }
}

#[test]
fn a_sink_that_stands_still_is_full_and_takes_all_credits_and_all_time_of_its_source() {
    let (open, door) = sync_channel::<()>(0);
    let door = Arc::new(Mutex::new(door));
    let sink = SinkFn::new(move |_| {
        let door = Arc::clone(&door);
        // Stands still until the other end is dropped.
        move |_: u64| {
            let _ = door.lock().unwrap().recv();
            Ok(())
        }
    });
    let topology = Topology::new("held-back");
    topology.source("numbers", Generator::bounded(100_000, |n| n)).parallelism(1).sink("stopped", sink);
    let job = topology.start(Config::local().credits(4)).unwrap();
    let tree = wait_until(&job, "the sink is full", |tree| first(tree, "numbers").credits == 0);
    let (source, sink) = (first(&tree, "numbers"), first(&tree, "stopped"));
    assert_eq!((source.credits, source.credits_total), (0, 4));
    assert_eq!((sink.mailbox, sink.mailbox_capacity), (4, 4));
    wait_until(&job, "the source is blocked", |tree| first(tree, "numbers").time.blocked_nanos > 0);
    wait_for_shares(&job, "numbers", |source| source.blocked >= 95);
    wait_for_shares(&job, "stopped", |sink| sink.busy >= 95);
    drop(open);
    let tree = job.wait().unwrap().tree;
    let (source, sink) = (first(&tree, "numbers"), first(&tree, "stopped"));
    assert_eq!((source.records, source.records_sent, sink.records), (100_000, 100_000, 100_000));
    assert_eq!((source.bytes_sent, sink.bytes), (800_000, 800_000));
    assert_eq!((source.watermark, sink.watermark), (Some(i64::MAX), Some(i64::MAX)));
}

#[test]
fn an_operator_without_input_is_idle() {
    let topology = Topology::new("starved");
    topology
        .source("numbers", Generator::unbounded(|n| n))
        .parallelism(1)
        .rate(50.0)
        .key_by(|n| n % 7)
        .reduce("sum", |sum, n| sum + n)
        .for_each(|_| {});
    let job = topology.start(Config::local().parallelism(1)).unwrap();
    wait_until(&job, "a record arrives", |tree| first(tree, "sum").records > 0);
    for operator in ["numbers", "sum"] {
        wait_for_shares(&job, operator, |shares| shares.idle >= 60);
    }
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn in_the_simulation_time_is_that_of_its_clock() {
    let topology = Topology::new("starved");
    topology
        .source("numbers", Generator::bounded(200, |n| n))
        .parallelism(1)
        .rate(50.0)
        .key_by(|n| n % 7)
        .reduce("sum", |sum, n| sum + n)
        .for_each(|_| {});
    for seed in 0..10 {
        let tree = topology.run(simulated(seeded(seed))).unwrap().tree;
        for operator in ["numbers", "sum"] {
            let time = first(&tree, operator).time;
            let whole = time.busy_nanos + time.idle_nanos + time.blocked_nanos;
            // 200 records, 20 virtual milliseconds apart.
            assert!((3_900_000_000..5_000_000_000).contains(&whole), "{operator}: {time:?}");
            assert!(time.idle_nanos > whole / 2, "{operator}: {time:?}");
        }
    }
}

#[test]
fn in_the_simulation_a_source_with_one_credit_is_blocked_most_of_the_time() {
    let topology = Topology::new("held-back");
    let numbers = topology.source("numbers", Generator::bounded(2_000, |n| n)).parallelism(1);
    numbers.key_by(|n| n % 7).reduce("sum", |sum, n| sum + n).for_each(|_| {});
    for seed in 0..10 {
        let config = simulated(seeded(seed)).credits(1).checkpoint_interval(minutes(1));
        let tree = topology.run(config).unwrap().tree;
        let (source, sum) = (first(&tree, "numbers").time, first(&tree, "sum").time);
        assert!(source.blocked_nanos > source.idle_nanos, "{source:?}");
        assert_eq!(sum.blocked_nanos, 0, "nothing is behind it");
    }
}

#[test]
fn each_failure_is_remembered_with_its_time_kind_and_cause() {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let simulation = seeded(seed).on_disk(&disk).panic_at(150).panic_at(400);
        let outcome = payments().run(simulated(simulation)).unwrap();
        let mut of_instances = Vec::new();
        for region in &outcome.tree.regions {
            let failures = &region.recent_failures;
            assert!(failures.len() >= region.restarts as usize, "{failures:?}");
            assert!(failures.is_sorted_by_key(|failure| failure.at_ms));
            for failure in failures {
                assert_eq!(failure.kind, FailureKind::Panic);
                assert_eq!(failure.cause, "a panic that the simulation prescribed");
                assert!(failure.run >= 1 && failure.run < region.run, "{failure:?}");
            }
            for node in region.operators.iter().flat_map(|operator| &operator.instances) {
                assert_eq!(node.recent_failures.len(), node.failures as usize);
                of_instances.extend(node.recent_failures.clone());
            }
            of_instances.sort_by_key(|failure| failure.at_ms);
            // One that came while the region was down already has led to no restart.
            assert!(failures.iter().all(|f| f.restarted_by.is_none_or(|by| by == SupervisionLevel::Region)));
            let restarts = failures.iter().filter(|failure| failure.restarted_by.is_some()).count();
            assert_eq!(restarts, region.restarts as usize);
            let alone = |failure: &FailureNode| FailureNode { restarted_by: None, ..failure.clone() };
            assert_eq!(of_instances, failures.iter().map(alone).collect::<Vec<_>>());
        }
        assert!(outcome.restarts > 0);
    }
}

#[test]
fn the_newest_checkpoint_has_an_age_a_duration_and_a_size() {
    let disk = SimulatedDisk::new(3);
    let outcome = finish(&payments(), 3, &disk);
    let newest = outcome.tree.newest_checkpoint.clone().unwrap();
    assert_eq!(Some(newest.id), outcome.checkpoint);
    assert!(newest.duration_ms.is_some() && newest.bytes > 0, "{newest:?}");
    let age_ms = outcome.tree.checkpoint_age_ms().unwrap();
    assert_eq!(age_ms as i64, outcome.tree.taken_ms - newest.completed_ms);
    // The next process knows it from its manifest.
    let again = finish(&payments(), 4, &disk);
    assert_eq!(again.end, End::AlreadyFinished);
    assert!(again.tree.newest_checkpoint.unwrap().bytes > 0);
}

#[test]
fn a_tree_survives_its_way_through_json() {
    let simulation = seeded(5).panic_at(150);
    let tree = payments().run(simulated(simulation)).unwrap().tree;
    let json = serde_json::to_string(&tree).unwrap();
    assert_eq!(serde_json::from_str::<Tree>(&json).unwrap(), tree);
}
