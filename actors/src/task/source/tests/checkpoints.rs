use proptest::prelude::*;

use super::*;
use crate::chain::FlatMap;
use crate::harness::probe::Credits;
use crate::task::TaskId;

#[test]
fn the_position_is_that_of_what_was_handed_over() {
    let world = World::new();
    let pieces =
        vec![Piece::Record(0), Piece::Record(1), Piece::UntilWoken, Piece::Record(2), Piece::Record(3)];
    let parts = vec![Part { name: "a".to_string(), pieces }, part("b", 10..12)];
    let mut rig = start(&world, script(parts), Setup::default()).unwrap();
    assert_eq!(rig.values(), [0, 1]);
    let saved = rig.checkpoint(&world, 1);
    assert_eq!(positions(&saved), expected([("a", "At(2)"), ("b", "Unread")]));
    assert_eq!(rig.heard(), [Heard::Barrier(1)]);
}

#[test]
fn a_trigger_before_the_first_record_saves_the_beginning() {
    let mut world = World::new();
    let mut rig = start(&world, script(vec![part("a", 0..3)]), Setup::default()).unwrap();
    world.prepare(1);
    rig.driver.control(Control::Trigger(1)).unwrap();
    let heard = rig.heard();
    assert_eq!(heard[0], Heard::Barrier(1));
    let saved = rig.part(&world, 1).unwrap();
    world.power_cut();
    let setup = Setup { restored: saved_by(vec![saved]), ..Setup::default() };
    assert_eq!(start(&world, script(vec![part("a", 0..3)]), setup).unwrap().values(), [0, 1, 2]);
}

#[test]
fn a_trigger_is_answered_while_the_output_is_blocked() {
    let world = World::new();
    // Two records: the second waits for a credit, and nothing is left in between.
    let mut rig =
        start(&world, script(vec![part("a", [7]), part("b", [8])]), Setup { credits: 1, ..Setup::default() })
            .unwrap();
    assert_eq!(rig.driver.step().unwrap(), Step::Waiting(u64::MAX));
    world.prepare(1);
    rig.driver.control(Control::Trigger(1)).unwrap();
    rig.driver.step().unwrap();
    let finished = expected([("a", "FinishedAt(1)"), ("b", "FinishedAt(1)")]);
    assert_eq!(positions(&rig.part(&world, 1).unwrap()), finished);
    // The barrier stands behind the record that waits, and nothing was read meanwhile.
    assert_eq!(rig.output.take(), [Heard::Record(7, crate::NO_TIMESTAMP)]);
    let rest = rig.heard();
    assert_eq!(rest[..2], [Heard::Record(8, crate::NO_TIMESTAMP), Heard::Barrier(1)]);
}

#[test]
fn a_trigger_waits_for_the_rest_of_a_batch_that_did_not_fit() {
    let world = World::new();
    let mut rig =
        start(&world, script(vec![part("a", 0..100)]), Setup { credits: 1, ..Setup::default() }).unwrap();
    // The second batch has two records, and not even the first of them finds room.
    rig.driver.step().unwrap();
    world.prepare(1);
    rig.driver.control(Control::Trigger(1)).unwrap();
    rig.driver.step().unwrap();
    assert_eq!(rig.part(&world, 1), None);
    let heard = rig.heard();
    let before = heard.iter().position(|heard| *heard == Heard::Barrier(1)).unwrap();
    assert_eq!(positions(&rig.part(&world, 1).unwrap()), expected([("a", &format!("At({before})"))]));
}

#[test]
fn a_trigger_that_was_given_up_in_time_sends_no_barrier() {
    let world = World::new();
    let mut rig = start(&world, script(vec![part("a", 0..3)]), Setup::default()).unwrap();
    rig.driver.control(Control::Trigger(1)).unwrap();
    rig.driver.control(Control::Abort(1)).unwrap();
    assert_eq!(signals(rig.heard()), [Heard::Watermark(MAX_WATERMARK), Heard::End]);
    rig.driver.control(Control::Trigger(3)).unwrap();
    rig.driver.control(Control::Abort(2)).unwrap();
    assert_eq!(rig.heard(), [Heard::Barrier(3)]);
}

#[test]
fn a_source_that_has_ended_answers_with_its_end() {
    let mut world = World::new();
    let parts = || vec![part("a", 0..2), part("b", 2..3)];
    let mut rig = start(&world, script(parts()), Setup::default()).unwrap();
    rig.heard();
    let saved = rig.checkpoint(&world, 1);
    assert_eq!(positions(&saved), expected([("a", "FinishedAt(2)"), ("b", "FinishedAt(1)")]));
    assert_eq!(rig.heard(), [Heard::Barrier(1)]);
    assert_eq!(rig.checkpoint(&world, 2), saved);

    // Restored, it reads nothing again and says once more that it has ended.
    world.power_cut();
    let mut rig =
        start(&world, script(parts()), Setup { restored: saved_by(vec![saved.clone()]), ..Setup::default() })
            .unwrap();
    assert_eq!(rig.heard(), [Heard::Watermark(MAX_WATERMARK), Heard::End]);
    assert_eq!(world.reports.of(TaskId(0)), [TaskEvent::Ready, TaskEvent::Ended]);
    assert!(rig.opened.lock().unwrap().is_empty());
    assert_eq!(positions(&rig.checkpoint(&world, 3)), positions(&saved));
}

