//! Dead letters of closures that are fused into an operator.

use serde_json::json;
use watershed::prelude::*;
use watershed::{DeadLetter, End, Place, SimulatedDisk};

use super::{failure, letters, payloads, request, said_of};
use crate::fixture::{lines_in, seeded, seeds, simulated};

/// What the closure does with 7 and 11.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Closure {
    Fails,
    Panics,
    Passes,
}

impl Closure {
    fn apply(self, n: u64) -> UserResult<u64> {
        match self {
            Self::Fails if n == 7 || n == 11 => Err(format!("{n} is refused").into()),
            Self::Panics if n == 7 || n == 11 => std::panic::resume_unwind(Box::new("not mended")),
            _ => Ok(n),
        }
    }
}

/// The operator that the closure is part of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Behind {
    Source,
    Process,
    Relay,
}

/// Gives on what it gets.
struct Through;

impl Process for Through {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, n: u64, _: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        context.emit(n);
        Ok(())
    }
}

fn numbers(behind: Behind, closure: Closure) -> Topology {
    let topology = Topology::new("numbers");
    let source = topology.source("source", Generator::bounded(40, |n| n)).parallelism(1);
    let apply = move |n| closure.apply(n);
    let supervision = Supervision::quarantine();
    let passed = match behind {
        Behind::Source => source.supervise(supervision).try_map(apply),
        Behind::Process => {
            source.key_by(|n| n % 3).actor("through", Through).supervise(supervision).try_map(apply)
        }
        Behind::Relay => source.key_by(|n| n % 3).partition("relay").supervise(supervision).try_map(apply),
    };
    passed.sink_exactly_once("files", Files::jsonl("/out"));
    topology
}

fn letters_of(disk: &SimulatedDisk, behind: Behind) -> Vec<DeadLetter> {
    let operator = match behind {
        Behind::Source => "source",
        Behind::Process => "through",
        Behind::Relay => "relay",
    };
    letters(disk, operator)
}

/// The letters that are not among those before.
fn fresh(disk: &SimulatedDisk, behind: Behind, before: &[DeadLetter]) -> Vec<DeadLetter> {
    let mut fresh = letters_of(disk, behind);
    fresh.retain(|letter| before.iter().all(|old| old.id != letter.id));
    fresh
}

const ALL: [Behind; 3] = [Behind::Source, Behind::Process, Behind::Relay];

#[test]
fn a_closure_that_panics_at_a_replay_makes_a_new_letter_of_it() {
    for (behind, seed) in ALL.into_iter().flat_map(|behind| seeds(8).map(move |seed| (behind, seed))) {
        let when = format!("{behind:?} with seed {seed}");
        let disk = SimulatedDisk::new(seed);
        let config = |seed| simulated(seeded(seed).on_disk(&disk)).parallelism(1 + seed as usize % 2);
        numbers(behind, Closure::Fails).run(config(seed)).unwrap();
        let before = letters_of(&disk, behind);
        assert_eq!(payloads(&before), [json!(11), json!(7)], "{when}");

        for letter in &before {
            request(&disk, letter, false);
        }
        let outcome = numbers(behind, Closure::Panics).run(config(seed)).unwrap();
        assert_eq!(outcome.end, End::Finished, "{when}");
        assert_eq!(numbers(behind, Closure::Panics).run(config(seed)).unwrap().end, End::AlreadyFinished);
        let again = fresh(&disk, behind, &before);
        assert_eq!(payloads(&again), payloads(&before), "{when}");
        for (old, new) in before.iter().zip(&again) {
            assert_eq!(new.replay_of.as_ref(), Some(&old.id), "{when}");
            assert_eq!((new.panicked, new.attempts, &*new.cause), (true, 3, "not mended"), "{when}");
            assert_eq!(new.evidence.place, old.evidence.place);
            assert_eq!(said_of(&disk, old), [".replayed.json"], "{when}");
        }

        // The new ones can be replayed in turn.
        for letter in &again {
            request(&disk, letter, false);
        }
        numbers(behind, Closure::Passes).run(config(seed)).unwrap();
        assert_eq!(lines_in(&disk, "/out").len(), 40, "{when}");
        assert_eq!(numbers(behind, Closure::Passes).run(config(seed)).unwrap().end, End::AlreadyFinished);
    }
}

#[test]
fn what_a_closure_rejects_again_says_which_letter_it_was() {
    for behind in ALL {
        let disk = SimulatedDisk::new(3);
        let config = || simulated(seeded(3).on_disk(&disk)).parallelism(1);
        numbers(behind, Closure::Fails).run(config()).unwrap();
        let before = letters_of(&disk, behind);
        for letter in &before {
            request(&disk, letter, false);
        }
        numbers(behind, Closure::Fails).run(config()).unwrap();
        let again = fresh(&disk, behind, &before);
        let replayed: Vec<_> = again.iter().map(|letter| letter.replay_of.clone()).collect();
        let expected: Vec<_> = before.iter().map(|letter| Some(letter.id.clone())).collect();
        assert_eq!(replayed, expected, "{behind:?}");
        // It does not stand where the source is now.
        assert!(again.iter().all(|letter| letter.evidence.position.is_none()));
        assert_eq!(numbers(behind, Closure::Fails).run(config()).unwrap().end, End::AlreadyFinished);
    }
}

#[test]
fn a_letter_whose_closure_is_gone_stays_one_and_says_so() {
    for behind in ALL {
        let disk = SimulatedDisk::new(3);
        let config = || simulated(seeded(3).on_disk(&disk)).parallelism(1);
        numbers(behind, Closure::Fails).run(config()).unwrap();
        let mut letter = letters_of(&disk, behind).remove(0);
        // As if another closure had stood there before.
        letter.evidence.place = Place::Closure { number: 0, name: "try_filter".to_string() };
        request(&disk, &letter, false);
        numbers(behind, Closure::Passes).run(config()).unwrap();
        assert_eq!(lines_in(&disk, "/out").len(), 38, "{behind:?}");
        let why = failure(&disk, &letter);
        assert!(why.contains("no closure `try_filter` as number 0"), "{why}");
        assert_eq!(numbers(behind, Closure::Passes).run(config()).unwrap().end, End::AlreadyFinished);
    }
}
