//! Dead letters get another chance.

use serde::{Deserialize, Serialize};
use serde_json::json;
use watershed::prelude::*;
use watershed::{DeadLetter, End, SimulatedDisk};

use super::{failure, letters, payloads, request, said_of};
use crate::fixture::{lines_in, seeded, seeds, simulated};

/// Adds up by key; refuses and chokes on some, unless it is mended.
struct Sum {
    mended: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Total {
    key: u64,
    number: u64,
}

impl Process for Sum {
    type Key = u64;
    type In = u64;
    type Out = Total;
    type State = u64;

    fn on_record(&self, number: u64, _: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        context.emit(Total { key: number % 3, number });
        if !self.mended && number % 10 == 4 {
            return Err("fours are refused".into());
        }
        if !self.mended && number == 17 {
            std::panic::resume_unwind(Box::new("seventeen"));
        }
        Ok(())
    }
}

fn sums(mended: bool) -> Topology {
    let topology = Topology::new("sums");
    topology
        .source("numbers", Generator::bounded(40, |n| n))
        .parallelism(1)
        .supervise(Supervision::quarantine())
        .try_map(move |n| if !mended && n == 21 { Err("twenty-one".into()) } else { Ok(n) })
        .key_by(|n| n % 3)
        .actor("sum", Sum { mended })
        .supervise(Supervision::quarantine())
        .sink_exactly_once("files", Files::jsonl("/out"));
    topology
}

/// The numbers that are shown, sorted.
fn shown(disk: &SimulatedDisk) -> Vec<u64> {
    let lines = lines_in(disk, "/out");
    let mut numbers: Vec<u64> =
        lines.iter().map(|line| serde_json::from_str::<Total>(line).unwrap().number).collect();
    numbers.sort_unstable();
    numbers
}

fn all_letters(disk: &SimulatedDisk) -> Vec<DeadLetter> {
    [letters(disk, "numbers"), letters(disk, "sum")].concat()
}

#[test]
fn a_letter_that_is_replayed_after_a_fix_is_processed_exactly_once_in_whatever_crashes() {
    for seed in seeds(40) {
        let disk = SimulatedDisk::new(seed);
        let config = |seed| simulated(seeded(seed).on_disk(&disk)).parallelism(1 + seed as usize % 3);
        sums(false).run(config(seed)).unwrap();
        let found = all_letters(&disk);
        assert_eq!(payloads(&found), [json!(21), json!(14), json!(17), json!(24), json!(34), json!(4)]);
        assert_eq!(shown(&disk).len(), 34);

        for letter in &found {
            request(&disk, letter, false);
        }
        for life in 0..3 {
            let dying = seeded(seed + life * 100).on_disk(&disk).die_at(5 + (seed * 7 + life * 31) % 120);
            sums(true).run(simulated(dying)).unwrap();
        }
        let outcome = sums(true).run(config(seed + 1)).unwrap();
        assert_eq!(shown(&disk), (0..40).collect::<Vec<_>>(), "seed {seed}");
        assert!(matches!(outcome.end, End::Finished | End::AlreadyFinished));
        // And not once more.
        assert_eq!(sums(true).run(config(seed)).unwrap().end, End::AlreadyFinished, "seed {seed}");
        assert_eq!(shown(&disk).len(), 40, "seed {seed}");
    }
}

#[test]
fn a_letter_that_fails_again_is_a_letter_again() {
    let disk = SimulatedDisk::new(9);
    let config = || simulated(seeded(9).on_disk(&disk));
    sums(false).run(config()).unwrap();
    let before = all_letters(&disk);
    for letter in &before {
        request(&disk, letter, false);
    }
    sums(false).run(config()).unwrap();
    let after = all_letters(&disk);
    assert_eq!(after.len(), 2 * before.len());
    for letter in &before {
        let again: Vec<_> =
            after.iter().filter(|again| again.evidence.payload == letter.evidence.payload).collect();
        assert_eq!(again.len(), 2);
        assert!(again.iter().any(|again| again.replay_of.as_ref() == Some(&letter.id)));
    }
    assert_eq!(shown(&disk).len(), 34);
    // The new ones can be replayed in turn.
    let fresh = after.iter().filter(|letter| before.iter().all(|old| old.id != letter.id));
    fresh.for_each(|letter| request(&disk, letter, false));
    sums(true).run(config()).unwrap();
    assert_eq!(shown(&disk), (0..40).collect::<Vec<_>>());
}

#[test]
fn a_letter_that_is_given_up_is_not_processed() {
    let disk = SimulatedDisk::new(9);
    let config = || simulated(seeded(9).on_disk(&disk));
    sums(false).run(config()).unwrap();
    for letter in &all_letters(&disk) {
        request(&disk, letter, true);
    }
    assert_eq!(sums(true).run(config()).unwrap().end, End::Finished);
    assert_eq!(sums(true).run(config()).unwrap().end, End::AlreadyFinished);
    assert_eq!(shown(&disk).len(), 34);
}

#[test]
fn a_letter_that_is_to_be_replayed_and_is_given_up_is_not_processed() {
    let disk = SimulatedDisk::new(9);
    let config = || simulated(seeded(9).on_disk(&disk));
    sums(false).run(config()).unwrap();
    for letter in &all_letters(&disk) {
        request(&disk, letter, false);
        request(&disk, letter, true);
    }
    assert_eq!(sums(true).run(config()).unwrap().end, End::Finished);
    assert_eq!(sums(true).run(config()).unwrap().end, End::AlreadyFinished);
    assert_eq!(shown(&disk).len(), 34);
}

#[test]
fn a_letter_that_does_not_fit_says_why_and_is_not_waited_for() {
    let disk = SimulatedDisk::new(9);
    let config = || simulated(seeded(9).on_disk(&disk));
    sums(false).run(config()).unwrap();
    let found = all_letters(&disk);
    for letter in &found {
        let mut letter = letter.clone();
        // As the letter of a record of another type.
        letter.evidence.encoded = "wQ==".to_string();
        request(&disk, &letter, false);
    }
    assert_eq!(sums(true).run(config()).unwrap().end, End::Finished);
    assert_eq!(shown(&disk).len(), 34);
    for letter in &found {
        assert_eq!(said_of(&disk, letter), [".failed.txt", ".replay.json"]);
        assert!(!failure(&disk, letter).is_empty());
    }
    assert_eq!(sums(true).run(config()).unwrap().end, End::AlreadyFinished);

    // Asked for again, which takes the reason away, each is tried again.
    for letter in &found {
        let why = format!("/checkpoints/dead-letters/.requests/{}.failed.txt", letter.id);
        disk.fs().remove_file(std::path::Path::new(&why)).unwrap();
        request(&disk, letter, false);
    }
    assert_eq!(sums(true).run(config()).unwrap().end, End::Finished);
    assert_eq!(shown(&disk), (0..40).collect::<Vec<_>>());
}

#[test]
fn any_number_of_letters_can_be_given_up_at_once() {
    let disk = SimulatedDisk::new(9);
    let config = || simulated(seeded(9).on_disk(&disk));
    sums(false).run(config()).unwrap();
    let letter = letters(&disk, "numbers").remove(0);
    let fs = disk.fs();
    for n in 0..20_000 {
        let letter = DeadLetter { id: format!("{n:016x}"), ..letter.clone() };
        let path = format!("/checkpoints/dead-letters/.requests/{}.discard.json", letter.id);
        if n == 0 {
            request(&disk, &letter, true);
        }
        let mut file = fs.create(std::path::Path::new(&path)).unwrap();
        let request = json!({ "letter": letter, "discarded": true });
        file.write_all(request.to_string().as_bytes()).unwrap();
        file.sync().unwrap();
    }
    assert_eq!(sums(true).run(config()).unwrap().end, End::Finished);
    assert_eq!(sums(true).run(config()).unwrap().end, End::AlreadyFinished);
}

#[test]
fn quarantine_that_is_taken_away_leaves_no_letter_behind_unnoticed() {
    let disk = SimulatedDisk::new(9);
    let config = || simulated(seeded(9).on_disk(&disk));
    let topology = |supervision| {
        let topology = Topology::new("fives");
        topology
            .source("numbers", Generator::bounded(20, |n| n))
            .supervise(supervision)
            .try_filter(|n| if n % 5 == 0 { Err("a five".into()) } else { Ok(true) })
            .sink_exactly_once("files", Files::jsonl("/out"));
        topology
    };
    topology(Supervision::quarantine()).run(config()).unwrap();
    let error = topology(Supervision::skip()).run(config()).unwrap_err().to_string();
    assert!(error.contains("`numbers`, which puts no records into quarantine now"), "{error}");
    assert!(error.contains("drop_state_of(\"numbers.dead-letters\")"), "{error}");
    let outcome = topology(Supervision::skip()).run(config().drop_state_of("numbers.dead-letters")).unwrap();
    assert_eq!(outcome.end, End::AlreadyFinished);
    assert_eq!(letters(&disk, "numbers").len(), 4);
}
