use std::collections::BTreeSet;
use std::io::ErrorKind;

use super::*;

fn write(fs: &Fs, path: &str, bytes: &[u8], sync: bool) -> Box<dyn FileWriter> {
    let mut file = fs.create(Path::new(path)).unwrap();
    file.write_all(bytes).unwrap();
    if sync {
        file.sync().unwrap();
    }
    file
}

fn read(fs: &Fs, path: &str) -> Option<Vec<u8>> {
    match fs.read(Path::new(path)) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            None
        }
    }
}

/// What `observe` sees after a crash, over many seeds.
fn outcomes<T: Ord>(prepare: impl Fn(&Fs), observe: impl Fn(&Fs) -> T) -> BTreeSet<T> {
    let outcome = |seed| {
        let disk = SimulatedDisk::new(seed);
        prepare(&disk.fs());
        disk.crash();
        observe(&disk.fs())
    };
    (0..200).map(outcome).collect()
}

#[test]
fn without_a_crash_it_is_an_ordinary_disk() {
    let fs = SimulatedDisk::new(1).fs();
    fs.create_dir_all(Path::new("/a/b")).unwrap();
    write(&fs, "/a/b/file", b"text", false);
    write(&fs, "/a/b/other", b"replaced", false);
    assert_eq!(read(&fs, "/a/b/file").unwrap(), b"text");
    fs.rename(Path::new("/a/b/file"), Path::new("/a/b/other")).unwrap();
    assert_eq!(read(&fs, "/a/b/file"), None);
    assert_eq!(read(&fs, "a/b/other").unwrap(), b"text");
    fs.rename(Path::new("/a/b/other"), Path::new("/a/moved")).unwrap();
    let expected = [
        FileInfo { name: "b".into(), len: 0, is_dir: true },
        FileInfo { name: "moved".into(), len: 4, is_dir: false },
    ];
    assert_eq!(fs.list(Path::new("/a")).unwrap(), expected);
    assert_eq!(fs.list(Path::new("/a/b")).unwrap(), []);
    fs.remove_file(Path::new("/a/moved")).unwrap();
    fs.remove_dir_all(Path::new("/a")).unwrap();
    assert!(!fs.exists(Path::new("/a/b")).unwrap());
    assert_eq!(fs.list(Path::new("/")).unwrap(), []);
}

#[test]
fn impossible_operations_fail_as_on_a_real_disk() {
    let fs = SimulatedDisk::new(1).fs();
    let path = Path::new;
    write(&fs, "/file", b"", false);
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(fs.create(path("/missing/file")).map(drop)), ErrorKind::NotFound);
    assert_eq!(kind(fs.create_dir_all(path("/file/below"))), ErrorKind::NotADirectory);
    assert_eq!(kind(fs.read(path("/")).map(drop)), ErrorKind::IsADirectory);
    assert_eq!(kind(fs.rename(path("/missing"), path("/file"))), ErrorKind::NotFound);
    assert_eq!(kind(fs.remove_file(path("/missing"))), ErrorKind::NotFound);
    assert_eq!(kind(fs.sync_dir(path("/file"))), ErrorKind::NotADirectory);
    assert_eq!(kind(fs.list(path("/missing")).map(drop)), ErrorKind::NotFound);
    assert_eq!(kind(fs.read(path("/../file")).map(drop)), ErrorKind::InvalidInput);
}

#[test]
fn synced_contents_under_a_synced_name_always_survive() {
    let seen = outcomes(
        |fs| {
            write(fs, "/file", b"durable", true);
            fs.sync_dir(Path::new("/")).unwrap();
        },
        |fs| read(fs, "/file"),
    );
    assert_eq!(seen, BTreeSet::from([Some(b"durable".to_vec())]));
}

#[test]
fn of_unsynced_bytes_any_prefix_may_survive() {
    let seen = outcomes(
        |fs| {
            let mut file = write(fs, "/file", b"ab", true);
            fs.sync_dir(Path::new("/")).unwrap();
            file.write_all(b"cd").unwrap();
        },
        |fs| read(fs, "/file").unwrap(),
    );
    assert_eq!(seen, BTreeSet::from([b"ab".to_vec(), b"abc".to_vec(), b"abcd".to_vec()]));
}

