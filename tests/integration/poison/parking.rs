//! Keys that wait for a dead letter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::{DeadLetter, Directive, SimulatedDisk, Stage};

use super::{letters, request};
use crate::fixture::{lines_in, seeded, seeds, simulated};

/// Numbers the records of each key, and fires a timer after each.
struct Number {
    mended: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Said {
    Record { key: u64, nth: u64, record: u64 },
    Fired { key: u64, at: i64 },
}

const KEYS: u64 = 4;
const RECORDS: u64 = 60;

/// These are refused: two of one key, and one of another, by a panic.
const REFUSED: [u64; 2] = [9, 29];
const PANICS: u64 = 22;

impl Process for Number {
    type Key = u64;
    type In = u64;
    type Out = Said;
    type State = u64;

    fn on_record(&self, record: u64, nth: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *nth += 1;
        context.timer_at(record as i64 + 2);
        context.emit(Said::Record { key: record % KEYS, nth: *nth, record });
        if !self.mended && REFUSED.contains(&record) {
            return Err("refused".into());
        }
        if !self.mended && record == PANICS {
            std::panic::resume_unwind(Box::new("a panic"));
        }
        Ok(())
    }

    fn on_timer(&self, timer: Timer, _: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        context.emit(Said::Fired { key: *context.key(), at: timer.at });
        Ok(())
    }
}

fn numbers(mended: bool) -> Topology {
    let topology = Topology::new("numbers");
    topology
        .source("source", Generator::bounded(RECORDS, |n| n))
        .parallelism(1)
        .event_time(|n| *n as i64, Lateness::none())
        .key_by(|n| n % KEYS)
        .actor("number", Number { mended })
        .supervise(Supervision::quarantine().park_keys())
        .sink_exactly_once("files", Files::jsonl("/out"));
    topology
}

/// What is shown, in order of the records of each key.
fn shown(disk: &SimulatedDisk) -> Vec<Said> {
    let mut said: Vec<Said> =
        lines_in(disk, "/out").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    said.sort();
    said
}

/// What a plain loop says of the records that `wanted` lets through.
fn plain(wanted: impl Fn(u64) -> bool) -> Vec<Said> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut said = Vec::new();
    for record in (0..RECORDS).filter(|record| wanted(*record)) {
        let key = record % KEYS;
        let nth = counts.entry(key).or_default();
        *nth += 1;
        said.push(Said::Record { key, nth: *nth, record });
        said.push(Said::Fired { key, at: record as i64 + 2 });
    }
    said.sort();
    said
}

/// The one letter of the key of this record that has not been asked for yet.
fn letter_of(disk: &SimulatedDisk, record: u64) -> DeadLetter {
    let found = letters(disk, "number").into_iter().find(|letter| letter.evidence.payload == record);
    found.unwrap_or_else(|| panic!("there is no letter for {record}"))
}

#[test]
fn later_records_of_the_key_wait_and_come_in_order_when_it_is_released() {
    for seed in seeds(30) {
        let disk = SimulatedDisk::new(seed);
        let config = |seed| simulated(seeded(seed).on_disk(&disk)).parallelism(1 + seed as usize % 3);
        numbers(false).run(config(seed)).unwrap();
        let before = shown(&disk);
        for said in &before {
            if let Said::Record { key, record, .. } = said {
                let first = if *key == REFUSED[0] % KEYS { REFUSED[0] } else { PANICS };
                let waits = [REFUSED[0] % KEYS, PANICS % KEYS].contains(key) && *record >= first;
                assert!(!waits, "seed {seed}: {record} has overtaken {first}");
            }
        }
        // Nothing else of those keys has become a letter: it waits.
        assert_eq!(letters(&disk, "number").len(), 2, "seed {seed}");
        assert!(letters(&disk, "number").iter().all(|letter| letter.parked));

        // Another parallelism, a death in between, and the program is mended.
        request(&disk, &letter_of(&disk, REFUSED[0]), false);
        request(&disk, &letter_of(&disk, PANICS), false);
        for life in 0..3 {
            let dying = seeded(seed + life * 100).on_disk(&disk).die_at(10 + (seed * 7 + life * 31) % 150);
            numbers(true).run(simulated(dying).parallelism(2)).unwrap();
        }
        numbers(true).run(config(seed + 1)).unwrap();
        assert_eq!(shown(&disk), plain(|_| true), "seed {seed}");
    }
}

