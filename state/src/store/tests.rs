use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    InstancePart, LocalFs, OperatorPart, PartFile, PartWriter, Section, SectionKind, SimulatedDisk, read_part,
};

fn root() -> &'static Path {
    Path::new("/jobs/count")
}

fn open(disk: &SimulatedDisk) -> CheckpointStore {
    CheckpointStore::open(disk.fs(), root()).unwrap()
}

fn write_part(store: &CheckpointStore, checkpoint: u64, instance: u32) -> Result<InstancePart, StoreError> {
    let path = format!("chk-{checkpoint}/count-{instance}-r1.part");
    let mut writer = PartWriter::create(store.fs(), store.root(), &path)?;
    let bytes = vec![instance as u8; checkpoint as usize % 50];
    writer.write(&Section { kind: SectionKind::InstanceState, group: 0, entries: 1, bytes })?;
    Ok(InstancePart { instance, checkpoint, file: Some(writer.finish()?) })
}

fn manifest(checkpoint: u64, instances: Vec<InstancePart>) -> Manifest {
    let operator = OperatorPart {
        name: "count".into(),
        kind: "process".into(),
        key_groups: 0,
        parallelism: instances.len() as u32,
        instances,
    };
    Manifest {
        lineage: "lineage".into(),
        checkpoint,
        run: 1,
        created_ms: 0,
        topology: "word-count".into(),
        finished: false,
        hash_canary: crate::hash_canary(),
        operators: vec![operator],
    }
}

fn checkpoint(store: &CheckpointStore, id: u64) -> Result<Manifest, StoreError> {
    store.prepare(id)?;
    let manifest = manifest(id, vec![write_part(store, id, 0)?, write_part(store, id, 1)?]);
    store.commit(&manifest)?;
    Ok(manifest)
}

/// The readable checkpoints, newest first.
fn readable(store: &CheckpointStore) -> Vec<Manifest> {
    store.scan().unwrap().into_iter().filter_map(|(_, manifest)| manifest.ok()).collect()
}

fn ids(store: &CheckpointStore) -> Vec<u64> {
    store.scan().unwrap().into_iter().map(|(id, _)| id).collect()
}

/// All files under the root, by path.
fn files(store: &CheckpointStore) -> BTreeSet<String> {
    let list = |dir: &Path| store.fs().list(dir).unwrap();
    let folders = list(root()).into_iter().filter(|file| file.is_dir);
    folders
        .flat_map(|dir| {
            list(&root().join(&dir.name)).into_iter().map(move |f| format!("{}/{}", dir.name, f.name))
        })
        .collect()
}

fn damage(store: &CheckpointStore, path: &str) {
    let path = root().join(path);
    let mut bytes = store.fs().read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut file = store.fs().create(&path).unwrap();
    file.write_all(&bytes).unwrap();
    file.sync().unwrap();
}

#[test]
fn a_second_open_is_refused_and_says_what_to_do() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    let clone = store.clone();
    drop(store);
    let error = CheckpointStore::open(disk.fs(), root()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(
        error.to_string().contains("/jobs/count") && error.to_string().contains("another process"),
        "{error}"
    );
    drop(clone);
    open(&disk);
}

#[test]
fn the_lock_works_on_a_real_disk_and_so_does_a_whole_cycle() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("deep/folder");
    let store = CheckpointStore::open(std::sync::Arc::new(LocalFs), &folder).unwrap();
    let again = CheckpointStore::open(std::sync::Arc::new(LocalFs), &folder);
    assert!(matches!(again, Err(StoreError::Locked { .. })));
    let made: Vec<Manifest> = (1..=3).map(|id| checkpoint(&store, id).unwrap()).collect();
    store.collect(2, &[]).unwrap();
    drop(store);
    let store = CheckpointStore::open(std::sync::Arc::new(LocalFs), &folder).unwrap();
    assert_eq!(readable(&store), [made[2].clone(), made[1].clone()]);
    store.verify(&made[2]).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_reported_as_not_writable() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("file"), b"").unwrap();
    let error =
        CheckpointStore::open(std::sync::Arc::new(LocalFs), &temp.path().join("file/below")).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("not writable"), "{error}");
}

