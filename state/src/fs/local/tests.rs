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
fn an_entry_that_is_removed_while_its_folder_is_listed_is_left_out() {
    let temp = tempdir().unwrap();
    for name in ["first", "second", "third"] {
        write(&temp.path().join(name), b"");
    }
    let entries: Vec<_> = fs::read_dir(temp.path()).unwrap().collect();
    LocalFs.remove_file(&temp.path().join("second")).unwrap();
    let names: Vec<String> = listed(entries.into_iter()).unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["first", "third"]);
    let missing = LocalFs.list(&temp.path().join("missing"));
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound, "a folder that is not there");
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
fn a_lock_is_out_of_place_once_its_file_or_folder_is_removed_moved_or_replaced() {
    let temp = tempdir().unwrap();
    let (folder, elsewhere) = (temp.path().join("folder"), temp.path().join("elsewhere"));
    let path = folder.join("lock");
    fs::create_dir(&folder).unwrap();
    let lock = LocalFs.lock(&path).unwrap().unwrap();
    assert!(lock.is_in_place().unwrap());
    fs::rename(&folder, &elsewhere).unwrap();
    assert!(!lock.is_in_place().unwrap());
    fs::create_dir(&folder).unwrap();
    let other = LocalFs.lock(&path).unwrap().expect("nobody has this one");
    assert!(!lock.is_in_place().unwrap() && other.is_in_place().unwrap());
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&elsewhere, &folder).unwrap();
    assert!(lock.is_in_place().unwrap() && !other.is_in_place().unwrap());
    fs::remove_file(&path).unwrap();
    assert!(!lock.is_in_place().unwrap());
}

#[cfg(unix)]
#[test]
fn a_lock_stays_in_place_where_the_file_system_gives_its_file_another_number_while_it_is_open() {
    let temp = tempdir().unwrap();
    let path = temp.path().join("lock");
    let lock = LocalLock::take(&path).unwrap().unwrap();
    let renumbered = |lock: &LocalLock| {
        let mut numbers = 0..;
        lock.is_in_place_by(|_| numbers.next()).unwrap()
    };
    assert!(renumbered(&lock) && renumbered(&lock));
    // A copy in its place is another file, also if it has all that was written into ours so far.
    fs::copy(&path, temp.path().join("copy")).unwrap();
    fs::rename(temp.path().join("copy"), &path).unwrap();
    assert!(!renumbered(&lock));
    let other = LocalLock::take(&path).unwrap().unwrap();
    assert!(!renumbered(&lock) && renumbered(&other));
    fs::remove_file(&path).unwrap();
    assert!(!renumbered(&other));
}

#[test]
fn a_dropped_lock_is_free_while_a_process_that_is_being_started_still_has_its_file() {
    let temp = tempdir().unwrap();
    let path = temp.path().join("lock");
    let file = File::create(&path).unwrap();
    file.try_lock().unwrap();
    let inherited = file.try_clone().unwrap();
    drop(LocalLock { file, path: path.clone(), proving: Mutex::default() });
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

#[test]
fn what_has_a_name_is_neither_created_nor_renamed_over_where_that_is_asked_for() {
    let temp = tempdir().unwrap();
    let (ours, theirs) = (temp.path().join("ours"), temp.path().join("theirs"));
    write(&ours, b"ours");
    write(&theirs, b"theirs");
    for rename in [|from: &Path, to: &Path| LocalFs.rename_new(from, to), rename_by_link] {
        assert_eq!(LocalFs.create_new(&theirs).map(drop).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(rename(&ours, &theirs).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(
            (LocalFs.read(&ours).unwrap(), LocalFs.read(&theirs).unwrap()),
            (b"ours".into(), b"theirs".into())
        );
        let free = temp.path().join("free");
        rename(&ours, &free).unwrap();
        assert!(!ours.exists());
        rename(&free, &ours).unwrap();
        assert_eq!(LocalFs.read(&ours).unwrap(), b"ours");
    }
}

#[cfg(unix)]
mod on_unix {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_belongs_to_this_user_alone_until_somebody_says_otherwise() {
        let temp = tempdir().unwrap();
        let (folder, file, lock) =
            (temp.path().join("a/b"), temp.path().join("file"), temp.path().join("lock"));
        LocalFs.create_dir_all(&folder).unwrap();
        write(&file, b"");
        drop(LocalFs.lock(&lock).unwrap());
        assert_eq!([&temp.path().join("a"), &folder].map(|path| mode(path)), [0o700, 0o700]);
        assert_eq!([&file, &lock].map(|path| mode(path)), [0o600, 0o600]);
        LocalFs.set_mode(&file, 0o644).unwrap();
        assert_eq!(mode(&file), 0o644);
        // As earlier versions have made it: whoever may read it can hold the lock.
        LocalFs.set_mode(&lock, 0o644).unwrap();
        drop(LocalFs.lock(&lock).unwrap());
        assert_eq!(mode(&lock), 0o600);
    }

    #[test]
    fn no_link_is_followed_that_somebody_has_put_under_a_name() {
        let temp = tempdir().unwrap();
        let (victim, link) = (temp.path().join("victim"), temp.path().join("link"));
        write(&victim, b"precious");
        symlink(&victim, &link).unwrap();
        assert_eq!(LocalFs.create_new(&link).map(drop).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(LocalFs.lock(&link).is_err() && LocalFs.set_mode(&link, 0o777).is_err());
        write(&link, b"ours");
        assert_eq!(
            (LocalFs.read(&victim).unwrap(), LocalFs.read(&link).unwrap()),
            (b"precious".into(), b"ours".into())
        );
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        // Nor one that leads nowhere, through which a file could be created.
        let (nowhere, dangling) = (temp.path().join("nowhere"), temp.path().join("dangling"));
        symlink(&nowhere, &dangling).unwrap();
        assert_eq!(LocalFs.rename_new(&link, &dangling).unwrap_err().kind(), ErrorKind::AlreadyExists);
        write(&dangling, b"ours");
        assert!(!nowhere.exists());
        symlink(&victim, temp.path().join("copy.tmp")).unwrap();
        copy(&dangling, &temp.path().join("copy")).unwrap();
        assert_eq!(LocalFs.read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_file_that_another_machine_has_removed_is_out_of_place() {
        let error = |number| Err(io::Error::from_raw_os_error(number));
        assert_eq!(is_same(Ok((1, 2)), Ok((1, 2))).unwrap(), Some(true));
        assert_eq!(is_same(Ok((1, 2)), Ok((1, 3))).unwrap(), Some(false));
        for gone in [libc::ESTALE, libc::ENOENT, libc::ENOTDIR] {
            assert_eq!(is_same(Ok((1, 2)), error(gone)).unwrap(), None, "{gone}");
            assert_eq!(is_same(error(gone), Ok((1, 2))).unwrap(), None, "{gone}");
        }
        // The disk does not say whether it is there.
        assert!(
            is_same(Ok((1, 2)), error(libc::EIO)).is_err() && is_same(error(libc::EIO), Ok((1, 2))).is_err()
        );
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let temp = tempdir().unwrap();
        let pipe = temp.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let error = LocalFs.read(&pipe).unwrap_err();
        assert!(error.to_string().contains("no regular file but a pipe"), "{error}");
        assert!(LocalFs.lock(&pipe).is_err() && LocalFs.import(&pipe, &temp.path().join("copy")).is_err());
        let socket = temp.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(LocalFs.read(&socket).is_err());
        write(&pipe, b"a file");
        assert_eq!(LocalFs.read(&pipe).unwrap(), b"a file");
    }
}
