mod histories;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::objects::list_below;
use crate::{
    FolderStore, Fs, InstancePart, LocalFs, OperatorPart, PartFile, PartWriter, Section, SectionKind,
    SimulatedDisk,
};

/// No record is skipped.
const NO_SKIPS: &[u64] = &[];

fn root() -> &'static Path {
    Path::new("/jobs/count")
}

fn objects(disk: &SimulatedDisk) -> Objects {
    FolderStore::open(&disk.fs(), root())
}

fn open(disk: &SimulatedDisk) -> CheckpointStore {
    CheckpointStore::open(objects(disk)).unwrap()
}

fn open_local(folder: &Path) -> Result<CheckpointStore, StoreError> {
    CheckpointStore::open(FolderStore::open(&(Arc::new(LocalFs) as Fs), folder))
}

fn write_part(store: &CheckpointStore, checkpoint: u64, instance: u32) -> Result<InstancePart, StoreError> {
    let path = format!("chk-{checkpoint}/count-{instance}-r1.part");
    let mut writer = PartWriter::create(store.objects(), &path)?;
    let bytes = vec![instance as u8; checkpoint as usize % 50];
    writer.write(&Section { kind: SectionKind::InstanceState, group: 0, entries: 1, bytes })?;
    Ok(InstancePart { file: Some(writer.finish()?), ..InstancePart::nothing(instance, checkpoint) })
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
        duration_ms: None,
        topology: "word-count".into(),
        finished: false,
        event_time_reset: false,
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

/// All files, by name, also those that are not finished.
fn files(store: &CheckpointStore) -> BTreeSet<String> {
    let finished = list_below(store.objects(), "").unwrap().into_iter().map(|object| object.name);
    let files = finished.chain(store.objects().unfinished("").unwrap());
    files.filter(|name| name.contains('/')).collect()
}

fn damage(store: &CheckpointStore, name: &str) {
    let mut bytes = store.objects().get(name).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    store.objects().replace(name, &bytes).unwrap();
}

#[test]
fn a_second_open_is_refused_and_says_what_to_do() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    let clone = store.clone();
    drop(store);
    let error = CheckpointStore::open(objects(&disk)).unwrap_err();
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
    let store = open_local(&folder).unwrap();
    let again = open_local(&folder);
    assert!(matches!(again, Err(StoreError::Locked { .. })));
    let made: Vec<Manifest> = (1..=3).map(|id| checkpoint(&store, id).unwrap()).collect();
    store.collect(2, &[], 0).unwrap();
    drop(store);
    let store = open_local(&folder).unwrap();
    assert_eq!(readable(&store), [made[2].clone(), made[1].clone()]);
    store.verify(&made[2]).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_reported_as_not_writable() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("file"), b"").unwrap();
    let error = open_local(&temp.path().join("file/below")).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("not writable"), "{error}");
}

