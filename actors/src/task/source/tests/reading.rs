use super::*;
use crate::message::Status;
use crate::task::TaskId;

const MS: u64 = 1_000_000;

fn one(pieces: Vec<Piece>) -> Script {
    script(vec![Part { name: "a".to_string(), pieces }])
}

#[test]
fn a_bounded_source_reads_its_splits_one_after_the_other_and_ends() {
    let world = World::new();
    let parts = vec![part("a", 0..3), part("b", 3..5), part("c", [])];
    let mut rig = start(&world, script(parts), Setup::default()).unwrap();
    let heard = rig.heard();
    assert_eq!(records(&heard), [0, 1, 2, 3, 4]);
    assert_eq!(signals(heard), [Heard::Watermark(MAX_WATERMARK), Heard::End]);
    assert_eq!(world.reports.of(TaskId(0)), [TaskEvent::Ready, TaskEvent::Ended]);
    assert_eq!(rig.driver.cell.env().counters.records.load(std::sync::atomic::Ordering::Relaxed), 5);
}

#[test]
fn an_unbounded_source_reads_all_its_splits_at_once() {
    let world = World::new();
    let waiting = |name: &str, value: u64| Part {
        name: name.to_string(),
        pieces: vec![Piece::Record(value), Piece::UntilWoken, Piece::Record(value + 1)],
    };
    let script = Script { bounded: false, ..script(vec![waiting("a", 10), waiting("b", 20)]) };
    let mut rig = start(&world, script, Setup::default()).unwrap();
    assert_eq!(rig.values(), [10, 20]);
    *rig.woken.lock().unwrap() = true;
    let mut values = rig.values();
    values.sort_unstable();
    assert_eq!(values, [11, 21]);
    assert_eq!(world.reports.of(TaskId(0)), [TaskEvent::Ready]);
}

#[test]
fn a_source_without_splits_ends_at_once() {
    let world = World::new();
    let mut rig = start(&world, script(vec![]), Setup::default()).unwrap();
    assert_eq!(rig.heard(), [Heard::Watermark(MAX_WATERMARK), Heard::End]);
}

#[test]
fn nothing_is_read_before_the_start() {
    let world = World::new();
    let env = world.env("source", 0, 1);
    let (script, output) = (script(vec![part("a", 0..3)]), Probe::new());
    let splits = Arc::new(script.splits().unwrap());
    let setup = SourceSetup {
        source: Arc::new(script),
        splits,
        outlet: output.outlet(8, env.run),
        sides: SideOutputs::default(),
        rate: None,
    };
    let mut task = SourceTask::restore(env, setup, &Restored::default()).unwrap();
    assert_eq!(task.step().unwrap(), Step::Waiting(u64::MAX));
    assert_eq!(output.take(), []);
}

#[test]
fn it_sleeps_until_the_time_its_reader_names() {
    let world = World::new();
    let mut rig =
        start(&world, one(vec![Piece::Until(30 * MS), Piece::Record(1)]), Setup::default()).unwrap();
    assert_eq!(rig.driver.settle().unwrap(), 30 * MS);
    assert!(rig.values().is_empty());
    rig.driver.advance(30 * MS).unwrap();
    assert_eq!(rig.values(), [1]);
}

#[test]
fn it_sleeps_until_its_reader_wakes_it() {
    let world = World::new();
    let mut rig = start(&world, one(vec![Piece::UntilWoken, Piece::Record(1)]), Setup::default()).unwrap();
    assert_eq!(rig.driver.step().unwrap(), Step::Waiting(u64::MAX), "it must not turn round and round");
    *rig.woken.lock().unwrap() = true;
    assert_eq!(rig.values(), [1]);
}

#[test]
fn with_several_readers_the_first_time_counts() {
    let world = World::new();
    let until = |name: &str, piece| Part { name: name.to_string(), pieces: vec![piece, Piece::Record(1)] };
    let parts = vec![
        until("a", Piece::Until(90 * MS)),
        until("b", Piece::UntilWoken),
        until("c", Piece::Until(40 * MS)),
    ];
    let script = Script { bounded: false, ..script(parts) };
    let mut rig = start(&world, script, Setup::default()).unwrap();
    assert_eq!(rig.driver.settle().unwrap(), 40 * MS);
}

