use proptest::prelude::*;

use super::*;

fn part(task: u32, checkpoint: u64) -> SavedPart {
    let path = format!("chk-{checkpoint}/{task}.part");
    SavedPart::full(watershed_state::PartFile { path, len: 1, checksum: 1 })
}

fn tasks(count: u32) -> BTreeSet<TaskId> {
    (0..count).map(TaskId).collect()
}

fn collecting(count: u32) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.begin(7, Purpose::Periodic, 10, tasks(count));
    ledger
}

#[test]
fn a_checkpoint_is_complete_when_every_task_has_acknowledged_it() {
    let mut ledger = collecting(2);
    assert_eq!(ledger.acknowledge(TaskId(1), 7, part(1, 7), 13), Acknowledged::Waiting);
    let Acknowledged::Complete(pending) = ledger.acknowledge(TaskId(0), 7, part(0, 7), 15) else {
        panic!("the last acknowledgement completes it");
    };
    let after = pending.parts.values().map(|written| written.after_nanos);
    assert_eq!(after.collect::<Vec<_>>(), [5, 3], "since its trigger");
    assert!(ledger.is_storing());
    assert!(ledger.stored(7, true).is_some());
    assert!(ledger.is_idle());
    assert_eq!(ledger.completed(), 1);
}

#[test]
fn an_acknowledgement_counts_once_and_only_for_the_checkpoint_being_made() {
    let mut ledger = collecting(2);
    assert_eq!(ledger.acknowledge(TaskId(0), 6, part(0, 6), 0), Acknowledged::Ignored);
    assert_eq!(ledger.acknowledge(TaskId(0), 7, part(0, 7), 0), Acknowledged::Waiting);
    assert_eq!(ledger.acknowledge(TaskId(0), 7, part(0, 7), 0), Acknowledged::Ignored);
    assert_eq!(ledger.acknowledge(TaskId(9), 7, part(9, 7), 0), Acknowledged::Ignored);
}

#[test]
fn what_was_given_up_takes_no_acknowledgements() {
    let mut ledger = collecting(1);
    assert!(ledger.abort(7).is_some());
    assert_eq!(ledger.acknowledge(TaskId(0), 7, part(0, 7), 0), Acknowledged::Ignored);
    assert_eq!(ledger.failures(), 1);
}

#[test]
fn what_is_being_stored_cannot_be_given_up() {
    let mut ledger = collecting(1);
    assert!(matches!(ledger.acknowledge(TaskId(0), 7, part(0, 7), 0), Acknowledged::Complete(_)));
    assert!(ledger.abort(7).is_none());
    assert_eq!(ledger.current(), Some(7));
    assert!(ledger.stored(7, false).is_some());
    assert_eq!((ledger.failures(), ledger.completed()), (1, 0));
}

#[test]
fn a_success_forgets_the_failures_before_it() {
    let mut ledger = collecting(1);
    ledger.abort(7);
    ledger.begin(8, Purpose::Final, 0, tasks(1));
    assert!(matches!(ledger.acknowledge(TaskId(0), 8, part(0, 8), 0), Acknowledged::Complete(_)));
    ledger.stored(8, true);
    assert_eq!(ledger.failures(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Begin,
    Acknowledge(u32, u64),
    Abort(u64),
    Stored(u64, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Begin),
        6 => (0..4_u32, 0..3_u64).prop_map(|(task, back)| Step::Acknowledge(task, back)),
        1 => (0..3_u64).prop_map(Step::Abort),
        2 => (0..3_u64, any::<bool>()).prop_map(|(back, success)| Step::Stored(back, success)),
    ]
}

proptest! {
    /// Whatever comes in whatever order: a checkpoint completes exactly when all of its tasks have acknowledged it
    /// while it was being made, at most once, and only then can it be stored.
    #[test]
    fn in_no_interleaving_does_a_checkpoint_complete_without_all_its_parts(
        steps in proptest::collection::vec(step(), 1..200)
    ) {
        let mut ledger = Ledger::default();
        let mut newest = 0;
        let mut acknowledged: Option<BTreeSet<TaskId>> = None;
        let mut storing = false;
        for step in steps {
            match step {
                Step::Begin if ledger.is_idle() => {
                    newest += 1;
                    ledger.begin(newest, Purpose::Periodic, 0, tasks(3));
                    acknowledged = Some(BTreeSet::new());
                }
                Step::Begin => {}
                Step::Acknowledge(task, back) => {
                    let id = u64::saturating_sub(newest, back);
                    let answer = ledger.acknowledge(TaskId(task), id, part(task, id), 0);
                    let counts = id == newest && task < 3;
                    let new = counts && acknowledged.as_mut().is_some_and(|seen| seen.insert(TaskId(task)));
                    match &acknowledged {
                        Some(seen) if new => {
                            if seen.len() == 3 {
                                let Acknowledged::Complete(pending) = answer else { panic!("all have acknowledged") };
                                prop_assert_eq!(pending.parts.keys().copied().collect::<BTreeSet<_>>(), tasks(3));
                                prop_assert!(pending.parts.iter().all(|(task, written)| written.part == part(task.0, id)));
                                acknowledged = None;
                                storing = true;
                            } else {
                                prop_assert_eq!(answer, Acknowledged::Waiting);
                            }
                        }
                        _ => prop_assert_eq!(answer, Acknowledged::Ignored),
                    }
                }
                Step::Abort(back) => {
                    let id = u64::saturating_sub(newest, back);
                    let aborts = acknowledged.is_some() && id == newest;
                    prop_assert_eq!(ledger.abort(id).is_some(), aborts);
                    if aborts {
                        acknowledged = None;
                    }
                }
                Step::Stored(back, success) => {
                    let id = u64::saturating_sub(newest, back);
                    let stores = storing && id == newest;
                    prop_assert_eq!(ledger.stored(id, success).is_some(), stores);
                    storing &= !stores;
                }
            }
            prop_assert_eq!(ledger.is_idle(), acknowledged.is_none() && !storing);
            prop_assert_eq!(ledger.is_storing(), storing);
            prop_assert_eq!(ledger.missing().count(), acknowledged.as_ref().map_or(0, |seen| 3 - seen.len()));
        }
    }
}
