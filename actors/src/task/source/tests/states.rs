use watershed_state::{Redistribution, SavedState, encode};

use super::*;

/// The elements that an instance of so many has for the snapshot, though its readers ask for none.
fn kept(saved: &[Vec<Section>], (index, parallelism): (usize, usize), parts: &[Part]) -> Vec<u64> {
    let world = World::new();
    let restored = saved_by(saved.to_vec());
    let setup = Setup { index, parallelism, restored, ..Setup::default() };
    let mut rig = start(&world, script(parts.to_vec()), setup).unwrap();
    let sections = rig.checkpoint(&world, 1);
    let states = sections.iter().filter(|section| section.kind == SectionKind::OperatorState);
    let elements = states.flat_map(|section| SavedState::read(section).unwrap().elements);
    elements.map(|bytes| decode(&mut bytes.as_slice()).unwrap()).collect()
}

fn list(elements: &[u64]) -> Section {
    let mut bytes = Vec::new();
    for element in elements {
        encode(element, &mut bytes).unwrap();
    }
    SavedState::section("seen", Redistribution::List, elements.len() as u32, &bytes).unwrap()
}

#[test]
fn elements_are_dealt_to_the_instances_that_have_something_to_read() {
    let parts = [part("a", 0..3), part("b", 3..6)];
    let world = World::new();
    let mut rig = start(&world, script(parts.to_vec()), Setup::default()).unwrap();
    world.prepare(1);
    rig.driver.control(Control::Trigger(1)).unwrap();
    rig.driver.step().unwrap();
    let mut unread = rig.part(&world, 1).unwrap();
    unread.push(list(&[1, 2, 3, 4, 5]));

    let dealt: Vec<_> = (0..4).map(|index| kept(&[unread.clone()], (index, 4), &parts)).collect();
    assert_eq!(dealt, [vec![1, 3, 5], vec![2, 4], vec![], vec![]]);
    assert_eq!(kept(&[unread], (0, 1), &parts), [1, 2, 3, 4, 5]);
}

#[test]
fn a_source_that_has_read_everything_saves_its_elements_still() {
    let parts = [part("a", 0..3)];
    let world = World::new();
    let mut rig = start(&world, script(parts.to_vec()), Setup::default()).unwrap();
    assert_eq!(rig.values(), [0, 1, 2]);
    let mut finished = rig.checkpoint(&world, 1);
    finished.push(list(&[7, 8]));
    assert_eq!(kept(&[finished.clone()], (0, 1), &parts), [7, 8]);
    assert_eq!(kept(&[finished.clone()], (0, 2), &parts), [7, 8]);
    assert_eq!(kept(&[finished], (1, 2), &parts), [] as [u64; 0]);
}
