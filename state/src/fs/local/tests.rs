use tempfile::tempdir;

use super::*;

fn write(path: &Path, bytes: &[u8]) {
    let mut file = LocalFs.create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync().unwrap();
}

#[test]
fn folders_are_created_with_all_above_them_and_may_exist() {
    let temp = tempdir().unwrap();
    let deep = temp.path().join("a/b/c");
    LocalFs.create_dir_all(&deep).unwrap();
    LocalFs.create_dir_all(&deep).unwrap();
    assert!(deep.is_dir());
    write(&temp.path().join("file"), b"");
    assert!(LocalFs.create_dir_all(&temp.path().join("file/below")).is_err());
}

#[test]
fn a_file_is_written_renamed_listed_read_and_removed() {
    let temp = tempdir().unwrap();
    let (first, second) = (temp.path().join("first"), temp.path().join("second"));
    write(&first, b"old and long");
    write(&first, b"new");
    write(&second, b"replaced");
    LocalFs.create_dir_all(&temp.path().join("folder")).unwrap();
    LocalFs.rename(&first, &second).unwrap();
    LocalFs.sync_dir(temp.path()).unwrap();

    assert!(!LocalFs.exists(&first).unwrap());
    assert!(LocalFs.exists(&second).unwrap());
    assert_eq!(LocalFs.read(&second).unwrap(), b"new");
    let expected = [
        FileInfo { name: "folder".into(), len: 0, is_dir: true },
        FileInfo { name: "second".into(), len: 3, is_dir: false },
    ];
    assert_eq!(LocalFs.list(temp.path()).unwrap(), expected);

    LocalFs.remove_file(&second).unwrap();
    LocalFs.remove_dir_all(&temp.path().join("folder")).unwrap();
    assert_eq!(LocalFs.list(temp.path()).unwrap(), []);
    assert_eq!(LocalFs.read(&second).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_lock_is_exclusive_until_it_is_dropped() {
    let temp = tempdir().unwrap();
    let path = temp.path().join("lock");
    let held = LocalFs.lock(&path).unwrap();
    assert!(held.is_some());
    assert!(LocalFs.lock(&path).unwrap().is_none());
    drop(held);
    assert!(LocalFs.lock(&path).unwrap().is_some());
}

#[test]
fn a_dropped_lock_is_free_while_a_process_that_is_being_started_still_has_its_file() {
    let temp = tempdir().unwrap();
    let path = temp.path().join("lock");
    let file = File::create(&path).unwrap();
    file.try_lock().unwrap();
    let inherited = file.try_clone().unwrap();
    drop(Lock(file));
    assert!(LocalFs.lock(&path).unwrap().is_some());
    drop(inherited);
}

#[test]
fn a_file_that_cannot_be_linked_is_copied_whole_or_not_at_all() {
    let temp = tempdir().unwrap();
    let (from, to) = (temp.path().join("from.sst"), temp.path().join("to.sst"));
    let names = || LocalFs.list(temp.path()).unwrap().into_iter().map(|file| file.name).collect::<Vec<_>>();
    write(&from, b"a table");
    // Of an earlier try, whose process was killed.
    write(&temp.path().join("to.sst.tmp"), b"a table and more");
    copy(&from, &to).unwrap();
    assert_eq!(LocalFs.read(&to).unwrap(), b"a table");
    assert_eq!(names(), ["from.sst", "to.sst"]);
    write(&from, b"another");
    assert_eq!(copy(&from, &to).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(LocalFs.read(&to).unwrap(), b"a table");

    // No system links folders, and they cannot be copied like a file.
    LocalFs.create_dir_all(&temp.path().join("folder")).unwrap();
    LocalFs.import(&temp.path().join("folder"), &temp.path().join("other")).unwrap_err();
    assert_eq!(names(), ["folder", "from.sst", "to.sst"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_of_another_disk_is_copied() {
    let (here, there) = (tempdir().unwrap(), tempfile::tempdir_in("/dev/shm"));
    let Ok(there) = there else { return };
    let (from, to) = (there.path().join("from.sst"), here.path().join("to.sst"));
    write(&from, b"a table");
    LocalFs.import(&from, &to).unwrap();
    assert_eq!(LocalFs.read(&to).unwrap(), b"a table");
    assert_eq!(LocalFs.import(&from, &to).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(LocalFs.list(here.path()).unwrap().len(), 1);
}

#[test]
fn only_an_empty_folder_is_removed_as_one() {
    let temp = tempdir().unwrap();
    let folder = temp.path().join("folder");
    LocalFs.create_dir_all(&folder).unwrap();
    write(&folder.join("file"), b"");
    assert_eq!(LocalFs.remove_dir(&folder).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    LocalFs.remove_file(&folder.join("file")).unwrap();
    LocalFs.remove_dir(&folder).unwrap();
    assert!(!folder.exists());
}