#[test]
fn a_key_that_is_released_waits_again_at_its_next_bad_record() {
    let disk = SimulatedDisk::new(4);
    let config = || simulated(seeded(4).on_disk(&disk));
    numbers(false).run(config()).unwrap();
    request(&disk, &letter_of(&disk, REFUSED[0]), true);
    request(&disk, &letter_of(&disk, PANICS), true);
    numbers(false).run(config()).unwrap();
    let refused = REFUSED[0] % KEYS;
    let wanted = |n: u64| n != REFUSED[0] && n != PANICS && (n % KEYS != refused || n < REFUSED[1]);
    let records = |said: Vec<Said>| -> Vec<Said> {
        said.into_iter().filter(|said| matches!(said, Said::Record { .. })).collect()
    };
    assert_eq!(records(shown(&disk)), records(plain(wanted)));
    request(&disk, &letter_of(&disk, REFUSED[1]), true);
    numbers(false).run(config()).unwrap();
    assert_eq!(shown(&disk), plain(|n| n != PANICS && !REFUSED.contains(&n)));
}

#[test]
fn what_is_skipped_of_a_key_that_is_released_does_not_hold_up_the_rest_of_it() {
    struct Skipped;

    impl Process for Skipped {
        type Key = u64;
        type In = u64;
        type Out = u64;
        type State = ();

        fn on_record(&self, record: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
            context.timer_at(record as i64);
            context.emit(record);
            if record == 0 { Err("refused".into()) } else { Ok(()) }
        }

        fn on_timer(&self, timer: Timer, (): &mut (), _: &mut Context<'_, Self>) -> UserResult {
            if timer.at == 3 { Err("not now".into()) } else { Ok(()) }
        }
    }

    let disk = SimulatedDisk::new(5);
    let config = || simulated(seeded(5).on_disk(&disk));
    let topology = Topology::new("skipped");
    let supervision = Supervision::quarantine().on(Stage::Timer, Directive::Skip).park_keys();
    topology
        .source("source", Generator::bounded(10, |n| n))
        .parallelism(1)
        .event_time(|n| *n as i64, Lateness::none())
        .key_by(|_| 0)
        .actor("skips", Skipped)
        .supervise(supervision.at_most_fraction(1.0))
        .sink_exactly_once("files", Files::jsonl("/out"));
    topology.run(config()).unwrap();
    assert!(lines_in(&disk, "/out").is_empty());
    request(&disk, &letters(&disk, "skips")[0], true);
    topology.run(config()).unwrap();
    assert_eq!(lines_in(&disk, "/out"), (1..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_letter_that_does_not_fit_can_be_given_up_and_lets_its_key_go() {
    let disk = SimulatedDisk::new(4);
    let config = || simulated(seeded(4).on_disk(&disk));
    numbers(false).run(config()).unwrap();
    request(&disk, &letter_of(&disk, PANICS), true);
    let letter = letter_of(&disk, REFUSED[0]);
    let mut unfit = letter.clone();
    unfit.evidence.encoded = "wQ==".to_string();
    request(&disk, &unfit, false);
    numbers(true).run(config()).unwrap();
    let waits = |record: u64| record % KEYS == REFUSED[0] % KEYS && record >= REFUSED[0];
    let records = |said: Vec<Said>| -> Vec<Said> {
        said.into_iter().filter(|said| matches!(said, Said::Record { .. })).collect()
    };
    assert_eq!(records(shown(&disk)), records(plain(|n| n != PANICS && !waits(n))));
    request(&disk, &letter, true);
    numbers(true).run(config()).unwrap();
    assert_eq!(shown(&disk), plain(|n| n != PANICS && n != REFUSED[0]));
}
