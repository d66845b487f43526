use watershed_state::{SavedInstance, encode};

use super::*;

fn instance(index: usize, parallelism: usize) -> Instance {
    Instance { operator: "lines".into(), index, parallelism }
}

fn saved_by(instances: impl IntoIterator<Item = Vec<Section>>) -> Restored {
    Restored { instances: instances.into_iter().map(SavedInstance::from).collect(), ..Restored::default() }
}

/// What an instance saves that has these.
fn named(watermarks: &[(&str, i64)]) -> Vec<Section> {
    let mut fused = FusedWatermarks::default();
    for (name, watermark) in watermarks {
        fused.note(name, *watermark);
    }
    let section = fused.section().map(|item| match item {
        SnapshotItem::Section(section) => section,
        other => panic!("{other:?}"),
    });
    section.into_iter().collect()
}

/// What an instance of an earlier version has saved.
fn placed(watermarks: &[i64]) -> Vec<Section> {
    let mut bytes = Vec::new();
    encode(&watermarks, &mut bytes).unwrap();
    vec![Section { kind: SectionKind::ChainState, group: 0, entries: 1, bytes }]
}

/// What the operators of these names are given, in this order.
fn given(restored: &Restored, at: (usize, usize), names: &[&str]) -> Vec<Option<i64>> {
    let mut fused = FusedWatermarks::restore(restored, &instance(at.0, at.1)).unwrap();
    names.iter().map(|name| fused.give(name)).collect()
}

#[test]
fn with_the_same_parallelism_each_instance_has_its_own_by_name() {
    let restored = saved_by([named(&[("a", 1), ("b", 20)]), named(&[("a", 3), ("b", 40)])]);
    assert_eq!(given(&restored, (1, 2), &["b", "a", "c"]), [Some(40), Some(3), None]);
}

#[test]
fn with_another_parallelism_each_name_has_the_least_of_all_instances() {
    let restored = saved_by([named(&[("a", 1), ("b", 40)]), named(&[("a", 3), ("b", 20)])]);
    for index in 0..3 {
        assert_eq!(given(&restored, (index, 3), &["b", "a"]), [Some(20), Some(1)]);
    }
    // One that has saved nothing has seen nothing.
    let restored = saved_by([named(&[("a", 1)]), Vec::new()]);
    assert_eq!(given(&restored, (0, 1), &["a"]), [None]);
}

#[test]
fn of_branches_with_one_name_the_least_counts() {
    assert_eq!(given(&saved_by([named(&[("a", 5), ("a", 3)])]), (0, 1), &["a", "a"]), [Some(3), Some(3)]);
}

#[test]
fn those_of_an_earlier_version_are_given_out_by_their_place() {
    let restored = saved_by([placed(&[1, 20]), placed(&[3, 2])]);
    assert_eq!(given(&restored, (0, 2), &["a", "b", "c"]), [Some(1), Some(20), None]);
    assert_eq!(given(&restored, (0, 1), &["a", "b", "c"]), [Some(1), Some(2), None]);
    assert_eq!(SavedWatermarks::of(&restored).unwrap(), SavedWatermarks::Placed(2));
}

#[test]
fn a_snapshot_says_whose_watermarks_it_holds() {
    let names = |restored| match SavedWatermarks::of(&restored) {
        Ok(SavedWatermarks::Named(names)) => names.into_iter().collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(names(saved_by([named(&[("b", 1), ("a", 2)]), named(&[])])), ["a", "b"]);
    assert_eq!(names(saved_by([named(&[("b", i64::MIN), ("a", 2)])])), ["a"]);
    assert_eq!(names(saved_by([placed(&[])])), [""; 0]);
    assert_eq!(names(saved_by([])), [""; 0]);
}
