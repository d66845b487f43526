use proptest::prelude::*;

use super::*;

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).unwrap();
    bytes
}

fn state(name: &str, redistribution: Redistribution, elements: &[u32]) -> SavedState {
    SavedState { name: name.to_string(), redistribution, elements: elements.iter().map(encoded).collect() }
}

fn receiver(index: usize, parallelism: usize) -> Receiver {
    Receiver { index, parallelism, receiving: parallelism }
}

/// Instances that have saved these elements under one name.
fn saved(redistribution: Redistribution, instances: &[&[u32]]) -> Vec<Vec<SavedState>> {
    instances.iter().map(|elements| vec![state("x", redistribution, elements)]).collect()
}

/// What each of so many instances gets, with what of it is its own.
fn dealt(saved: &[Vec<SavedState>], parallelism: usize, receiving: usize) -> Vec<Vec<(u32, bool)>> {
    let get = |index| {
        let dealt = deal(saved, Receiver { receiving, ..receiver(index, parallelism) });
        let elements = dealt.into_iter().flat_map(|state| state.elements);
        elements.map(|element| (decode(&mut element.bytes.as_slice()).unwrap(), element.is_own)).collect()
    };
    (0..parallelism).map(get).collect()
}

fn own(dealt: &[Vec<(u32, bool)>]) -> Vec<Vec<u32>> {
    let of = |elements: &Vec<(u32, bool)>| {
        elements.iter().filter(|(_, is_own)| *is_own).map(|(element, _)| *element).collect()
    };
    dealt.iter().map(of).collect()
}

#[test]
fn a_list_goes_back_to_its_instances_or_is_dealt_out_in_turn() {
    let list = saved(Redistribution::List, &[&[1, 2, 3], &[], &[4, 5]]);
    assert_eq!(own(&dealt(&list, 3, 3)), [vec![1, 2, 3], vec![], vec![4, 5]]);
    assert_eq!(own(&dealt(&list, 2, 2)), [vec![1, 3, 5], vec![2, 4]]);
    assert_eq!(own(&dealt(&list, 1, 1)), [[1, 2, 3, 4, 5]]);
    assert_eq!(own(&dealt(&list, 4, 4)), [vec![1, 5], vec![2], vec![3], vec![4]]);
    assert!(dealt(&list, 2, 2).iter().flatten().all(|(_, is_own)| *is_own));
}

#[test]
fn those_that_have_a_use_for_them_are_dealt_all_of_a_list() {
    let list = saved(Redistribution::List, &[&[1, 2, 3], &[4]]);
    assert_eq!(own(&dealt(&list, 4, 2)), [vec![1, 3], vec![2, 4], vec![], vec![]]);
    assert_eq!(own(&dealt(&list, 3, 0)), [vec![1, 2, 3, 4], vec![], vec![]]);
    // With the same parallelism nothing changes hands.
    assert_eq!(own(&dealt(&list, 2, 1)), [vec![1, 2, 3], vec![4]]);
}

#[test]
fn a_union_is_everybodys_and_each_element_is_somebodys_own() {
    let union = saved(Redistribution::Union, &[&[1, 2], &[3]]);
    for (parallelism, owners) in
        [(1, vec![vec![1, 2, 3]]), (2, vec![vec![1, 2], vec![3]]), (3, vec![vec![1], vec![2], vec![3]])]
    {
        let dealt = dealt(&union, parallelism, parallelism);
        for elements in &dealt {
            assert_eq!(elements.iter().map(|(element, _)| *element).collect::<Vec<_>>(), [1, 2, 3]);
        }
        assert_eq!(own(&dealt), owners);
    }
}

#[test]
fn of_a_broadcast_state_everybody_gets_a_copy() {
    let copies = saved(Redistribution::Broadcast, &[&[1], &[2], &[3]]);
    assert_eq!(own(&dealt(&copies, 3, 3)), [[1], [2], [3]]);
    assert_eq!(own(&dealt(&copies, 2, 2)), [[1], [1]]);
    let late = vec![Vec::new(), vec![state("x", Redistribution::Broadcast, &[2])]];
    assert_eq!(own(&dealt(&late, 2, 2)), [[2], [2]]);
    assert_eq!(own(&dealt(&late, 3, 3)), [[2], [2], [2]]);
}

#[test]
fn states_are_told_apart_by_name_and_redistribution() {
    let saved = vec![
        vec![state("b", Redistribution::List, &[1]), state("a", Redistribution::Union, &[2])],
        vec![state("a", Redistribution::List, &[3])],
    ];
    let dealt = deal(&saved, receiver(0, 1));
    let found: Vec<_> = dealt.iter().map(|state| (&*state.name, state.redistribution)).collect();
    let (list, union) = (Redistribution::List, Redistribution::Union);
    assert_eq!(found, [("a", list), ("a", union), ("b", list)]);
}

#[test]
fn a_section_is_read_back_without_the_type_and_nothing_else_is_taken_for_one() {
    #[derive(Serialize)]
    struct Pending {
        id: u64,
        tags: Vec<&'static str>,
    }
    let pending: Vec<_> = (0..3).map(|id| encoded(&Pending { id, tags: vec!["a"; id as usize] })).collect();
    let section = SavedState::section("pending", Redistribution::List, 3, &pending.concat()).unwrap();
    let read = SavedState::read(&section).unwrap();
    assert_eq!((&*read.name, read.redistribution), ("pending", Redistribution::List));
    assert_eq!(read.elements, pending);

    let other = Section { kind: SectionKind::Splits, ..section.clone() };
    assert!(matches!(SavedState::read(&other), Err(CodecError::WrongKind { .. })));
    let fewer = Section { entries: 2, ..section.clone() };
    assert!(matches!(SavedState::read(&fewer), Err(CodecError::Trailing { .. })));
    let more = Section { entries: 4, ..section };
    assert!(matches!(SavedState::read(&more), Err(CodecError::Decode { .. })));
}

proptest! {
    #[test]
    fn no_element_is_lost_or_doubled_whatever_the_parallelism(
        instances in prop::collection::vec(prop::collection::vec(any::<u32>(), 0..9), 1..6),
        parallelism in 1_usize..7,
        receiving in 0_usize..7,
        union: bool,
    ) {
        let redistribution = if union { Redistribution::Union } else { Redistribution::List };
        let slices: Vec<&[u32]> = instances.iter().map(Vec::as_slice).collect();
        let dealt = dealt(&saved(redistribution, &slices), parallelism, receiving);
        let mut all: Vec<u32> = instances.concat();
        let mut found: Vec<u32> = own(&dealt).concat();
        all.sort_unstable();
        found.sort_unstable();
        prop_assert_eq!(found, all);
    }
}
