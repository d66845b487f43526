use proptest::prelude::*;
use watershed_state::Section;

use super::rig::{KeyedRig, keyed, lone, owner};
use super::*;
use crate::clock::MAX_WATERMARK;
use crate::harness::world::World;

/// Instances of the keyed actor, all of one parallelism.
struct Operator {
    world: World,
    instances: Vec<KeyedRig>,
    checkpoints: u64,
}

impl Operator {
    fn new(parallelism: usize) -> Self {
        let world = World::new();
        let instances = (0..parallelism).map(|index| keyed(&world, index, parallelism, &[])).collect();
        Self { world, instances, checkpoints: 0 }
    }

    /// Takes a checkpoint and goes on from it with another parallelism.
    fn rescale(mut self, parallelism: usize) -> Self {
        let checkpoint = self.checkpoints + 1;
        let world = &self.world;
        let parts: Vec<Vec<Section>> =
            self.instances.iter_mut().map(|rig| rig.driver.snapshot(world, checkpoint).unwrap()).collect();
        self.world.power_cut();
        let instances =
            (0..parallelism).map(|index| keyed(&self.world, index, parallelism, &parts)).collect();
        Self { world: self.world, instances, checkpoints: checkpoint }
    }

    fn ask(&mut self, key: u32, what: Do) -> Vec<String> {
        let owner = owner(key, self.instances.len());
        self.instances[owner].ask(key, what)
    }

    fn check_watermark(&mut self, key: u32, expected: i64) {
        assert_eq!(self.ask(key, Do::Watermark), [format!("{key}: watermark {expected}")]);
    }

    fn watermark(&mut self, at: i64) {
        self.instances.iter_mut().for_each(|rig| rig.watermark(at));
    }
}

/// A key of each of two instances.
fn key_of_each() -> (u32, u32) {
    let key_of = |instance| (0..100).find(|key| owner(*key, 2) == instance).unwrap();
    (key_of(0), key_of(1))
}

#[test]
fn a_key_keeps_the_watermark_it_had_when_two_instances_become_one_and_three() {
    let (first, second) = key_of_each();
    let mut operator = Operator::new(2);
    operator.instances[0].watermark(10);
    operator.instances[1].watermark(20);

    let mut operator = operator.rescale(1);
    operator.check_watermark(first, 10);
    operator.check_watermark(second, 20);
    operator.watermark(15);
    operator.check_watermark(first, 15);
    operator.check_watermark(second, 20);

    let mut operator = operator.rescale(3);
    operator.check_watermark(first, 15);
    operator.check_watermark(second, 20);
    operator.watermark(25);
    operator.check_watermark(first, 25);
    operator.check_watermark(second, 25);
}

#[test]
fn the_end_of_the_input_does_not_take_away_the_watermark_of_a_key() {
    let (first, second) = key_of_each();
    let mut operator = Operator::new(2);
    operator.instances[0].watermark(10);
    operator.instances[1].watermark(20);
    let mut operator = operator.rescale(1);
    operator.watermark(MAX_WATERMARK);
    let mut operator = operator.rescale(1);
    operator.check_watermark(first, 10);
    operator.check_watermark(second, 20);
}

#[test]
fn timers_move_with_their_keys_and_do_not_fire_again() {
    let (first, second) = key_of_each();
    let mut operator = Operator::new(2);
    for key in [first, second] {
        for at in [5, 15, 25] {
            operator.ask(key, Do::Timer(at));
        }
    }
    operator.instances[0].watermark(10);
    operator.instances[1].watermark(20);
    assert_eq!(operator.instances[0].records(), [format!("{first}: timer 5")]);
    assert_eq!(
        operator.instances[1].records(),
        [format!("{second}: timer 5"), format!("{second}: timer 15")]
    );

    let mut operator = operator.rescale(1);
    operator.watermark(18);
    assert_eq!(operator.instances[0].records(), [format!("{first}: timer 15")]);
    operator.watermark(30);
    let mut fired = operator.instances[0].records();
    fired.sort();
    let mut expected = [format!("{first}: timer 25"), format!("{second}: timer 25")];
    expected.sort();
    assert_eq!(fired, expected);
}

#[test]
fn an_instance_goes_on_from_the_lowest_watermark_of_its_groups() {
    let mut operator = Operator::new(2);
    operator.instances[0].watermark(10);
    operator.instances[1].watermark(20);
    let mut operator = operator.rescale(1);
    assert_eq!(operator.instances[0].watermarks(), [10]);
    operator.watermark(12);
    assert_eq!(operator.instances[0].watermarks(), [12]);
}