#[test]
fn the_identity_survives_and_is_old_or_new_whenever_the_process_dies() {
    let identity = |run| Identity {
        lineage: "l".into(),
        run,
        reserved_checkpoints: run * 100,
        began_at: (run > 1).then_some(run),
        began_from: (run > 2).then(|| "file:///savepoints/1".to_string()),
        rescaled: vec![RescaledOperator { operator: "count".into(), wired: 2, parallelism: run as u32 }],
        began_with: (run > 2).then(|| manifest(1, Vec::new()).id()),
        ancestors: (run > 1).then(|| ["before".to_string()].into()),
        newest: (run > 1).then_some(run),
    };
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

fn identity(lineage: &str, run: u64) -> Identity {
    Identity {
        lineage: lineage.into(),
        run,
        reserved_checkpoints: 0,
        began_at: None,
        began_from: None,
        rescaled: Vec::new(),
        began_with: None,
        ancestors: None,
        newest: None,
    }
}

#[test]
fn a_damaged_identity_is_an_error_and_not_a_new_job() {
    let store = open(&SimulatedDisk::new(0));
    store.save_identity(&identity("l", 1)).unwrap();
    damage(&store, "job");
    assert!(matches!(store.identity(), Err(StoreError::Damaged { .. })));
}

#[test]
fn checkpoints_are_found_newest_first_by_number_and_not_by_name() {
    let store = open(&SimulatedDisk::new(0));
    for id in [9, 10, 2, 100] {
        checkpoint(&store, id).unwrap();
    }
    write_part(&store, 101, 0).unwrap();
    store.objects().replace("chk-007/manifest", b"").unwrap();
    store.objects().replace("chk-x/manifest", b"").unwrap();
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
    let manifest = store.objects().get("chk-1/manifest").unwrap();
    store.objects().replace("chk-5/manifest", &manifest).unwrap();
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
    store.objects().replace(part, b"").unwrap();
    let error = store.verify(&whole).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: Damage::Length { .. }, .. }), "{error}");
    store.objects().delete(&[part.to_string()]).unwrap();
    let error = store.verify(&whole).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: Damage::Missing, .. }), "{error}");
}

#[test]
fn a_manifest_whose_files_are_not_there_is_not_committed() {
    let store = open(&SimulatedDisk::new(0));
    store.prepare(1).unwrap();
    let missing = PartFile { path: "chk-1/count-0-r1.part".into(), len: 3, checksum: 0 };
    let parts = vec![InstancePart { file: Some(missing), ..InstancePart::nothing(0, 1) }];
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
    // In checkpoint 6, instance 1 was down and contributes its part of checkpoint 3.
    // 5 was given up; 7 is newer than the newest manifest, so it may be in the making.
    store.prepare(5).unwrap();
    write_part(&store, 5, 0).unwrap();
    store.prepare(6).unwrap();
    let part_of_3 = made[&3].operators[0].instances[1].clone();
    let composed = manifest(6, vec![write_part(&store, 6, 0).unwrap(), part_of_3]);
    store.commit(&composed).unwrap();
    store.prepare(7).unwrap();
    write_part(&store, 7, 0).unwrap();

    let collected = store.collect(1, &[1], 0).unwrap();
    assert_eq!(collected, Collected { checkpoints_removed: 3, files_removed: 3 + 2 + 3 + 1 });
    let expected = [
        "chk-1/count-0-r1.part",
        "chk-1/count-1-r1.part",
        "chk-1/manifest",
        "chk-3/count-1-r1.part",
        "chk-6/count-0-r1.part",
        "chk-6/manifest",
        "chk-7/count-0-r1.part",
    ];
    assert_eq!(files(&store), expected.map(String::from).into());
    store.verify(&composed).unwrap();
    assert_eq!(store.collect(1, &[1], 0).unwrap(), Collected::default());
}

#[test]
fn leftovers_in_a_retained_folder_are_collected() {
    let store = open(&SimulatedDisk::new(0));
    checkpoint(&store, 1).unwrap();
    let stale = PartWriter::create(store.objects(), "chk-1/count-0-r0.part").unwrap();
    drop(stale);
    assert_eq!(store.collect(1, &[1], 0).unwrap(), Collected::default());
    assert_eq!(store.collect(1, &[], 0).unwrap(), Collected { checkpoints_removed: 0, files_removed: 1 });
}

#[test]
fn an_unreadable_manifest_keeps_its_folder_and_all_older_ones() {
    let store = open(&SimulatedDisk::new(0));
    (1..=6).for_each(|id| drop(checkpoint(&store, id).unwrap()));
    damage(&store, "chk-3/manifest");
    let before = files(&store);
    assert_eq!(store.collect(1, &[], 0).unwrap().checkpoints_removed, 2);
    let kept: BTreeSet<String> =
        before.into_iter().filter(|file| !file.starts_with("chk-4") && !file.starts_with("chk-5")).collect();
    assert_eq!(files(&store), kept);
}

