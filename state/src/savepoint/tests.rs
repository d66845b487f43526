use std::path::Path;

use super::*;
use crate::{
    CheckpointStore, FolderStore, Fs, InstancePart, OperatorPart, PartWriter, Section, SectionKind,
    SimulatedDisk,
};

fn place(fs: &Fs) -> SnapshotPlace {
    SnapshotPlace::folder(fs, "/savepoints/1")
}

/// A checkpoint that needs a file of an older one.
fn checkpoint(from: &SnapshotPlace) -> Manifest {
    let part = |checkpoint: u64, instance| {
        let mut writer =
            PartWriter::create(&from.objects, &format!("chk-{checkpoint}/count-{instance}-r1.part")).unwrap();
        let bytes = vec![instance as u8; 20];
        writer.write(&Section { kind: SectionKind::InstanceState, group: 0, entries: 1, bytes }).unwrap();
        let file = Some(writer.finish().unwrap());
        InstancePart { file, ..InstancePart::nothing(instance, checkpoint) }
    };
    let operator = OperatorPart {
        name: "count".into(),
        kind: "process".into(),
        key_groups: 0,
        parallelism: 3,
        instances: vec![part(7, 0), part(7, 1), part(6, 2)],
    };
    Manifest {
        lineage: "lineage".into(),
        checkpoint: 7,
        run: 1,
        created_ms: 5,
        duration_ms: None,
        topology: "word-count".into(),
        finished: false,
        event_time_reset: false,
        hash_canary: crate::hash_canary(),
        operators: vec![operator],
    }
}

/// A savepoint on a disk.
fn savepoint(disk: &SimulatedDisk) -> Manifest {
    let from = SnapshotPlace::folder(&disk.fs(), "/checkpoints");
    let manifest = checkpoint(&from);
    write_savepoint(&manifest, &from, &place(&disk.fs())).unwrap();
    manifest
}

fn put_file(fs: &Fs, path: &str) {
    let path = Path::new(path);
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    fs.create(path).unwrap().sync().unwrap();
    fs.sync_dir(path.parent().unwrap()).unwrap();
}

#[test]
fn what_is_removed_is_the_savepoint_and_nothing_beside_it() {
    let disk = SimulatedDisk::new(1);
    let (manifest, fs) = (savepoint(&disk), disk.fs());
    let others = ["out/part-1.jsonl", "chk-5/of-another-try.part", "notes.txt", "older/manifest"];
    for other in others {
        put_file(&fs, &format!("/savepoints/1/{other}"));
    }
    put_file(&fs, "/savepoints/1/chk-6/count-2-r1.part.tmp");
    assert!(remove_savepoint(&place(&fs), &manifest.id()).unwrap());
    let left = |folder: &str| -> Vec<String> {
        let folder = Path::new("/savepoints/1").join(folder);
        fs.list(&folder).unwrap().into_iter().map(|file| file.name).collect()
    };
    assert_eq!(left(""), ["chk-5", "notes.txt", "older", "out"]);
    assert_eq!(
        (left("chk-5"), left("out")),
        (vec!["of-another-try.part".into()], vec!["part-1.jsonl".into()])
    );
    assert_eq!(left("older"), ["manifest"]);
    assert!(!remove_savepoint(&place(&fs), &manifest.id()).unwrap(), "there is none any more");
}

#[test]
fn a_folder_that_holds_nothing_else_goes_with_its_savepoint() {
    let disk = SimulatedDisk::new(1);
    let manifest = savepoint(&disk);
    assert!(remove_savepoint(&place(&disk.fs()), &manifest.id()).unwrap());
    assert!(!disk.fs().exists(Path::new("/savepoints/1")).unwrap());
    assert!(disk.fs().exists(Path::new("/savepoints")).unwrap());
}