#[test]
fn more_instances_than_key_groups_still_restore() {
    let mut operator = Operator::new(2);
    operator.ask(1, Do::Count);
    operator.watermark(10);
    let mut operator = operator.rescale(130);
    assert_eq!(operator.ask(1, Do::Count), ["1: 2"]);
    operator.check_watermark(1, 10);
    let mut operator = operator.rescale(2);
    assert_eq!(operator.ask(1, Do::Count), ["1: 3"]);
    operator.check_watermark(1, 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_key_keeps_its_state_timers_and_watermark_through_changes_of_the_parallelism(
        parallelisms in proptest::collection::vec(1..6_usize, 2..4),
        counts in proptest::collection::vec(0..4_u64, 20),
        watermarks in proptest::collection::vec(0..100_i64, 5),
    ) {
        let mut operator = Operator::new(parallelisms[0]);
        for (key, count) in (0_u32..).zip(&counts) {
            for _ in 0..*count {
                operator.ask(key, Do::Count);
            }
            operator.ask(key, Do::Timer(1_000));
        }
        let instances = operator.instances.iter_mut().zip(&watermarks);
        instances.for_each(|(rig, at)| rig.watermark(*at));
        for parallelism in &parallelisms[1..] {
            operator = operator.rescale(*parallelism);
        }
        for (key, count) in (0_u32..).zip(&counts) {
            prop_assert_eq!(operator.ask(key, Do::Count), [format!("{key}: {}", count + 1)]);
            let watermark = watermarks[owner(key, parallelisms[0])];
            prop_assert_eq!(operator.ask(key, Do::Watermark), [format!("{key}: watermark {watermark}")]);
        }
        operator.watermark(1_000);
        let mut fired: Vec<String> = operator.instances.iter_mut().flat_map(KeyedRig::records).collect();
        fired.sort();
        let mut expected: Vec<String> = (0..20).map(|key| format!("{key}: timer 1000")).collect();
        expected.sort();
        prop_assert_eq!(fired, expected);
    }
}

/// What two instances without keys have saved after `first` and `second` was done to them.
fn saved_by_two(world: &mut World, first: &[Do], second: &[Do]) -> Vec<Vec<Section>> {
    let part = |index: usize, todo: &[Do]| {
        let mut rig = lone(world, index, 2, &[]).unwrap();
        for what in todo {
            rig.ask(what.clone());
        }
        rig.watermark(10 * (index as i64 + 1));
        rig.driver.snapshot(world, 1).unwrap()
    };
    let parts = vec![part(0, first), part(1, second)];
    world.power_cut();
    parts
}

#[test]
fn instances_without_keys_get_back_what_was_their_own() {
    let mut world = World::new();
    let parts = saved_by_two(&mut world, &[Do::Count], &[Do::Count, Do::Count, Do::Timer(30)]);
    let mut first = lone(&world, 0, 2, &parts).unwrap();
    let mut second = lone(&world, 1, 2, &parts).unwrap();
    assert_eq!(first.ask(Do::Count), ["2"]);
    assert_eq!(first.ask(Do::Watermark), ["watermark 10"]);
    assert_eq!(second.ask(Do::Count), ["3"]);
    assert_eq!(second.ask(Do::Watermark), ["watermark 20"]);
    first.watermark(40);
    second.watermark(40);
    assert_eq!((first.records(), second.records()), (vec![], vec!["timer 30".to_string()]));
}

#[test]
fn state_without_keys_refuses_another_parallelism() {
    let has_state: [&[Do]; 3] = [&[Do::Count], &[Do::Timer(30)], &[Do::ProcessingTimer(30)]];
    for todo in has_state {
        let mut world = World::new();
        let parts = saved_by_two(&mut world, &[], todo);
        let failure = lone(&world, 0, 1, &parts).err().unwrap().cause;
        let wanted = "was saved with 2 instances; start it with that parallelism, or put `key_by` before it";
        assert!(failure.contains(wanted), "after {todo:?}: {failure}");
    }
}

#[test]
fn without_state_and_keys_any_parallelism_will_do() {
    for todo in [&[][..], &[Do::Count, Do::Clear], &[Do::Timer(30), Do::DeleteTimer(30)]] {
        let mut world = World::new();
        let parts = saved_by_two(&mut world, todo, &[]);
        let mut rig = lone(&world, 0, 3, &parts).unwrap();
        assert_eq!(rig.ask(Do::Count), ["1"]);
    }
}

#[test]
fn without_keys_the_lowest_watermark_of_all_instances_is_where_it_goes_on() {
    let mut world = World::new();
    let parts = saved_by_two(&mut world, &[], &[]);
    let mut rig = lone(&world, 0, 1, &parts).unwrap();
    assert_eq!(rig.ask(Do::Watermark), ["watermark 10"]);
    let part = rig.driver.snapshot(&world, 2).unwrap();
    world.power_cut();
    let mut rig = lone(&world, 0, 1, &[part]).unwrap();
    assert_eq!(rig.ask(Do::Watermark), ["watermark 10"]);
}