#[test]
fn what_is_left_of_checkpoints_that_were_given_up_is_collected_without_a_newer_one() {
    let store = open(&SimulatedDisk::new(0));
    checkpoint(&store, 1).unwrap();
    for given_up in 2..5 {
        write_part(&store, given_up, 0).unwrap();
        drop(PartWriter::create(store.objects(), &format!("chk-{given_up}/count-1-r1.part")).unwrap());
    }
    // 4 is in the making, and 5 has begun since the list was made up.
    write_part(&store, 5, 0).unwrap();
    let collected = store.collect(1, &[1, 4], 4).unwrap();
    assert_eq!(collected, Collected { checkpoints_removed: 2, files_removed: 4 });
    assert!(
        files(&store)
            .iter()
            .all(|file| ["chk-1/", "chk-4/", "chk-5/"].iter().any(|kept| file.starts_with(kept)))
    );
}

#[test]
fn a_store_whose_folder_was_removed_writes_nothing_before_it_is_taken_again() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    store.save_identity(&identity("l", 1)).unwrap();
    let first = checkpoint(&store, 1).unwrap();
    disk.fs().remove_dir_all(root()).unwrap();
    for refused in [
        store.prepare(2),
        store.save_identity(&identity("l", 2)),
        store.commit(&first),
        store.collect(1, &[], 0).map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::TakenAway { .. })), "{refused:?}");
    }
    assert!(!disk.fs().exists(root()).unwrap());
    store.take_again(&identity("l", 1), NO_SKIPS).unwrap();
    assert_eq!(store.identity().unwrap(), Some(identity("l", 1)));
    checkpoint(&store, 2).unwrap();
    assert!(matches!(CheckpointStore::open(objects(&disk)), Err(StoreError::Locked { .. })));
}

#[test]
fn what_is_being_written_when_the_folder_is_removed_does_not_make_it_again() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    write_part(&store, 1, 0).unwrap();
    disk.fs().remove_dir_all(root()).unwrap();
    write_part(&store, 1, 1).unwrap_err();
    assert!(!disk.fs().exists(root()).unwrap(), "its place is free for whoever puts it back");
    store.take_again(&identity("l", 1), NO_SKIPS).unwrap();
    checkpoint(&store, 2).unwrap();
}

#[test]
fn a_store_that_is_taken_again_where_there_is_no_room_is_so_only_once_all_is_written() {
    let identity = identity("l", 1);
    let mut refused = 0;
    for first in 1.. {
        let disk = SimulatedDisk::new(0);
        let store = open(&disk);
        disk.fs().remove_dir_all(root()).unwrap();
        let fault = disk.full_during(first..1_000);
        let taken = store.take_again(&identity, &[7_u64]);
        disk.mend();
        if taken.is_ok() {
            break;
        }
        refused += 1;
        assert!(matches!(store.prepare(2), Err(StoreError::TakenAway { .. })), "{first}, {fault:?}");
        store.take_again(&identity, &[7_u64]).unwrap();
        assert_eq!(store.identity().unwrap().as_ref(), Some(&identity));
        assert_eq!(store.skips::<u64>().unwrap(), [7]);
        checkpoint(&store, 2).unwrap();
    }
    assert!(refused > 3, "the lock, the probe, the skips and the identity need room: {refused}");
}

#[test]
fn a_store_whose_lock_is_taken_by_nobody_knows_whom_is_neither_written_to_nor_given_up() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    store.save_identity(&identity("l", 1)).unwrap();
    // The lock is another file now, as it looks, and the identity is what it was.
    disk.fs().remove_file(&root().join("lock")).unwrap();
    let other = open(&disk);
    for _ in 0..2 {
        assert!(matches!(store.prepare(2), Err(StoreError::TakenAway { .. })));
        let refused = store.take_again(&identity("l", 1), NO_SKIPS).unwrap_err();
        assert!(matches!(refused, StoreError::UnknownHolder { .. }), "{refused}");
        assert_eq!(other.identity().unwrap(), Some(identity("l", 1)));
    }
    // It was another process, which has begun by now.
    other.save_identity(&identity("l", 65)).unwrap();
    let refused = store.take_again(&identity("l", 1), NO_SKIPS).unwrap_err();
    assert!(matches!(refused, StoreError::TakenOver { .. }), "{refused}");
}

