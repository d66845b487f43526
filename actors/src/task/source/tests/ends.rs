//! Readers that end though their source is not bounded.

use super::*;
use crate::task::TaskId;

const MS: u64 = 1_000_000;

fn feed(pieces: Vec<Piece>) -> Script {
    Script { bounded: false, ..script(vec![Part { name: "a".to_string(), pieces }]) }
}

/// What an instance has saved in a form of before.
fn saved_as(progress: Progress<usize>) -> Restored {
    let mut bytes = Vec::new();
    encode(&vec![("a".to_string(), progress)], &mut bytes).unwrap();
    saved_by(vec![vec![Section { kind: SectionKind::Splits, group: 0, entries: 1, bytes }]])
}

#[test]
fn an_input_that_is_not_bounded_goes_on_after_its_reader_has_ended() {
    let world = World::new();
    let pieces = vec![Piece::Record(0), Piece::HangUp, Piece::Record(1), Piece::HangUp, Piece::Record(2)];
    let mut rig = start(&world, feed(pieces), Setup::default()).unwrap();
    assert_eq!(rig.heard(), [Heard::Record(0, crate::NO_TIMESTAMP)]);
    assert_eq!(rig.driver.settle().unwrap(), 100 * MS);
    rig.driver.advance(100 * MS).unwrap();
    assert_eq!(rig.heard(), [Heard::Record(1, crate::NO_TIMESTAMP)]);
    rig.driver.advance(200 * MS).unwrap();
    assert_eq!(rig.heard(), [Heard::Record(2, crate::NO_TIMESTAMP)]);
    assert_eq!(world.reports.of(TaskId(0)), [TaskEvent::Ready], "it has not ended");
    let opened = |at: Option<usize>| ("a".to_string(), at);
    assert_eq!(*rig.opened.lock().unwrap(), [opened(None), opened(Some(2)), opened(Some(4))]);
}

#[test]
fn an_input_that_has_nothing_is_opened_more_and_more_rarely_until_it_has_something() {
    let world = World::new();
    let mut pieces = vec![Piece::HangUp; 12];
    pieces.extend([Piece::Record(0), Piece::HangUp, Piece::Record(1)]);
    let mut rig = start(&world, feed(pieces), Setup::default()).unwrap();
    let (mut now, mut rests) = (0, Vec::new());
    while rig.values().is_empty() {
        let next = rig.driver.settle().unwrap();
        rests.push((next - now) / MS);
        rig.driver.advance(next - now).unwrap();
        now = next;
    }
    let doubled = [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600];
    assert_eq!(rests, [&doubled[..], &[30_000; 3]].concat());
    assert_eq!(rig.driver.settle().unwrap() - now, 1_000 * MS, "it has had something");
}

/// How long an input rests each time its reader has ended, in milliseconds.
fn rests(pieces: Vec<Piece>, ends: usize) -> Vec<u64> {
    let world = World::new();
    let mut rig = start(&world, feed(pieces), Setup::default()).unwrap();
    let (mut now, mut rests) = (0, Vec::new());
    while rests.len() < ends {
        let next = rig.driver.settle().unwrap();
        rests.push((next - now) / MS);
        rig.driver.advance(next - now).unwrap();
        now = next;
    }
    rests
}

#[test]
fn an_input_that_hangs_up_as_soon_as_it_has_given_something_is_opened_once_a_second() {
    let greets = [Piece::Record(0), Piece::HangUp].repeat(8);
    assert_eq!(rests(greets, 7), [100, 200, 400, 800, 1_000, 1_000, 1_000]);
}

#[test]
fn an_input_that_has_lasted_as_long_as_it_has_rested_is_opened_again_soon() {
    let mut pieces = [Piece::Record(0), Piece::HangUp].repeat(5);
    // The fifth rest ends after 2.5 s: what is opened then lasts another second.
    pieces.extend([Piece::Record(0), Piece::Until(3_500 * MS), Piece::HangUp, Piece::Record(1)]);
    let all = rests(pieces, 7);
    assert_eq!(all, [100, 200, 400, 800, 1_000, 1_000, 100], "the sixth is the input's own");
}

#[test]
fn a_split_whose_reader_has_ended_is_saved_with_its_position() {
    let mut world = World::new();
    let pieces = vec![Piece::Record(0), Piece::HangUp, Piece::Record(1)];
    let mut rig = start(&world, feed(pieces.clone()), Setup::default()).unwrap();
    assert_eq!(rig.values(), [0]);
    let saved = rig.checkpoint(&world, 1);
    assert_eq!(positions(&saved), expected([("a", "At(2)")]));
    world.power_cut();
    let setup = Setup { restored: saved_by(vec![saved]), ..Setup::default() };
    assert_eq!(start(&world, feed(pieces), setup).unwrap().values(), [1], "at once, without a rest");
}