#[test]
fn a_file_made_in_place_of_another_may_come_back_as_that_one_or_be_gone() {
    let seen = outcomes(
        |fs| {
            write(fs, "/file", b"old", true);
            fs.sync_dir(Path::new("/")).unwrap();
            write(fs, "/file", b"N", false);
        },
        |fs| read(fs, "/file"),
    );
    let found = |text: &[u8]| Some(text.to_vec());
    assert_eq!(seen, BTreeSet::from([None, found(b"old"), found(b""), found(b"N")]));
}

#[test]
fn what_has_a_name_is_neither_created_nor_renamed_over_where_that_is_asked_for() {
    let fs = SimulatedDisk::new(1).fs();
    let (ours, theirs) = (Path::new("/ours"), Path::new("/theirs"));
    write(&fs, "/ours", b"ours", false);
    write(&fs, "/theirs", b"theirs", false);
    assert_eq!(fs.create_new(theirs).map(drop).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs.rename_new(ours, theirs).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        (read(&fs, "/ours").unwrap(), read(&fs, "/theirs").unwrap()),
        (b"ours".into(), b"theirs".into())
    );
    fs.rename_new(ours, Path::new("/new")).unwrap();
    assert_eq!((read(&fs, "/ours"), read(&fs, "/new").unwrap()), (None, b"ours".into()));
    assert_eq!(fs.rename_new(ours, Path::new("/other")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs.open(Path::new("/new")).unwrap().length(), 4);
}

#[test]
fn an_unsynced_name_may_or_may_not_exist() {
    let seen = outcomes(|fs| drop(write(fs, "/file", b"synced", true)), |fs| read(fs, "/file"));
    assert_eq!(seen, BTreeSet::from([None, Some(b"synced".to_vec())]));
}

#[test]
fn an_unsynced_removal_may_or_may_not_have_happened() {
    let seen = outcomes(
        |fs| {
            write(fs, "/file", b"x", true);
            fs.sync_dir(Path::new("/")).unwrap();
            fs.remove_file(Path::new("/file")).unwrap();
        },
        |fs| read(fs, "/file").is_some(),
    );
    assert_eq!(seen, BTreeSet::from([false, true]));
}

#[test]
fn an_unsynced_rename_leaves_the_old_or_the_new_file_and_never_none() {
    let seen = outcomes(
        |fs| {
            write(fs, "/file", b"old", true);
            write(fs, "/file.tmp", b"new", true);
            fs.sync_dir(Path::new("/")).unwrap();
            fs.rename(Path::new("/file.tmp"), Path::new("/file")).unwrap();
        },
        |fs| (read(fs, "/file").unwrap(), read(fs, "/file.tmp")),
    );
    let before = (b"old".to_vec(), Some(b"new".to_vec()));
    assert_eq!(seen, BTreeSet::from([before, (b"new".to_vec(), None)]));
}

#[test]
fn renaming_a_file_whose_contents_were_not_synced_can_leave_it_empty() {
    let seen = outcomes(
        |fs| {
            write(fs, "/file.tmp", b"new", false);
            fs.rename(Path::new("/file.tmp"), Path::new("/file")).unwrap();
            fs.sync_dir(Path::new("/")).unwrap();
        },
        |fs| read(fs, "/file").unwrap(),
    );
    assert!(seen.contains(b"".as_slice()) && seen.contains(b"new".as_slice()), "{seen:?}");
}

#[test]
fn a_rename_between_folders_happens_in_both_or_in_none() {
    let seen = outcomes(
        |fs| {
            fs.create_dir_all(Path::new("/a")).unwrap();
            fs.create_dir_all(Path::new("/b")).unwrap();
            write(fs, "/a/file", b"x", true);
            fs.sync_dir(Path::new("/a")).unwrap();
            fs.rename(Path::new("/a/file"), Path::new("/b/file")).unwrap();
        },
        |fs| (read(fs, "/a/file").is_some(), read(fs, "/b/file").is_some()),
    );
    assert_eq!(seen, BTreeSet::from([(true, false), (false, true)]));
}

#[test]
fn folders_are_durable_once_created() {
    let seen = outcomes(
        |fs| fs.create_dir_all(Path::new("/a/b/c")).unwrap(),
        |fs| fs.exists(Path::new("/a/b/c")).unwrap(),
    );
    assert_eq!(seen, BTreeSet::from([true]));
}

#[test]
fn an_unsynced_removal_of_a_folder_may_leave_some_of_its_files() {
    let seen = outcomes(
        |fs| {
            fs.create_dir_all(Path::new("/a")).unwrap();
            write(fs, "/a/one", b"", true);
            write(fs, "/a/two", b"", true);
            fs.sync_dir(Path::new("/a")).unwrap();
            fs.remove_dir_all(Path::new("/a")).unwrap();
        },
        |fs| fs.list(Path::new("/a")).map_or(9, |files| files.len()),
    );
    assert_eq!(seen, BTreeSet::from([0, 1, 2, 9]));
}

#[test]
fn handles_of_an_old_life_fail_and_its_locks_are_released() {
    let disk = SimulatedDisk::new(3);
    let old = disk.fs();
    let mut file = write(&old, "/file", b"", true);
    let held = old.lock(Path::new("/lock")).unwrap();
    assert!(held.is_some());
    assert!(disk.fs().lock(Path::new("/lock")).unwrap().is_none());

    disk.crash();
    assert!(file.write_all(b"late").is_err());
    assert!(file.sync().is_err());
    assert!(old.exists(Path::new("/")).is_err());
    let new = disk.fs();
    let taken = new.lock(Path::new("/lock")).unwrap();
    assert!(taken.is_some());
    drop(held);
    assert!(
        new.lock(Path::new("/lock")).unwrap().is_none(),
        "the old life must not release the new one's lock"
    );
    drop(taken);
    assert!(new.lock(Path::new("/lock")).unwrap().is_some());
}

#[test]
fn a_process_can_be_made_to_die_at_a_given_operation() {
    let disk = SimulatedDisk::new(3);
    let fs = disk.fs();
    assert_eq!(disk.operations(), 0);
    fs.exists(Path::new("/")).unwrap();
    disk.die_at_operation(2);
    fs.exists(Path::new("/")).unwrap();
    assert!(fs.exists(Path::new("/")).is_err());
    assert!(disk.fs().exists(Path::new("/")).is_err(), "dead is dead, also for a new handle");
    assert_eq!(disk.operations(), 4);
    disk.crash();
    assert!(disk.fs().exists(Path::new("/")).unwrap());
}

#[test]
fn a_full_disk_takes_nothing_new_until_it_has_room_again() {
    let disk = SimulatedDisk::new(3);
    let fs = disk.fs();
    let mut file = fs.create(Path::new("/a")).unwrap();
    disk.full_during(1..4);
    assert_eq!(file.write_all(b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    assert!(fs.create(Path::new("/b")).is_err());
    fs.rename(Path::new("/a"), Path::new("/c")).unwrap();
    file.write_all(b"x").unwrap();
    assert_eq!(fs.read(Path::new("/c")).unwrap(), b"x");
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let survivors = |seed| {
        let disk = SimulatedDisk::new(seed);
        let fs = disk.fs();
        for number in 0..50 {
            write(&fs, &format!("/{number}"), b"some contents", number % 2 == 0);
        }
        disk.crash();
        let fs = disk.fs();
        fs.list(Path::new("/")).unwrap()
    };
    assert_eq!(survivors(5), survivors(5));
    assert_ne!(survivors(5), survivors(6));
}

#[test]
fn a_kill_loses_nothing_by_itself_and_ends_everything_that_was_open() {
    let disk = SimulatedDisk::new(1);
    let fs = disk.fs();
    let mut file = write(&fs, "/file", b"text", false);
    let _lock = fs.lock(Path::new("/lock")).unwrap().unwrap();
    disk.kill();
    assert!(file.write_all(b"more").is_err() && fs.read(Path::new("/file")).is_err());
    assert_eq!(read(&disk.fs(), "/file").unwrap(), b"text");
    assert!(disk.fs().lock(Path::new("/lock")).unwrap().is_some());
}

#[test]
fn what_was_not_synced_before_a_kill_can_be_lost_in_a_crash_after_it() {
    let lost = |seed| {
        let disk = SimulatedDisk::new(seed);
        write(&disk.fs(), "/file", b"text", false);
        disk.kill();
        disk.crash();
        read(&disk.fs(), "/file").is_none()
    };
    assert!((0..50).any(lost) && !(0..50).all(lost));
}

#[test]
fn a_failing_disk_says_so_and_changes_nothing_until_it_works_again() {
    let disk = SimulatedDisk::new(1);
    let fs = disk.fs();
    write(&fs, "/file", b"text", true);
    disk.fail_during(1..3);
    assert!(fs.remove_file(Path::new("/file")).is_err() && fs.list(Path::new("/")).is_err());
    assert_eq!(read(&fs, "/file").unwrap(), b"text");
    disk.fail_during(1..100);
    disk.mend();
    assert_eq!(read(&fs, "/file").unwrap(), b"text");
}

#[test]
fn only_what_is_synced_with_its_name_is_durable() {
    let disk = SimulatedDisk::new(1);
    let fs = disk.fs();
    fs.create_dir_all(Path::new("/a")).unwrap();
    let path = Path::new("/a/file");
    let mut file = write(&fs, "/a/file", b"text", true);
    assert_eq!((disk.durable(path), disk.durable_names(Path::new("/a"))), (None, vec![]));
    fs.sync_dir(Path::new("/a")).unwrap();
    assert_eq!(disk.durable(path).unwrap(), b"text");
    assert_eq!(disk.durable_names(Path::new("/a")), ["file"]);
    file.write_all(b" more").unwrap();
    assert_eq!(disk.durable(path), None);
}

#[test]
fn a_file_may_come_back_until_its_removal_is_synced() {
    let disk = SimulatedDisk::new(1);
    let fs = disk.fs();
    let path = Path::new("/a/file");
    fs.create_dir_all(Path::new("/a")).unwrap();
    assert!(!disk.may_hold(path));
    write(&fs, "/a/file", b"text", true);
    assert!(disk.may_hold(path));
    fs.sync_dir(Path::new("/a")).unwrap();
    fs.remove_file(path).unwrap();
    assert!(disk.may_hold(path));
    fs.sync_dir(Path::new("/a")).unwrap();
    assert!(!disk.may_hold(path));
}

#[test]
fn the_fingerprint_tells_disks_apart() {
    let print = |text: &[u8], sync| {
        let disk = SimulatedDisk::new(1);
        write(&disk.fs(), "/file", text, sync);
        disk.fingerprint()
    };
    assert_eq!(print(b"text", false), print(b"text", false));
    assert!(print(b"text", false) != print(b"tint", false) && print(b"text", false) != print(b"text", true));
}

#[test]
fn a_process_can_be_made_to_die_when_a_name_is_not_durable_yet() {
    let disk = SimulatedDisk::new(1);
    let fs = disk.fs();
    write(&fs, "/one", b"text", true);
    disk.die_after_rename(2);
    fs.rename(Path::new("/one"), Path::new("/two")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs.rename(Path::new("/two"), Path::new("/three")).unwrap();
    assert_eq!((disk.renames(), disk.is_dead()), (2, false));
    assert!(fs.sync_dir(Path::new("/")).is_err() && disk.is_dead());
    disk.kill();
    assert_eq!(read(&disk.fs(), "/three").unwrap(), b"text");
    assert_eq!(disk.durable(Path::new("/three")), None);
}

#[test]
fn a_disk_can_be_made_to_fail_just_after_a_rename() {
    let disk = SimulatedDisk::new(1);
    let fs = disk.fs();
    write(&fs, "/one", b"text", true);
    disk.fail_after_rename(1, 1);
    fs.rename(Path::new("/one"), Path::new("/two")).unwrap();
    assert!(fs.sync_dir(Path::new("/")).is_err());
    fs.sync_dir(Path::new("/")).unwrap();
    disk.full_after_rename(1, 1);
    fs.rename(Path::new("/two"), Path::new("/three")).unwrap();
    assert_eq!(fs.create(Path::new("/four")).err().unwrap().kind(), ErrorKind::StorageFull);
    write(&fs, "/four", b"text", true);
}

#[test]
fn faults_that_overlap_all_strike_and_each_counts_what_was_refused_for_it() {
    let disk = SimulatedDisk::new(1);
    let fs = disk.fs();
    let faults = [disk.fail_during(1..3), disk.full_during(2..5), disk.fail_during(4..5)];
    assert!(fs.list(Path::new("/")).is_err() && fs.create(Path::new("/a")).is_err());
    assert_eq!(fs.create(Path::new("/a")).err().unwrap().kind(), ErrorKind::StorageFull);
    assert!(fs.list(Path::new("/")).is_err());
    write(&fs, "/a", b"text", true);
    assert_eq!(faults.map(|fault| disk.refused(fault)), [2, 1, 1]);
}

#[test]
fn an_append_that_is_refused_leaves_half_of_it() {
    for full in [false, true] {
        let disk = SimulatedDisk::new(1);
        let fs = disk.fs();
        let mut file = write(&fs, "/file", b"all of this ", true);
        if full {
            disk.full_during(1..2)
        } else {
            disk.fail_during(1..2)
        };
        assert!(file.write_all(b"and half of that").is_err());
        assert_eq!(read(&fs, "/file").unwrap(), b"all of this and half");
    }
}

#[test]
fn what_could_not_be_synced_once_is_never_durable_although_a_later_sync_succeeds() {
    let failing = |fs: &Fs, disk: &SimulatedDisk| {
        let mut file = write(fs, "/file", b"durable ", true);
        fs.sync_dir(Path::new("/")).unwrap();
        file.write_all(b"lost ").unwrap();
        disk.fail_during(1..2);
        assert!(file.sync().is_err());
        file
    };
    let disk = SimulatedDisk::new(1);
    let fs = disk.fs();
    let mut file = failing(&fs, &disk);
    file.write_all(b"durable").unwrap();
    file.sync().unwrap();
    assert_eq!(read(&fs, "/file").unwrap(), b"durable lost durable", "the process does not notice");
    assert_eq!(disk.durable(Path::new("/file")), None);
    disk.crash();
    assert_eq!(read(&disk.fs(), "/file").unwrap(), b"durable \0\0\0\0\0durable");

    let disk = SimulatedDisk::new(1);
    drop(failing(&disk.fs(), &disk));
    write(&disk.fs(), "/file", b"new", true);
    disk.fs().sync_dir(Path::new("/")).unwrap();
    assert_eq!(disk.durable(Path::new("/file")).unwrap(), b"new", "what is written anew is as good as any");
}

#[test]
fn another_process_may_be_quicker_to_take_a_name_and_nobody_replaces_its_file_unnoticed() {
    for replaces in [false, true] {
        let disk = SimulatedDisk::new(1);
        let fs = disk.fs();
        fs.create_dir_all(Path::new("/spared")).unwrap();
        let fault = disk.take_name_at_rename(2, "/spared");
        let rename = |from: &str, to: &str| {
            write(&fs, from, b"ours", false);
            let (from, to) = (Path::new(from), Path::new(to));
            if replaces { fs.rename(from, to) } else { fs.rename_new(from, to) }
        };
        rename("/a", "/first").unwrap();
        rename("/spared/b", "/spared/second").unwrap();
        assert_eq!(disk.refused(fault), 0);
        let third = rename("/c", "/third");
        assert_eq!((disk.refused(fault), third.is_ok()), (1, replaces));
        if !replaces {
            disk.crash();
        }
        let expected: &[&Path] = if replaces { &[Path::new("/third")] } else { &[] };
        assert_eq!(disk.remove_taken(), expected);
        assert!(replaces || disk.fs().list(Path::new("/")).unwrap().iter().all(|file| file.name != "third"));
    }
}