#[test]
fn on_a_full_disk_nothing_stays_of_a_savepoint_that_could_not_be_written() {
    for nth in 1.. {
        let disk = SimulatedDisk::new(0);
        let (from, to) = (SnapshotPlace::folder(&disk.fs(), "/checkpoints"), place(&disk.fs()));
        let manifest = checkpoint(&from);
        disk.full_during(nth..1_000);
        let Err(error) = write_savepoint(&manifest, &from, &to) else {
            assert!(nth > 4, "three files and the manifest need room");
            break;
        };
        let left = crate::objects::list_below(&to.objects, "").unwrap();
        assert!(left.is_empty(), "{nth}, {error}: {left:?}");
    }
}

#[test]
fn another_savepoint_at_the_same_place_is_not_removed() {
    let disk = SimulatedDisk::new(1);
    let manifest = savepoint(&disk);
    for id in [
        SnapshotId { lineage: "other".into(), ..manifest.id() },
        SnapshotId { checkpoint: 6, ..manifest.id() },
        SnapshotId { created_ms: 4, ..manifest.id() },
    ] {
        assert!(!remove_savepoint(&place(&disk.fs()), &id).unwrap());
        assert_eq!(read_savepoint(&place(&disk.fs())).unwrap(), manifest);
    }
}

#[test]
fn a_removal_that_is_cut_short_anywhere_is_taken_up_by_the_next_and_by_a_new_savepoint() {
    let mut cut_short = 0;
    for (seed, dies_at) in (0..10).flat_map(|seed| (1..30).map(move |dies_at| (seed, dies_at))) {
        let disk = SimulatedDisk::new(seed);
        let manifest = savepoint(&disk);
        disk.die_at_operation(dies_at);
        let removed = remove_savepoint(&place(&disk.fs()), &manifest.id());
        disk.crash();
        let (fs, to) = (disk.fs(), place(&disk.fs()));
        // Either it is a savepoint with all of its files, or none.
        match read_savepoint(&to) {
            Ok(found) => assert!(found == manifest && removed.is_err(), "{seed}, {dies_at}"),
            Err(error) => {
                assert!(matches!(error, StoreError::NoSavepoint { .. }), "{seed}, {dies_at}: {error}");
            }
        }
        cut_short += u64::from(removed.is_err() && fs.exists(Path::new("/savepoints/1")).unwrap());
        if seed % 2 == 1 && to.objects.exists(REMOVING).unwrap() && !to.objects.exists(MANIFEST).unwrap() {
            write_savepoint(&manifest, &SnapshotPlace::folder(&fs, "/checkpoints"), &to).unwrap();
            assert_eq!(read_savepoint(&to).unwrap(), manifest);
            assert!(!to.objects.exists(REMOVING).unwrap(), "nothing removes the files of the new one");
        }
        remove_savepoint(&to, &manifest.id()).unwrap();
        let left = fs.list(Path::new("/savepoints/1")).unwrap_or_default();
        assert!(left.is_empty(), "{seed}, {dies_at}: {left:?}");
    }
    assert!(cut_short > 50, "{cut_short}");
}

#[test]
fn a_savepoint_and_the_checkpoints_of_a_job_are_not_made_in_the_same_folder() {
    let disk = SimulatedDisk::new(1);
    let manifest = savepoint(&disk);
    let refused = CheckpointStore::open(place(&disk.fs()).objects).unwrap_err();
    assert!(matches!(refused, StoreError::SavepointFolder { .. }), "{refused}");
    assert!(refused.to_string().contains("/savepoints/1 holds a savepoint"), "{refused}");
    assert!(!disk.fs().exists(Path::new("/savepoints/1/lock")).unwrap(), "nothing is put into it");

    let checkpoints = SnapshotPlace::folder(&disk.fs(), "/checkpoints");
    checkpoints.objects.replace(JOB, b"job").unwrap();
    let refused = write_savepoint(&manifest, &checkpoints, &checkpoints).unwrap_err();
    assert!(matches!(refused, StoreError::CheckpointFolder { .. }), "{refused}");
    assert!(!FolderStore::open(&disk.fs(), "/checkpoints").exists(MANIFEST).unwrap());
}