#[test]
fn a_store_in_which_another_job_has_begun_is_not_taken_again() {
    let disk = SimulatedDisk::new(0);
    let store = open(&disk);
    disk.fs().remove_dir_all(root()).unwrap();
    let other = open(&disk);
    let refused = store.take_again(&identity("l", 1), NO_SKIPS).unwrap_err();
    assert!(matches!(refused, StoreError::TakenOver { .. }), "{refused}");
    // Nor when that one is over.
    other.save_identity(&identity("other", 1)).unwrap();
    drop(other);
    let refused = store.take_again(&identity("l", 1), NO_SKIPS).unwrap_err();
    assert!(matches!(refused, StoreError::TakenOver { .. }), "{refused}");
    assert!(matches!(store.prepare(2), Err(StoreError::TakenAway { .. })));
    let other = open(&disk);
    checkpoint(&other, 2).unwrap();
    assert!(matches!(store.retract(2), Err(StoreError::TakenAway { .. })));
    assert_eq!(ids(&other), [2], "what is there is the other job's");
    drop(other);
    assert_eq!(open(&disk).identity().unwrap(), Some(identity("other", 1)));
}

#[test]
fn at_least_one_checkpoint_is_kept() {
    let store = open(&SimulatedDisk::new(0));
    checkpoint(&store, 1).unwrap();
    checkpoint(&store, 2).unwrap();
    store.collect(0, &[], 0).unwrap();
    assert_eq!(ids(&store), [2]);
}

#[test]
fn what_holds_state_can_be_handed_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<CheckpointStore>();
    is_send::<PartWriter>();
    is_send::<crate::KeyedTable<String, u64>>();
    is_send::<crate::TimerQueue<String>>();
}

#[test]
fn a_commit_that_is_taken_back_never_comes_back() {
    for seed in 0..8 {
        for dies_at in 1..20 {
            let disk = SimulatedDisk::new(seed);
            let store = open(&disk);
            checkpoint(&store, 1).unwrap();
            let second = checkpoint(&store, 2).unwrap();
            disk.die_at_operation(dies_at);
            let retracted = store.retract(2);
            drop(store);
            disk.crash();
            let store = open(&disk);
            assert!(retracted.is_err() || ids(&store) == [1], "seed {seed}, operation {dies_at}");
            // Either way it can be made again.
            store.retract(2).unwrap();
            store.commit(&second).unwrap();
        }
    }
}

#[test]
fn a_checkpoint_that_a_killed_process_left_is_there_for_good_once_it_is_settled() {
    let (mut found_after_kill, mut lost_unsettled) = (0, 0);
    for seed in 0..20 {
        for (operation, settles) in (1..40).flat_map(|operation| [(operation, false), (operation, true)]) {
            let disk = SimulatedDisk::new(seed);
            let store = open(&disk);
            disk.die_at_operation(operation);
            // It is dead somewhere on the way.
            let _ = checkpoint(&store, 1);
            disk.kill();
            let store = open(&disk);
            let found = ids(&store);
            found_after_kill += found.len();
            if settles {
                found.iter().try_for_each(|id| store.settle(*id)).unwrap();
            }
            disk.crash();
            let left = ids(&open(&disk));
            assert!(!settles || left == found, "killed at operation {operation}: {found:?} became {left:?}");
            lost_unsettled += usize::from(left != found);
        }
    }
    assert!(found_after_kill > 0 && lost_unsettled > 0, "the kill never came in between");
}
