//! Caps, and what is not a record's fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use watershed::prelude::*;
use watershed::{Directive, ErrorKind, SimulatedDisk, SinkFn, Stage};

use super::{letters, payloads};
use crate::fixture::{lines_in, seeded, simulated};

/// Passes on what is not a multiple of three.
fn threes(records: u64, supervision: Supervision) -> Topology {
    let topology = Topology::new("threes");
    topology
        .source("numbers", Generator::bounded(records, |n| n))
        .supervise(supervision)
        .try_filter(|n| if n.is_multiple_of(3) { Err("a multiple of three".into()) } else { Ok(true) })
        .sink_exactly_once("files", Files::jsonl("/out"));
    topology
}

#[test]
fn one_record_too_many_left_out_ends_the_job_and_says_so() {
    let disk = SimulatedDisk::new(3);
    let supervision = Supervision::quarantine().at_most(4).at_most_fraction(1.0);
    let config = simulated(seeded(3).on_disk(&disk)).parallelism(1);
    let error = threes(100, supervision).run(config).unwrap_err();
    assert_eq!(error.kind, ErrorKind::User);
    let text = error.to_string();
    assert!(
        text.contains("5 records were skipped") && text.contains("more than its policy allows"),
        "{text}"
    );
    assert!(text.contains("a multiple of three"), "{text}");
}

#[test]
fn too_large_a_share_left_out_ends_the_job() {
    let disk = SimulatedDisk::new(3);
    let config = || simulated(seeded(3).on_disk(&disk)).parallelism(1);
    let error = threes(5_000, Supervision::quarantine()).run(config()).unwrap_err();
    assert!(error.to_string().contains("more than its policy allows"), "{error}");
    // Below a thousand records a share says nothing.
    let disk = SimulatedDisk::new(3);
    let config = simulated(seeded(3).on_disk(&disk)).parallelism(1);
    threes(900, Supervision::quarantine()).run(config).unwrap();
    assert_eq!(letters(&disk, "numbers").len(), 300);
    assert_eq!(lines_in(&disk, "/out").len(), 600);
}

#[test]
fn a_place_for_dead_letters_is_asked_for_before_anything_starts() {
    let error = threes(10, Supervision::quarantine()).run(Config::local()).unwrap_err();
    assert!(error.to_string().contains("`Config::checkpoints` or `Config::dead_letters`"), "{error}");
}

#[test]
fn a_sink_can_refuse_a_record_and_its_disk_cannot() {
    use std::io::ErrorKind;
    // Invalid data is the record's fault, whatever type of error says so.
    for (io, restarts) in [(None, 0), (Some(ErrorKind::InvalidData), 0), (Some(ErrorKind::Other), 2)] {
        let disk = SimulatedDisk::new(5);
        let topology = Topology::new("refusing");
        let tries = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let sink = SinkFn::new(move |_| {
            let tries = std::sync::Arc::clone(&tries);
            move |n: u64| match io {
                _ if n != 7 => Ok(()),
                None => Err("seven is refused".into()),
                Some(ErrorKind::InvalidData) => {
                    Err(std::io::Error::new(ErrorKind::InvalidData, "seven is refused").into())
                }
                Some(kind) if tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 => {
                    Err(std::io::Error::new(kind, "the cable is out").into())
                }
                Some(_) => Ok(()),
            }
        });
        topology
            .source("numbers", Generator::bounded(20, |n| n))
            .parallelism(1)
            .sink("out", sink)
            .supervise(Supervision::quarantine());
        let outcome = topology.run(simulated(seeded(5).on_disk(&disk))).unwrap();
        assert_eq!(outcome.restarts, restarts);
        let expected = if restarts > 0 { vec![] } else { vec![serde_json::json!(7)] };
        assert_eq!(payloads(&letters(&disk, "out")), expected);
    }
}

#[test]
fn a_record_at_which_a_sink_panics_is_left_out_after_some_attempts() {
    let disk = SimulatedDisk::new(6);
    let topology = Topology::new("panicking");
    let sink =
        SinkFn::new(|_| |n: u64| if n == 7 { std::panic::resume_unwind(Box::new("seven")) } else { Ok(()) });
    topology
        .source("numbers", Generator::bounded(20, |n| n))
        .parallelism(1)
        .sink("out", sink)
        .supervise(Supervision::quarantine().attempts(4));
    let outcome = topology.run(simulated(seeded(6).on_disk(&disk))).unwrap();
    assert_eq!(outcome.restarts, 4);
    let found = letters(&disk, "out");
    assert_eq!(payloads(&found), [serde_json::json!(7)]);
    assert_eq!((found[0].attempts, found[0].evidence.stage), (4, Stage::Sink));
}

