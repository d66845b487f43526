//! The laws of every store of objects.

mod remote;

use std::fs;

use super::*;
use crate::{Fs, LocalFs, SimulatedDisk};

/// One store of each kind, and a folder that lives as long as they are used.
fn stores() -> (Vec<Objects>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let local: Fs = Arc::new(LocalFs);
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let stores = vec![
        FolderStore::open(&SimulatedDisk::new(1).fs(), "/jobs/count"),
        FolderStore::open(&local, folder.path().join("store")),
        MemoryStore::new().shared(),
        MemoryStore::named(&format!("laws/{name}")).shared(),
        MemoryStore::new().linking_into(folder.path().join("links")).shared(),
        Arc::new(remote::Remote::new()),
    ];
    (stores, folder)
}

fn each(mut law: impl FnMut(Objects, &Path)) {
    let (stores, folder) = stores();
    for objects in stores {
        println!("{objects:?}");
        law(objects, folder.path());
    }
}

fn names(objects: &Objects, prefix: &str) -> Vec<String> {
    objects.list(prefix).unwrap().objects.into_iter().map(|object| object.name).collect()
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.map(drop).unwrap_err().kind()
}

#[test]
fn an_object_is_not_there_before_it_is_finished_and_whole_then() {
    each(|objects, _| {
        let mut writer = objects.begin("chk-1/a.part").unwrap();
        writer.append(b"one ").unwrap();
        assert!(!objects.exists("chk-1/a.part").unwrap());
        assert_eq!(kind(objects.get("chk-1/a.part")), io::ErrorKind::NotFound);
        assert_eq!(objects.list("chk-1/").unwrap(), Listing::default());
        writer.append(b"two").unwrap();
        writer.finish().unwrap();
        assert!(objects.exists("chk-1/a.part").unwrap());
        assert_eq!(objects.get("chk-1/a.part").unwrap(), b"one two");
        let found = ObjectInfo { name: "chk-1/a.part".into(), len: 7 };
        assert_eq!(objects.list("chk-1/").unwrap().objects, [found]);
        objects.settle("chk-1/a.part").unwrap();
    });
}

#[test]
fn an_object_is_put_once_and_a_second_one_of_its_name_changes_nothing() {
    each(|objects, _| {
        put(&objects, "chk-1/manifest", b"first").unwrap();
        let second = put(&objects, "chk-1/manifest", b"another");
        assert_eq!(kind(second), io::ErrorKind::AlreadyExists);
        assert_eq!(objects.get("chk-1/manifest").unwrap(), b"first");
        assert!(objects.unfinished("").unwrap().is_empty());
        objects.delete(&["chk-1/manifest".into()]).unwrap();
        put(&objects, "chk-1/manifest", b"another").unwrap();
        assert_eq!(objects.get("chk-1/manifest").unwrap(), b"another");
    });
}

#[test]
fn of_an_object_no_more_is_read_than_was_asked_for() {
    each(|objects, _| {
        put(&objects, "chk-1/a.part", b"one two").unwrap();
        assert_eq!(objects.get_up_to("chk-1/a.part", 3).unwrap(), b"one");
        assert_eq!(objects.get_up_to("chk-1/a.part", 100).unwrap(), b"one two");
        assert_eq!(kind(objects.get_up_to("chk-1/b.part", 3)), io::ErrorKind::NotFound);
    });
}

#[test]
fn only_what_is_replaced_changes() {
    each(|objects, _| {
        objects.replace("job", b"first").unwrap();
        assert_eq!(objects.get("job").unwrap(), b"first");
        objects.replace("job", b"second").unwrap();
        assert_eq!(objects.get("job").unwrap(), b"second");
        assert_eq!(names(&objects, ""), ["job"]);
    });
}

#[test]
fn a_list_ends_at_the_next_slash_and_is_sorted() {
    each(|objects, _| {
        for name in ["chk-2/b", "chk-10/a", "job", "chk-2/a", "chk-2/deep/x", "chk-2/deep/y", "chk"] {
            put(&objects, name, b"x").unwrap();
        }
        let listing = objects.list("").unwrap();
        assert_eq!(listing.prefixes, ["chk-10/", "chk-2/"]);
        assert_eq!(names(&objects, ""), ["chk", "job"]);
        assert_eq!(names(&objects, "chk-2/"), ["chk-2/a", "chk-2/b"]);
        assert_eq!(objects.list("chk-2/").unwrap().prefixes, ["chk-2/deep/"]);
        assert_eq!(objects.list("chk-7/").unwrap(), Listing::default());
        let below = list_below(&objects, "chk-2/").unwrap().into_iter().map(|object| object.name);
        assert_eq!(below.collect::<Vec<_>>(), ["chk-2/a", "chk-2/b", "chk-2/deep/x", "chk-2/deep/y"]);
    });
}

