//! Random histories of a checkpoint folder, and a process that dies at every possible place.

use proptest::prelude::*;

use super::*;
use crate::read_part;

#[derive(Clone, Debug)]
enum Step {
    /// Completes a checkpoint; instances whose bit isn't set contribute what they did before.
    Commit(u8),
    Abandon,
    Pin(usize),
    Unpin,
    Damage(usize),
    Collect(usize),
    /// The process dies at this operation of a collection.
    DieCollecting(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<u8>().prop_map(Step::Commit),
        2 => Just(Step::Abandon),
        2 => any::<usize>().prop_map(Step::Pin),
        1 => Just(Step::Unpin),
        1 => any::<usize>().prop_map(Step::Damage),
        3 => (1..4_usize).prop_map(Step::Collect),
        2 => (1..40_u64).prop_map(Step::DieCollecting),
    ]
}

/// Which files a collection must leave, and which it may: those alone.
fn reachable(store: &CheckpointStore, retain: usize, pinned: &[u64]) -> BTreeSet<String> {
    let found = store.scan().unwrap();
    let unreadable =
        found.iter().filter(|(_, manifest)| manifest.is_err()).map(|(id, _)| *id).max().unwrap_or(0);
    let newest = found.iter().map(|(id, _)| *id).max().unwrap_or(0);
    let retained = readable(store).into_iter().take(retain);
    let pinned_too = readable(store).into_iter().filter(|manifest| pinned.contains(&manifest.checkpoint));
    let mut reachable: BTreeSet<String> = files(store)
        .into_iter()
        .filter(|file| {
            let id =
                file.strip_prefix("chk-").and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap_or(0);
            id <= unreadable || id > newest || pinned.contains(&id)
        })
        .collect();
    for manifest in retained.chain(pinned_too) {
        reachable.insert(format!("chk-{}/manifest", manifest.checkpoint));
        reachable.extend(manifest.files().map(|part| part.path.clone()));
    }
    reachable
}

proptest! {
    #[test]
    fn no_history_of_commits_pins_damage_and_crashes_makes_a_collection_remove_what_is_needed(
        seed: u64, steps in proptest::collection::vec(step(), 1..40)
    ) {
        let disk = SimulatedDisk::new(seed);
        let mut store = open(&disk);
        let (mut id, mut pinned) = (0, Vec::new());
        for step in steps {
            match step {
                Step::Commit(fresh) => {
                    id += 1;
                    store.prepare(id).unwrap();
                    let newest = readable(&store).into_iter().next();
                    let instances = (0..3_u32).map(|instance| {
                        let old = newest.as_ref().map(|old| old.operators[0].instances[instance as usize].clone());
                        old.filter(|_| fresh >> instance & 1 == 0)
                            .unwrap_or_else(|| write_part(&store, id, instance).unwrap())
                    });
                    store.commit(&manifest(id, instances.collect())).unwrap();
                }
                Step::Abandon => {
                    id += 1;
                    store.prepare(id).unwrap();
                    write_part(&store, id, 0).unwrap();
                }
                Step::Pin(which) => pinned.push(which as u64 % (id + 1)),
                Step::Unpin => pinned.clear(),
                Step::Damage(which) => {
                    let ids = ids(&store);
                    if !ids.is_empty() {
                        damage(&store, &format!("chk-{}/manifest", ids[which % ids.len()]));
                    }
                }
                Step::Collect(retain) => {
                    let expected = reachable(&store, retain, &pinned);
                    store.collect(retain, &pinned, 0).unwrap();
                    prop_assert_eq!(files(&store), expected);
                    prop_assert_eq!(store.collect(retain, &pinned, 0).unwrap(), Collected::default());
                }
                Step::DieCollecting(at) => {
                    let expected = reachable(&store, 2, &pinned);
                    disk.die_at_operation(at);
                    let _ = store.collect(2, &pinned, 0);
                    drop(store);
                    disk.crash();
                    store = open(&disk);
                    let left = files(&store);
                    let lost: Vec<_> = expected.difference(&left).collect();
                    prop_assert!(lost.is_empty(), "{:?}", lost);
                }
            }
            for manifest in readable(&store) {
                prop_assert!(store.verify(&manifest).is_ok(), "checkpoint {} lost a part", manifest.checkpoint);
            }
        }
    }
}

/// The protocol's promise, for every place at which the process can die and many ways in which the disk can lose data.
#[test]
fn a_checkpoint_is_there_whole_or_not_at_all_wherever_the_process_dies() {
    let mut completed = BTreeSet::new();
    for seed in 0..8 {
        for dies_at in 1..80 {
            let disk = SimulatedDisk::new(seed);
            let store = open(&disk);
            checkpoint(&store, 1).unwrap();
            disk.die_at_operation(dies_at);
            let second = checkpoint(&store, 2);
            let collected = store.collect(1, &[], 0);
            disk.crash();
            drop(store);

            let store = open(&disk);
            let found = readable(&store);
            let newest = found.first().expect("checkpoint 1 was complete");
            for manifest in &found {
                store.verify(manifest).unwrap();
            }
            for part in newest.files() {
                assert_eq!(read_part(store.objects(), part).unwrap().len(), 1);
            }
            assert!(second.is_err() || newest.checkpoint == 2, "seed {seed}, operation {dies_at}");
            // A manifest that couldn't be read any more, because the process was dead, keeps everything.
            let has_collected = collected.is_ok_and(|collected| collected != Collected::default());
            assert!(!has_collected || ids(&store) == [2], "seed {seed}, operation {dies_at}");
            assert!(
                store.scan().unwrap().iter().all(|(_, manifest)| manifest.is_ok()),
                "no manifest is ever torn"
            );
            completed.insert((second.is_ok(), has_collected));
        }
    }
    assert_eq!(completed, BTreeSet::from([(false, false), (true, false), (true, true)]));
}