#[test]
fn a_panic_in_what_is_fused_to_a_source_is_put_down_to_the_position_in_the_source() {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let topology = Topology::new("fused");
        topology
            .source("numbers", Generator::bounded(60, |n| n % 10).splits(2))
            .supervise(Supervision::quarantine())
            .map(|n| if n == 7 { std::panic::resume_unwind(Box::new("seven")) } else { n })
            .sink_exactly_once("files", Files::jsonl("/out"));
        let config = simulated(seeded(seed).on_disk(&disk));
        topology.run(config.restart(Restart::from_snapshot().at_most(100, seconds(100)))).unwrap();
        // The same number comes six times: each is a record of its own.
        let found = letters(&disk, "numbers");
        assert_eq!(payloads(&found), vec![serde_json::json!(7); 6], "seed {seed}");
        let places: std::collections::BTreeSet<_> = found
            .iter()
            .map(|letter| letter.evidence.position.clone().map(|at| (at.split, at.position, at.record)))
            .collect();
        assert_eq!(places.len(), 6, "seed {seed}");
        assert_eq!(lines_in(&disk, "/out").len(), 54, "seed {seed}");
    }
}

#[test]
fn a_region_waits_for_a_disk_that_cannot_take_the_list_and_its_record_is_not_tried_again_meanwhile() {
    let mut finished = 0;
    for operation in (10..130).step_by(2) {
        let disk = SimulatedDisk::new(7);
        let panics = Arc::new(AtomicU32::new(0));
        let topology = Topology::new("panicking");
        let count = Arc::clone(&panics);
        topology
            .source("numbers", Generator::bounded(20, |n| n))
            .parallelism(1)
            .map(move |n| {
                if n == 7 {
                    count.fetch_add(1, Ordering::Relaxed);
                    std::panic::resume_unwind(Box::new("seven"));
                }
                n
            })
            .supervise(Supervision::quarantine())
            .sink_exactly_once("files", Files::jsonl("/out"));
        disk.fail_during(operation..operation + 3);
        let outcome = topology.run(simulated(seeded(7).on_disk(&disk)));
        // A job that cannot note who it is does not go on.
        if outcome.is_err() {
            continue;
        }
        finished += 1;
        assert_eq!(panics.load(Ordering::Relaxed), 3, "operation {operation}");
        assert_eq!(payloads(&letters(&disk, "numbers")), [serde_json::json!(7)], "operation {operation}");
        assert_eq!(lines_in(&disk, "/out").len(), 19, "operation {operation}");
    }
    assert!(finished > 30, "{finished} of 60 jobs finished");
}

#[test]
fn a_closure_that_refuses_dead_letters_fails_and_gets_no_letter_of_its_own() {
    let topology = Topology::new("letters");
    let numbers = topology
        .source("numbers", Generator::bounded(20, |n| n))
        .supervise(Supervision::quarantine())
        .try_filter(|n| if *n == 7 { Err("seven".into()) } else { Ok(true) });
    numbers
        .dead_letters()
        .try_map(|letter| -> UserResult<String> { Err(format!("{} is no text", letter.cause).into()) })
        .for_each(|_| {});
    numbers.for_each(|_| {});
    let config = simulated(seeded(1)).restart(Restart::from_snapshot().at_most(3, seconds(100)));
    let error = topology.run(config).unwrap_err();
    assert!(error.to_string().contains("seven is no text"), "{error}");
}

#[test]
fn lines_that_are_no_text_become_dead_letters_of_their_source() {
    let folder = tempfile::TempDir::new().unwrap();
    let input = folder.path().join("input");
    std::fs::write(&input, b"one\ntw\xff\nthree\n").unwrap();
    let topology = Topology::new("lines");
    topology
        .source("lines", Lines::from_file(&input))
        .parallelism(1)
        .supervise(Supervision::stop().on(Stage::Decode, Directive::Quarantine))
        .sink_exactly_once("files", Files::jsonl("/out"));
    let disk = SimulatedDisk::new(1);
    topology.run(simulated(seeded(1).on_disk(&disk))).unwrap();
    assert_eq!(lines_in(&disk, "/out"), ["\"one\"", "\"three\""]);
    let found = letters(&disk, "lines");
    assert_eq!(payloads(&found), [serde_json::json!("tw\u{fffd}")]);
    assert_eq!(found[0].evidence.bytes().unwrap(), b"tw\xff");
    assert!(found[0].cause.contains("is not UTF-8 at byte 6"), "{}", found[0].cause);
}