#[test]
fn the_identity_survives_and_is_old_or_new_whenever_the_process_dies() {
    let identity = |run| Identity { lineage: "l".into(), run, reserved_checkpoints: u64::from(run) * 100 };
    for seed in 0..20 {
        for dies_at in 1..8 {
            let disk = SimulatedDisk::new(seed);
            let store = open(&disk);
            assert_eq!(store.identity().unwrap(), None);
            store.save_identity(&identity(1)).unwrap();
            disk.die_at_operation(dies_at);
            let saved = store.save_identity(&identity(2)).is_ok();
            disk.crash();
            let found = open(&disk).identity().unwrap().unwrap();
            assert!(
                found == identity(2) || !saved && found == identity(1),
                "seed {seed}, {dies_at}: {found:?}"
            );
        }
    }
}

#[test]
fn a_damaged_identity_is_an_error_and_not_a_new_job() {
    let store = open(&SimulatedDisk::new(0));
    store.save_identity(&Identity { lineage: "l".into(), run: 1, reserved_checkpoints: 0 }).unwrap();
    damage(&store, "job");
    assert!(matches!(store.identity(), Err(StoreError::Damaged { .. })));
}

#[test]
fn checkpoints_are_found_newest_first_by_number_and_not_by_name() {
    let store = open(&SimulatedDisk::new(0));
    for id in [9, 10, 2, 100] {
        checkpoint(&store, id).unwrap();
    }
    store.prepare(101).unwrap();
    store.fs().create_dir_all(&root().join("chk-007")).unwrap();
    store.fs().create_dir_all(&root().join("chk-x")).unwrap();
    assert_eq!(ids(&store), [100, 10, 9, 2]);
}

#[test]
fn a_damaged_manifest_is_listed_with_its_damage() {
    let store = open(&SimulatedDisk::new(0));
    checkpoint(&store, 1).unwrap();
    checkpoint(&store, 2).unwrap();
    damage(&store, "chk-2/manifest");
    let found = store.scan().unwrap();
    assert!(matches!(found[0], (2, Err(StoreError::Damaged { .. }))), "{found:?}");
    assert!(matches!(found[1], (1, Ok(_))), "{found:?}");
}

#[test]
fn a_manifest_in_the_wrong_folder_is_damage() {
    let store = open(&SimulatedDisk::new(0));
    checkpoint(&store, 1).unwrap();
    store.prepare(5).unwrap();
    store.fs().rename(&root().join("chk-1/manifest"), &root().join("chk-5/manifest")).unwrap();
    let found = store.scan().unwrap();
    assert!(matches!(&found[0], (5, Err(StoreError::Damaged { what: Damage::OtherCheckpoint { .. }, .. }))));
}

#[test]
fn verify_finds_a_part_that_is_missing_cut_off_or_changed() {
    let store = open(&SimulatedDisk::new(0));
    let whole = checkpoint(&store, 7).unwrap();
    store.verify(&whole).unwrap();
    let part = "chk-7/count-1-r1.part";
    damage(&store, part);
    let error = store.verify(&whole).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: Damage::Checksum { .. }, .. }), "{error}");
    store.fs().create(&root().join(part)).unwrap();
    let error = store.verify(&whole).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: Damage::Length { .. }, .. }), "{error}");
    store.fs().remove_file(&root().join(part)).unwrap();
    let error = store.verify(&whole).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: Damage::Missing, .. }), "{error}");
}

#[test]
fn a_manifest_whose_files_are_not_there_is_not_committed() {
    let store = open(&SimulatedDisk::new(0));
    store.prepare(1).unwrap();
    let missing = PartFile { path: "chk-1/count-0-r1.part".into(), len: 3, checksum: 0 };
    let parts = vec![InstancePart { instance: 0, checkpoint: 1, file: Some(missing) }];
    let error = store.commit(&manifest(1, parts)).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: Damage::Missing, .. }), "{error}");
    assert_eq!(ids(&store), []);
}

#[test]
fn an_id_is_used_once_but_a_commit_may_be_repeated() {
    let store = open(&SimulatedDisk::new(0));
    let first = checkpoint(&store, 1).unwrap();
    store.commit(&first).unwrap();
    assert!(matches!(store.prepare(1), Err(StoreError::CheckpointExists { checkpoint: 1, .. })));
    let other = Manifest { run: 2, ..first.clone() };
    assert!(matches!(store.commit(&other), Err(StoreError::CheckpointExists { checkpoint: 1, .. })));
    assert_eq!(readable(&store), [first]);
}

