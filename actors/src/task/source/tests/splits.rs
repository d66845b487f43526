use proptest::prelude::*;

use super::*;
use crate::failure::FailureKind;
use crate::task::TaskId;

#[test]
fn splits_are_dealt_out_in_turn() {
    let dealt = |count: usize, parallelism: usize| {
        (0..parallelism).map(|instance| assign_splits(0..count, instance, parallelism)).collect::<Vec<_>>()
    };
    assert_eq!(dealt(5, 2), [vec![0, 2, 4], vec![1, 3]]);
    assert_eq!(dealt(2, 3), [vec![0], vec![1], vec![]]);
    assert_eq!(dealt(0, 1), [Vec::<usize>::new()]);
}

/// A split of which so many records come before it has to be woken.
fn halting(name: &str, first: u64, before: u64, after: u64) -> Part {
    let mut pieces: Vec<Piece> = (first..first + before).map(Piece::Record).collect();
    pieces.push(Piece::UntilWoken);
    pieces.extend((first + before..first + before + after).map(Piece::Record));
    Part { name: name.to_string(), pieces }
}

fn unbounded(parts: Vec<Part>) -> Script {
    Script { bounded: false, ..script(parts) }
}

/// Starts all instances. Returns what each reads until it has to be woken, in order of the values, and its part of a
/// checkpoint then.
fn run(
    world: &mut World,
    parts: &[Part],
    parallelism: usize,
    restored: &Restored,
    woken: bool,
) -> (Vec<Vec<u64>>, Vec<Vec<Section>>) {
    let checkpoint = world.run();
    world.prepare(checkpoint);
    let instances = (0..parallelism).map(|index| {
        let setup = Setup { index, parallelism, restored: restored.clone(), ..Setup::default() };
        let mut rig = start(world, unbounded(parts.to_vec()), setup).unwrap();
        *rig.woken.lock().unwrap() = woken;
        let mut values = rig.values();
        values.sort_unstable();
        (values, rig.checkpoint(world, checkpoint))
    });
    let result = instances.unzip();
    world.power_cut();
    result
}

#[test]
fn each_split_goes_on_where_it_was_whoever_reads_it() {
    let mut world = World::new();
    let parts =
        [halting("a", 0, 2, 2), halting("b", 10, 1, 2), halting("c", 20, 3, 1), halting("d", 30, 0, 2)];
    let (read, saved) = run(&mut world, &parts, 2, &Restored::default(), false);
    assert_eq!(read, [vec![0, 1, 20, 21, 22], vec![10]]);
    let (read, _) = run(&mut world, &parts, 3, &saved_by(saved), true);
    assert_eq!(read, [vec![2, 3, 30, 31], vec![11, 12], vec![23]]);
}

#[test]
fn a_finished_split_is_not_read_again_and_the_others_are_dealt_out_anew() {
    let mut world = World::new();
    let parts = [part("a", 0..2), halting("b", 10, 1, 1), part("c", [])];
    let mut rig = start(&world, script(parts.to_vec()), Setup::default()).unwrap();
    assert_eq!(rig.values(), [0, 1, 10]);
    let saved = rig.checkpoint(&world, 1);
    assert_eq!(positions(&saved), expected([("a", "FinishedAt(2)"), ("b", "At(1)"), ("c", "Unread")]));
    world.power_cut();

    let instances: Vec<_> = (0..2)
        .map(|index| {
            let setup =
                Setup { index, parallelism: 2, restored: saved_by(vec![saved.clone()]), ..Setup::default() };
            let mut rig = start(&world, script(parts.to_vec()), setup).unwrap();
            *rig.woken.lock().unwrap() = true;
            rig.heard();
            let opened = rig.opened.lock().unwrap().clone();
            (opened, positions(&rig.checkpoint(&world, 2)))
        })
        .collect();
    assert_eq!(instances[0].0, [("b".to_string(), Some(1))]);
    assert_eq!(instances[1].0, [("c".to_string(), None)]);
    // One of them keeps in mind what was finished before.
    assert_eq!(instances[0].1, expected([("a", "FinishedAt(2)"), ("b", "FinishedAt(3)")]));
    assert_eq!(instances[1].1, expected([("c", "FinishedAt(0)")]));
}

fn saved_in_the_middle(world: &mut World) -> Restored {
    let parts = [part("a", 0..2), halting("b", 10, 1, 1), part("c", 20..22)];
    let mut rig = start(world, script(parts.to_vec()), Setup::default()).unwrap();
    rig.heard();
    let saved = rig.checkpoint(world, 1);
    world.power_cut();
    saved_by(vec![saved])
}