#[test]
fn what_is_deleted_is_gone_and_may_be_deleted_again() {
    each(|objects, _| {
        for name in ["chk-1/a", "chk-1/b", "chk-1/c", "chk-11/a", "job"] {
            put(&objects, name, b"x").unwrap();
        }
        let gone = ["chk-1/b".to_string(), "chk-1/absent".to_string(), "chk-9/absent".to_string()];
        objects.delete(&gone).unwrap();
        objects.delete(&gone).unwrap();
        assert_eq!(names(&objects, "chk-1/"), ["chk-1/a", "chk-1/c"]);
        objects.delete_all("chk-1/").unwrap();
        objects.delete_all("chk-1/").unwrap();
        assert_eq!(objects.list("").unwrap().prefixes, ["chk-11/"]);
        objects.delete_all("").unwrap();
        assert_eq!(objects.list("").unwrap(), Listing::default());
    });
}

#[test]
fn what_is_not_finished_is_told_or_gone_with_its_writer() {
    each(|objects, _| {
        let mut dropped = objects.begin("chk-1/dropped.part").unwrap();
        dropped.append(b"half").unwrap();
        drop(dropped);
        let mut discarded = objects.begin("chk-1/discarded.part").unwrap();
        discarded.append(b"half").unwrap();
        discarded.discard();
        let left = objects.unfinished("").unwrap();
        assert!(left.len() <= 1 && !left.iter().any(|name| name.contains("discarded")), "{left:?}");
        objects.delete(&left).unwrap();
        assert!(objects.unfinished("").unwrap().is_empty());
        assert_eq!(list_below(&objects, "").unwrap(), []);
    });
}

#[test]
fn only_one_has_the_lock() {
    each(|objects, _| {
        let lock = objects.lock().unwrap();
        assert!(lock.is_some());
        assert!(objects.lock().unwrap().is_none());
        drop(lock);
        assert!(objects.lock().unwrap().is_some());
    });
}

#[test]
fn what_is_left_of_a_prefix_goes_only_if_nothing_is_below_it() {
    each(|objects, folder| {
        put(&objects, "chk-1/a/b.part", b"b").unwrap();
        for prefix in ["", "chk-1/", "chk-1/a/", "absent/"] {
            objects.prune(prefix).unwrap();
        }
        assert_eq!(objects.get("chk-1/a/b.part").unwrap(), b"b");
        objects.delete(&["chk-1/a/b.part".into()]).unwrap();
        objects.prune("chk-1/a/").unwrap();
        objects.prune("chk-1/").unwrap();
        assert_eq!(objects.list("").unwrap(), Listing::default());
        objects.prune("").unwrap();
        assert!(!folder.join("store").exists());
    });
}

#[test]
fn files_come_in_and_go_out_again() {
    each(|objects, folder| {
        let (from, to) = (folder.join("from.sst"), folder.join("to.sst"));
        fs::write(&from, b"a file of a database").unwrap();
        objects.import(&from, "chk-1/count-0-r1.from.sst").unwrap();
        // The database throws it away, and the snapshot keeps it.
        fs::remove_file(&from).unwrap();
        assert_eq!(objects.get("chk-1/count-0-r1.from.sst").unwrap(), b"a file of a database");
        assert_eq!(objects.list("chk-1/").unwrap().objects[0].len, 20);
        if objects.export("chk-1/count-0-r1.from.sst", &to).unwrap() {
            assert_eq!(fs::read(&to).unwrap(), b"a file of a database");
            assert!(objects.export("chk-1/count-0-r1.from.sst", &to).is_err(), "something is there already");
            fs::remove_file(&to).unwrap();
        }
        assert_eq!(kind(objects.export("chk-1/absent.sst", &to)), io::ErrorKind::NotFound);
        objects.delete_all("chk-1/").unwrap();
    });
}

#[test]
fn links_of_a_store_in_memory_take_no_memory_and_go_with_their_objects() {
    let folder = tempfile::tempdir().unwrap();
    let (from, links) = (folder.path().join("from.sst"), folder.path().join("links"));
    let objects = MemoryStore::new().linking_into(&links).shared();
    fs::write(&from, b"x").unwrap();
    for name in ["a", "b", "c"] {
        objects.import(&from, name).unwrap();
    }
    assert_eq!(kind(objects.import(&from, "a")), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_dir(&links).unwrap().count(), 3);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(&from).unwrap().nlink(), 4, "they are the same file");
    }
    objects.delete(&["a".into()]).unwrap();
    objects.replace("b", b"other").unwrap();
    assert_eq!(fs::read_dir(&links).unwrap().count(), 1);
    objects.delete_all("").unwrap();
    assert_eq!(fs::read_dir(&links).unwrap().count(), 0);
}

#[test]
fn an_object_of_a_folder_is_durable_once_it_is_finished() {
    for seed in 0..20 {
        for dies_at in 1..12 {
            let disk = SimulatedDisk::new(seed);
            let objects = FolderStore::open(&disk.fs(), "/store");
            put(&objects, "before", b"before").unwrap();
            disk.die_at_operation(dies_at);
            let is_put = put(&objects, "chk-1/a.part", b"whole").is_ok();
            disk.crash();
            let objects = FolderStore::open(&disk.fs(), "/store");
            let found = objects.get("chk-1/a.part").ok();
            assert!(
                found.as_deref().is_none_or(|bytes| bytes == b"whole"),
                "seed {seed}, operation {dies_at}"
            );
            assert!(found.is_some() || !is_put, "seed {seed}, operation {dies_at}");
            assert_eq!(objects.get("before").unwrap(), b"before");
        }
    }
}