#[test]
fn collecting_keeps_the_newest_the_pinned_and_what_they_refer_to() {
    let store = open(&SimulatedDisk::new(0));
    let made: BTreeMap<u64, Manifest> = (1..=4).map(|id| (id, checkpoint(&store, id).unwrap())).collect();
    // In checkpoint 5, instance 1 was down and contributes its part of checkpoint 3.
    store.prepare(5).unwrap();
    let part_of_3 = made[&3].operators[0].instances[1].clone();
    let composed = manifest(5, vec![write_part(&store, 5, 0).unwrap(), part_of_3]);
    store.commit(&composed).unwrap();
    store.prepare(6).unwrap();
    write_part(&store, 6, 0).unwrap();
    store.prepare(7).unwrap();
    write_part(&store, 7, 0).unwrap();

    let collected = store.collect(1, &[1, 7]).unwrap();
    assert_eq!(collected, Collected { checkpoints_removed: 3, files_removed: 3 + 2 + 3 + 1 });
    let expected = [
        "chk-1/count-0-r1.part",
        "chk-1/count-1-r1.part",
        "chk-1/manifest",
        "chk-3/count-1-r1.part",
        "chk-5/count-0-r1.part",
        "chk-5/manifest",
        "chk-7/count-0-r1.part",
    ];
    assert_eq!(files(&store), expected.map(String::from).into());
    store.verify(&composed).unwrap();
    assert_eq!(store.collect(1, &[1, 7]).unwrap(), Collected::default());
}

#[test]
fn leftovers_in_a_retained_folder_are_collected() {
    let store = open(&SimulatedDisk::new(0));
    checkpoint(&store, 1).unwrap();
    let stale = PartWriter::create(store.fs(), root(), "chk-1/count-0-r0.part").unwrap();
    drop(stale);
    assert_eq!(store.collect(1, &[1]).unwrap(), Collected::default());
    assert_eq!(store.collect(1, &[]).unwrap(), Collected { checkpoints_removed: 0, files_removed: 1 });
}

#[test]
fn an_unreadable_manifest_keeps_its_folder_and_all_older_ones() {
    let store = open(&SimulatedDisk::new(0));
    (1..=6).for_each(|id| drop(checkpoint(&store, id).unwrap()));
    damage(&store, "chk-3/manifest");
    let before = files(&store);
    assert_eq!(store.collect(1, &[]).unwrap().checkpoints_removed, 2);
    let kept: BTreeSet<String> =
        before.into_iter().filter(|file| !file.starts_with("chk-4") && !file.starts_with("chk-5")).collect();
    assert_eq!(files(&store), kept);
}

#[test]
fn at_least_one_checkpoint_is_kept() {
    let store = open(&SimulatedDisk::new(0));
    checkpoint(&store, 1).unwrap();
    checkpoint(&store, 2).unwrap();
    store.collect(0, &[]).unwrap();
    assert_eq!(ids(&store), [2]);
}

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
    let retained = readable(store).into_iter().take(retain);
    let pinned_too = readable(store).into_iter().filter(|manifest| pinned.contains(&manifest.checkpoint));
    let mut reachable: BTreeSet<String> = files(store)
        .into_iter()
        .filter(|file| {
            let id =
                file.strip_prefix("chk-").and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap_or(0);
            id <= unreadable || pinned.contains(&id)
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
                    store.collect(retain, &pinned).unwrap();
                    prop_assert_eq!(files(&store), expected);
                    prop_assert_eq!(store.collect(retain, &pinned).unwrap(), Collected::default());
                }
                Step::DieCollecting(at) => {
                    let expected = reachable(&store, 2, &pinned);
                    disk.die_at_operation(at);
                    let _ = store.collect(2, &pinned);
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
            let collected = store.collect(1, &[]);
            disk.crash();
            drop(store);

            let store = open(&disk);
            let found = readable(&store);
            let newest = found.first().expect("checkpoint 1 was complete");
            for manifest in &found {
                store.verify(manifest).unwrap();
            }
            for part in newest.files() {
                assert_eq!(read_part(store.fs(), root(), part).unwrap().len(), 1);
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