#[test]
fn after_the_last_trigger_nothing_is_read() {
    let world = World::new();
    let pieces = vec![Piece::Record(0), Piece::UntilWoken, Piece::Record(1)];
    let mut rig =
        start(&world, script(vec![Part { name: "a".to_string(), pieces }]), Setup::default()).unwrap();
    assert_eq!(rig.values(), [0]);
    world.prepare(1);
    rig.driver.control(Control::TriggerLast(1)).unwrap();
    *rig.woken.lock().unwrap() = true;
    assert_eq!(rig.heard(), [Heard::Barrier(1)]);
    assert_eq!(positions(&rig.part(&world, 1).unwrap()), expected([("a", "At(1)")]));
    // Given up after all: it goes on.
    rig.driver.control(Control::Abort(1)).unwrap();
    assert_eq!(rig.values(), [1]);
}

#[test]
fn what_fused_operators_remember_is_saved_and_restored() {
    let mut world = World::new();
    let parts = || {
        let pieces = vec![
            Piece::Record(10),
            Piece::Record(30),
            Piece::UntilWoken,
            Piece::Record(20),
            Piece::Record(40),
        ];
        script(vec![Part { name: "a".to_string(), pieces }])
    };
    let mut rig = start(&world, parts(), Setup { event_time: true, ..Setup::default() }).unwrap();
    rig.heard();
    let saved = rig.checkpoint(&world, 1);
    world.power_cut();
    let restored = saved_by(vec![saved]);
    let mut rig = start(&world, parts(), Setup { event_time: true, restored, ..Setup::default() }).unwrap();
    assert_eq!(
        rig.heard(),
        [Heard::Watermark(29)],
        "those behind are told again how far event time had come"
    );
    *rig.woken.lock().unwrap() = true;
    let heard = rig.heard();
    assert_eq!(heard[..2], [Heard::Record(20, 20), Heard::Record(40, 40)]);
    assert_eq!(heard[2], Heard::Watermark(39));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Wherever a trigger comes, and whatever the outputs have room for: a restart from there gives what the first
    /// run gave after its barrier.
    #[test]
    fn every_record_is_before_the_barrier_and_the_position_or_behind_both(
        lengths in proptest::collection::vec(0..12_u64, 1..4),
        releases in proptest::collection::vec(any::<bool>(), 0..60),
        trigger_after in 0..60_usize,
        wanted in 1..5_usize,
    ) {
        let world = World::new();
        world.prepare(1);
        let parts = || {
            let parts = lengths.iter().enumerate();
            parts.map(|(index, length)| part(&index.to_string(), (0..*length).map(|n| 100 * index as u64 + n))).collect::<Vec<_>>()
        };
        // Each record becomes three, so that a barrier could get in between.
        let build = |world: &World, restored: Restored| {
            let env = world.env("source", 0, 1);
            let output = Probe::wanting(wanted);
            let thrice = FlatMap::new(Arc::new(|n: u64| [n, n, n]));
            let outlet = Tee::new(vec![Box::new(Fused::new(thrice, output.edge(1, env.run))) as Box<dyn Push<u64>>]);
            let source = script(parts());
            let splits = Arc::new(source.splits().unwrap());
            let setup = SourceSetup { source: Arc::new(source), splits, outlet, sides: SideOutputs::default(), rate: None };
            let given = env.clone();
            let boot = Box::new(move || SourceTask::restore(given, setup, &restored));
            let driver = Driver::boot(world, env, 0, vec![Box::new(output.clone())], boot).unwrap();
            (driver, output)
        };
        let (mut driver, output) = build(&world, Restored::default());
        for (step, release) in releases.into_iter().enumerate() {
            if step == trigger_after {
                driver.control(Control::Trigger(1)).unwrap();
            }
            if release {
                output.release();
            }
            driver.step().unwrap();
        }
        driver.settle().unwrap();
        if world.reports.part(TaskId(0), 1).is_none() {
            driver.control(Control::Trigger(1)).unwrap();
            driver.settle().unwrap();
        }
        let heard = output.take();
        let barrier = heard.iter().position(|heard| *heard == Heard::Barrier(1)).unwrap();
        let all: Vec<u64> = parts().iter().flat_map(|part| &part.pieces).filter_map(|piece| {
            if let Piece::Record(value) = piece { Some([*value; 3]) } else { None }
        }).flatten().collect();
        prop_assert_eq!(records(&heard), all);
        prop_assert_eq!(records(&heard[..barrier]).len() % 3, 0);

        let saved = world.read(&world.reports.part(TaskId(0), 1).unwrap());
        let (mut driver, output) = build(&world, saved_by(vec![saved]));
        driver.settle().unwrap();
        prop_assert_eq!(records(&output.take()), records(&heard[barrier..]));
    }
}