#[test]
fn a_split_that_was_not_read_to_its_end_and_is_gone_is_refused() {
    let mut world = World::new();
    let restored = saved_in_the_middle(&mut world);
    let (a, b, c) = (part("a", 0..2), halting("b", 10, 1, 1), part("c", 20..22));
    for (parts, gone) in [(vec![a.clone(), c], "b"), (vec![a, b], "c")] {
        let setup = Setup { restored: restored.clone(), ..Setup::default() };
        let failure = start(&world, script(parts), setup).err().unwrap();
        assert_eq!(failure.cause, format!("split `{gone}` had not been read to its end and is gone"));
        assert_eq!(failure.kind, FailureKind::State);
        world.restart();
    }
}

#[test]
fn a_split_that_was_finished_may_be_gone() {
    let mut world = World::new();
    let restored = saved_in_the_middle(&mut world);
    let parts = vec![part("b", 10..13), part("c", [])];
    assert_eq!(
        start(&world, script(parts), Setup { restored, ..Setup::default() }).unwrap().values(),
        [11, 12]
    );
}

#[test]
fn a_new_split_is_read_from_its_beginning() {
    let mut world = World::new();
    let restored = saved_in_the_middle(&mut world);
    let parts = vec![part("a", 0..2), part("aa", 50..52), part("b", 10..11), part("c", [])];
    assert_eq!(
        start(&world, script(parts), Setup { restored, ..Setup::default() }).unwrap().values(),
        [50, 51]
    );
}

#[test]
fn within_a_process_each_instance_takes_back_its_own_splits() {
    let mut world = World::new();
    let parts = [halting("a", 0, 2, 2), halting("b", 10, 1, 2), halting("c", 20, 3, 1)];
    let (_, saved) = run(&mut world, &parts, 2, &Restored::default(), false);
    let own = Restored { from_this_process: true, ..saved_by(saved) };
    let (read, _) = run(&mut world, &parts, 2, &own, true);
    assert_eq!(read, [vec![2, 3, 23], vec![11, 12]]);
    assert_eq!(world.reports.of(TaskId(0)), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn with_any_parallelisms_every_record_is_read_exactly_once(
        splits in proptest::collection::vec((0..6_u64, 0..6_u64), 1..8),
        parallelisms in (1..5_usize, 1..5_usize, 1..5_usize),
    ) {
        let mut world = World::new();
        let parts: Vec<Part> = splits
            .iter()
            .enumerate()
            .map(|(index, (before, after))| halting(&index.to_string(), 100 * index as u64, *before, *after))
            .collect();
        let (first, saved) = run(&mut world, &parts, parallelisms.0, &Restored::default(), false);
        let (second, saved) = run(&mut world, &parts, parallelisms.1, &saved_by(saved), true);
        let (third, _) = run(&mut world, &parts, parallelisms.2, &saved_by(saved), true);
        prop_assert!(third.iter().all(Vec::is_empty));
        let mut read: Vec<u64> = [first, second].concat().concat();
        read.sort_unstable();
        let records = parts.iter().flat_map(|part| &part.pieces);
        let expected: Vec<u64> =
            records.filter_map(|piece| if let Piece::Record(value) = piece { Some(*value) } else { None }).collect();
        prop_assert_eq!(read, expected);
    }
}

#[test]
fn with_the_same_parallelism_each_instance_goes_on_with_its_own_splits() {
    let mut world = World::new();
    let parts = [part("a", 0..2), halting("b", 10, 1, 2), halting("c", 20, 1, 2), halting("d", 30, 1, 2)];
    let (read, saved) = run(&mut world, &parts, 2, &Restored::default(), false);
    assert_eq!(read, [vec![0, 1, 20], vec![10, 30]]);
    // Dealt out anew, `c` would change hands, as `a` is finished; a new one is dealt.
    let more = [&parts[..], &[halting("e", 40, 1, 0)]].concat();
    let (read, _) = run(&mut world, &more, 2, &saved_by(saved), true);
    assert_eq!(read, [vec![21, 22, 40], vec![11, 12, 31, 32]]);
}

#[test]
fn a_finished_split_that_is_missing_from_one_listing_is_not_read_again() {
    let mut world = World::new();
    let parts = [halting("a", 0, 1, 0), halting("b", 10, 1, 0)];
    let mut read = |parts: &[Part], restored: Restored| {
        let checkpoint = world.run();
        world.prepare(checkpoint);
        let mut rig = start(&world, script(parts.to_vec()), Setup { restored, ..Setup::default() }).unwrap();
        *rig.woken.lock().unwrap() = true;
        let values = rig.values();
        let saved = rig.checkpoint(&world, checkpoint);
        world.power_cut();
        (values, saved_by(vec![saved]))
    };
    let (values, saved) = read(&parts, Restored::default());
    assert_eq!(values, [0, 10]);
    let (values, saved) = read(&parts[1..], saved);
    assert_eq!(values, [0_u64; 0]);
    let (values, _) = read(&parts, saved);
    assert_eq!(values, [0_u64; 0]);
}
