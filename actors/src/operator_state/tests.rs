use serde::{Deserialize, Serialize};
use watershed_state::{SavedInstance, Section};

use super::*;
use crate::error::chain_of;
use crate::failure::{Failure, FailureKind};

fn instance(index: usize, parallelism: usize) -> Instance {
    Instance { operator: "in".into(), index, parallelism }
}

fn restore(saved: &[Vec<Section>], index: usize, parallelism: usize) -> OperatorStates {
    let instances = saved.iter().cloned().map(SavedInstance::from).collect();
    let restored = Restored { instances, ..Restored::default() };
    OperatorStates::restore(&restored, &instance(index, parallelism), parallelism).unwrap()
}

fn save(states: &OperatorStates) -> Vec<Section> {
    let items = states.save().into_iter().map(|item| match item {
        SnapshotItem::Section(section) => section,
        other => panic!("{other:?} is no section"),
    });
    items.collect()
}

fn list<T: Data>(states: &OperatorStates, name: &str) -> OperatorState<T> {
    states.open(name, Redistribution::List).unwrap()
}

fn union<T: Data>(states: &OperatorStates, name: &str) -> OperatorState<T> {
    states.open(name, Redistribution::Union).unwrap()
}

/// Two instances, each with a list and a union.
fn two() -> Vec<Vec<Section>> {
    let save_one = |index: u64| {
        let states = OperatorStates::default();
        list(&states, "list").update(vec![10 * index, 10 * index + 1]);
        union(&states, "union").push(index);
        save(&states)
    };
    (0..2).map(save_one).collect()
}

fn why<T: fmt::Debug>(result: UserResult<T>) -> (FailureKind, String) {
    let failure = Failure::user(&result.unwrap_err());
    (failure.kind, failure.cause)
}

#[test]
fn who_asks_for_a_name_again_gets_the_same_list() {
    let states = OperatorStates::default();
    let one = list::<u64>(&states, "seen");
    let two = list::<u64>(&states.clone(), "seen");
    one.push(1);
    two.with(|seen| seen.push(2));
    assert_eq!(one.get(), [1, 2]);
    assert_eq!(list::<u64>(&states, "other").get(), [] as [u64; 0]);
}

#[test]
fn a_restored_list_is_the_instances_own_and_a_union_that_of_all() {
    let states = restore(&two(), 1, 2);
    assert_eq!(list::<u64>(&states, "list").get(), [10, 11]);
    assert_eq!(union::<u64>(&states, "union").get(), [0, 1]);
    let only = restore(&two(), 0, 1);
    assert_eq!(list::<u64>(&only, "list").get(), [0, 1, 10, 11]);
}

#[test]
fn what_nobody_asks_for_is_saved_again_and_neither_lost_nor_doubled() {
    let mut saved = two();
    for parallelism in [3, 1, 2, 2, 5] {
        saved = (0..parallelism).map(|index| save(&restore(&saved, index, parallelism))).collect();
    }
    let only = restore(&saved, 0, 1);
    let mut elements = list::<u64>(&only, "list").get();
    elements.sort_unstable();
    assert_eq!(elements, [0, 1, 10, 11]);
    let mut elements = union::<u64>(&only, "union").get();
    elements.sort_unstable();
    assert_eq!(elements, [0, 1]);
}

#[test]
fn a_list_is_saved_as_it_is_at_the_time_also_if_it_is_empty() {
    let states = OperatorStates::default();
    let state = list::<u64>(&states, "x");
    state.push(7);
    let before = save(&states);
    state.update(Vec::new());
    let after = save(&states);
    assert_eq!((before[0].entries, after[0].entries), (1, 0));
    assert_eq!(list::<u64>(&restore(&[before], 0, 1), "x").get(), [7]);
}

#[test]
fn one_name_is_for_one_list() {
    let states = OperatorStates::default();
    list::<u64>(&states, "x");
    let (kind, text) = why(states.open::<String>("x", Redistribution::List));
    assert_eq!(kind, FailureKind::State);
    assert!(text.contains("`x`") && text.contains("u64") && text.contains("String"), "{text}");
    let (_, text) = why(states.open::<u64>("x", Redistribution::Union));
    assert!(text.contains("a union of `u64` but in use as a list"), "{text}");

    let (kind, text) = why(restore(&two(), 0, 2).open::<u64>("list", Redistribution::Union));
    assert_eq!(kind, FailureKind::State);
    assert!(text.contains("`list` of `in` was saved as a list and is asked for as a union"), "{text}");
}

#[test]
fn elements_outlive_a_change_of_their_type_that_serde_can_follow_and_others_are_named() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Old {
        id: u64,
        gone: String,
    }
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct New {
        #[serde(default)]
        tries: u32,
        id: u64,
    }
    let states = OperatorStates::default();
    list(&states, "pending").push(Old { id: 7, gone: "x".into() });
    let saved = [save(&states)];
    let new = list::<New>(&restore(&saved, 0, 1), "pending").get();
    assert_eq!((new[0].id, new[0].tries), (7, 0));

    let (kind, text) = why(restore(&saved, 0, 1).open::<Vec<String>>("pending", Redistribution::List));
    assert_eq!(kind, FailureKind::State);
    for part in ["`pending` of `in`", "Vec<", "#[serde(default)]"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_cannot_be_encoded_declines_the_checkpoint_alone() {
    #[derive(Debug, Clone, Deserialize)]
    struct Stubborn;
    impl Serialize for Stubborn {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let states = OperatorStates::default();
    list(&states, "x").push(Stubborn);
    let Some(SnapshotItem::Deferred(finish)) = states.save().pop() else { panic!("it was encoded") };
    assert!(chain_of(&*finish().unwrap_err()).contains("not today"));
}

#[test]
fn nobody_has_state_where_something_is_committed() {
    let (_, text) = why(OperatorStates::closed().open::<u64>("x", Redistribution::List));
    assert!(text.contains("ask for it when one is opened"), "{text}");
    assert!(OperatorStates::closed().save().is_empty());
}