#[test]
fn a_reader_that_only_skips_is_asked_again() {
    let world = World::new();
    let pieces = vec![Piece::Skip, Piece::Skip, Piece::Record(1), Piece::Skip];
    assert_eq!(start(&world, one(pieces), Setup::default()).unwrap().values(), [1]);
}

#[test]
fn an_error_of_a_reader_is_reported() {
    let world = World::new();
    let mut rig = start(&world, one(vec![Piece::Record(1), Piece::Fail]), Setup::default()).unwrap();
    let failure = rig.driver.settle().unwrap_err();
    assert_eq!(
        failure,
        Failure {
            cause: "the disk is gone".to_string(),
            kind: crate::FailureKind::Error,
            key: None,
            blame: None
        }
    );
}

#[test]
fn a_rate_is_kept_and_divided_among_the_instances() {
    let world = World::new();
    let setup = Setup { rate: Some(100.0), index: 1, parallelism: 2, ..Setup::default() };
    // Two splits, so that the second instance has one.
    let parts = vec![part("a", []), part("b", 0..1000)];
    let mut rig = start(&world, script(parts), setup).unwrap();
    assert_eq!(rig.values(), [0]);
    for second in 1..=3 {
        rig.driver.advance(1_000 * MS).unwrap();
        assert_eq!(rig.values().len(), 50, "in second {second}");
    }
    assert_eq!(rig.driver.settle().unwrap(), 3_020 * MS);
}

#[test]
fn an_instance_without_a_split_has_no_share_in_the_rate() {
    let world = World::new();
    let setup = Setup { rate: Some(100.0), parallelism: 2, ..Setup::default() };
    let mut rig = start(&world, script(vec![part("a", 0..1000)]), setup).unwrap();
    for ms in 1..=1_000 {
        world.clock.advance_to(ms * MS);
        rig.driver.settle().unwrap();
    }
    let read = rig.values().len();
    assert!((99..=101).contains(&read), "{read} records in a second at 100 a second");
}

#[test]
fn a_source_that_is_held_to_a_rate_sends_what_it_may_at_once() {
    let world = World::new();
    let setup = Setup { rate: Some(1.0), ..Setup::default() };
    let mut rig = start(&world, script(vec![part("a", 10..1000)]), setup).unwrap();
    for second in 0..3 {
        assert_eq!(rig.values(), [10 + second]);
        rig.driver.advance(1_000 * MS).unwrap();
    }
}

#[test]
fn a_source_that_waits_for_its_reader_becomes_idle() {
    let world = World::new();
    let setup = Setup { event_time: true, ..Setup::default() };
    let mut rig =
        start(&world, one(vec![Piece::Record(10), Piece::UntilWoken, Piece::Record(20)]), setup).unwrap();
    rig.driver.advance(60 * MS).unwrap();
    assert_eq!(signals(rig.heard()), [Heard::Watermark(9), Heard::Status(Status::Idle)]);
    *rig.woken.lock().unwrap() = true;
    let last =
        [Heard::Status(Status::Active), Heard::Watermark(19), Heard::Watermark(MAX_WATERMARK), Heard::End];
    assert_eq!(signals(rig.heard()), last);
}

#[test]
fn a_consumer_without_room_does_not_make_another_wait_longer_than_the_linger_time() {
    let world = World::new();
    let quick = Probe::wanting(100);
    let setup = Setup { credits: 1, quick: Some(quick.clone()), ..Setup::default() };
    let mut rig = start(&world, script(vec![part("a", 0..1000)]), setup).unwrap();
    // The batch [1, 2] does not fit into the slow channel; 2 is the beginning of a larger batch for the quick one.
    assert_eq!(rig.driver.step().unwrap(), Step::Waiting(MS));
    assert_eq!((records(&rig.output.take()), records(&quick.take())), (vec![0], vec![0, 1]));
    world.clock.advance_to(MS);
    assert_eq!(rig.driver.step().unwrap(), Step::Waiting(u64::MAX));
    assert_eq!(records(&quick.take()), [2]);
}

#[test]
fn nobody_sends_to_a_source() {
    let world = World::new();
    let mut rig = start(&world, script(vec![]), Setup::default()).unwrap();
    let link = crate::link::Link::new(1, Arc::default());
    let message = crate::message::Message::End;
    let envelope = Envelope { run: 1, channel: 0, seq: 1, message, permit: link.acquire().unwrap() };
    rig.driver.cell.file(envelope);
    assert_eq!(rig.driver.step().unwrap_err().cause, "data was sent to a source");
}