#[test]
fn a_split_of_an_unbounded_source_that_an_earlier_version_took_for_finished_is_opened_again() {
    let world = World::new();
    let setup = Setup { restored: saved_as(Progress::Finished), ..Setup::default() };
    let mut rig = start(&world, feed(vec![Piece::Record(5)]), setup).unwrap();
    assert_eq!(rig.values(), [5]);
    assert_eq!(positions(&rig.checkpoint(&world, 1)), expected([("a", "At(1)")]));
}

#[test]
fn a_split_of_a_bounded_source_that_an_earlier_version_has_finished_stays_finished() {
    let world = World::new();
    let setup = Setup { restored: saved_as(Progress::Finished), ..Setup::default() };
    let mut rig = start(&world, script(vec![part("a", 0..3)]), setup).unwrap();
    assert!(rig.values().is_empty());
    assert_eq!(positions(&rig.checkpoint(&world, 1)), expected([("a", "Finished")]));
}

#[test]
fn a_bounded_source_that_becomes_unbounded_goes_on_where_it_ended() {
    let world = World::new();
    let setup = Setup { restored: saved_as(Progress::FinishedAt(2)), ..Setup::default() };
    let pieces = (0..4).map(Piece::Record).collect();
    assert_eq!(start(&world, feed(pieces), setup).unwrap().values(), [2, 3]);
}

#[test]
fn a_single_split_of_an_unbounded_source_may_finish_for_good_and_the_others_go_on() {
    let mut world = World::new();
    let feeds = || {
        let part = |name: &str, pieces: Vec<Piece>| Part { name: name.to_string(), pieces };
        let a = part("a", vec![Piece::Record(0), Piece::Finish, Piece::Record(1)]);
        let b = part("b", vec![Piece::Record(10), Piece::UntilWoken, Piece::Record(11), Piece::Finish]);
        Script { bounded: false, ..script(vec![a, b]) }
    };
    let mut rig = start(&world, feeds(), Setup::default()).unwrap();
    assert_eq!(rig.values(), [0, 10]);
    assert_eq!(rig.driver.settle().unwrap(), u64::MAX, "nothing is opened again");
    let saved = rig.checkpoint(&world, 1);
    assert_eq!(positions(&saved), expected([("a", "FinishedForGoodAt(2)"), ("b", "At(1)")]));
    assert_eq!(world.reports.of(TaskId(0)).last().map(|event| *event == TaskEvent::Ended), Some(false));

    // Restored, only the other one is read, and when that is finished, too, the source has ended.
    world.power_cut();
    let setup = Setup { restored: saved_by(vec![saved]), ..Setup::default() };
    let mut rig = start(&world, feeds(), setup).unwrap();
    *rig.woken.lock().unwrap() = true;
    let heard = rig.heard();
    assert_eq!(records(&heard), [11]);
    assert_eq!(signals(heard), [Heard::Watermark(crate::MAX_WATERMARK), Heard::End]);
    let saved = rig.checkpoint(&world, 2);
    let finished = expected([("a", "FinishedForGoodAt(2)"), ("b", "FinishedForGoodAt(4)")]);
    assert_eq!(positions(&saved), finished);

    // Nor is it read again with another parallelism, by a source that is bounded by then, or by a third start.
    for (bounded, parallelism) in [(false, 1), (false, 2), (true, 1)] {
        world.power_cut();
        let restored = saved_by(vec![saved.clone()]);
        let setup = Setup { parallelism, restored, ..Setup::default() };
        let mut rig = start(&world, Script { bounded, ..feeds() }, setup).unwrap();
        assert!(rig.values().is_empty());
        assert!(rig.opened.lock().unwrap().is_empty());
        assert_eq!(positions(&rig.checkpoint(&world, 3)), finished);
    }
}

#[test]
fn a_split_that_cannot_be_opened_again_fails_as_input_that_is_tried_again_with_growing_waits() {
    let world = World::new();
    let mut rig = start(&world, feed(vec![Piece::HangUp, Piece::Closed]), Setup::default()).unwrap();
    assert!(rig.values().is_empty());
    let failure = rig.driver.advance(100 * MS).unwrap_err();
    assert_eq!(failure.kind, crate::failure::FailureKind::Io, "{failure}");
    assert!(failure.blame.is_none(), "no policy leaves it out");
}
