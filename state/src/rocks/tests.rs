mod old_keys;

use std::time::Duration;

use super::*;
use crate::{
    CodecError, KeyGroups, KeyedTable, MemoryStore, SliceProgress, StateBackend, StateFault, StoreError,
    TableState, Timed, Ttl, hash_key,
};

const GROUPS: KeyGroups = KeyGroups::DEFAULT;

fn table(scratch: &std::path::Path) -> Result<KeyedTable<u64, u64>, StoreError> {
    let backend = StateBackend::from(RocksDb::new().memory_bytes(0).cache_entries(2));
    backend.open(GROUPS, 0..GROUPS.count(), scratch, &[])?.table()
}

#[test]
fn a_scratch_folder_that_somebody_uses_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("count-0-r1");
    let _first = table(&scratch).unwrap();
    let error = table(&scratch).unwrap_err();
    assert!(matches!(error, StoreError::DatabaseLocked { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains(scratch.to_str().unwrap()) && said.contains("scratch folder of its own"), "{said}");
}

#[test]
fn a_database_is_made_when_something_has_no_room_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("count-0-r1");
    std::fs::create_dir_all(scratch.join("db")).unwrap();
    std::fs::write(scratch.join("db/CURRENT"), b"left by a process that was killed").unwrap();
    let mut counts = table(&scratch).unwrap();
    for key in 0..2_u64 {
        *counts.entry(hash_key(&key), key).1 = key + 1;
    }
    assert!(!scratch.join("db").exists());
    for key in 2..1_000_u64 {
        *counts.entry(hash_key(&key), key).1 = key + 1;
    }
    assert!(scratch.join("db").exists());
    for key in 0..1_000_u64 {
        assert_eq!(counts.entry(hash_key(&key), key).1, &(key + 1));
    }
    drop(counts);
    assert!(!scratch.exists());
}

#[test]
fn what_could_not_be_read_back_or_hashes_elsewhere_now_is_given_to_no_database() {
    #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
    #[serde(tag = "kind")]
    enum Balance {
        #[default]
        Nothing,
        Wide {
            sum: u128,
        },
    }
    let fault = |fill: &mut dyn FnMut()| {
        let filled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(fill));
        *filled.unwrap_err().downcast::<StateFault>().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let backend = StateBackend::from(RocksDb::new().memory_bytes(0).cache_entries(2));
    let backend = backend.open(GROUPS, 0..GROUPS.count(), &folder.path().join("balance-0-r1"), &[]);
    let mut balances: KeyedTable<u64, Balance> = backend.unwrap().table().unwrap();
    let unreadable = fault(&mut || {
        for key in 0..100_u64 {
            *balances.entry(hash_key(&key), key).1 = Balance::Wide { sum: 7 };
        }
    });
    assert!(matches!(unreadable, StateFault::Codec(CodecError::Unreadable { .. })), "{unreadable}");
    let mut counts = table(&folder.path().join("count-0-r1")).unwrap();
    let unstable = fault(&mut || {
        for key in 0..100_u64 {
            *counts.entry(hash_key(&(key + 1)), key).1 = key + 1;
        }
    });
    assert!(matches!(unstable, StateFault::Codec(CodecError::UnstableKey { .. })), "{unstable}");
}

#[test]
fn a_scratch_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let said = table(&file.join("count-0-r1")).unwrap_err().to_string();
    assert!(said.contains(file.to_str().unwrap()), "{said}");
}

#[test]
fn a_copy_that_cannot_be_made_is_refused_and_the_next_one_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("count-0-r1");
    let mut counts = table(&scratch).unwrap();
    for key in 0..20_u64 {
        *counts.entry(hash_key(&key), key).1 = key + 1;
    }
    let objects = MemoryStore::new().shared();
    // Where the first copy would be made there is something already.
    std::fs::create_dir(scratch.join("copy-1")).unwrap();
    let link = counts.begin_snapshot(1).link.unwrap();
    let said = link.store(&objects, "chk-1/count-0-r1").unwrap_err().to_string();
    assert!(said.contains("cannot copy") && said.contains(scratch.to_str().unwrap()), "{said}");
    counts.abort_snapshot();
    assert!(objects.list("").unwrap().prefixes.is_empty());

    let link = counts.begin_snapshot(2).link.unwrap();
    while counts.snapshot_slice(1_000).unwrap() == SliceProgress::More {}
    let copy = link.store(&objects, "chk-2/count-0-r1").unwrap();
    assert!(!copy.files.is_empty());
    let database = crate::SavedDatabase { objects, copy, has_old_keys: false, can_be_shared: true };
    let backend = StateBackend::from(RocksDb::new().memory_bytes(0).cache_entries(2));
    let restored = folder.path().join("count-0-r2");
    let mut restored: KeyedTable<u64, u64> =
        backend.open(GROUPS, 0..GROUPS.count(), &restored, &[&database]).unwrap().table().unwrap();
    let changes = counts.take_sections();
    restored.restore_changes(&changes.iter()).unwrap();
    for key in 0..20_u64 {
        assert_eq!(restored.get(hash_key(&key), &key), Some(&(key + 1)));
    }
}

#[test]
fn a_compaction_leaves_out_what_has_expired() {
    let folder = tempfile::tempdir().unwrap();
    let expiry = Arc::<Expiry>::default();
    let ttl = Ttl::after_access(Duration::from_millis(100));
    expiry.set_state(ttl);
    let config = RocksDb::new().expiring(&expiry);
    let state = ScratchFolder::take(&folder.path().join("state")).unwrap();
    let database = RocksDatabase::open(state, &config, &(0..5), Default::default()).unwrap();
    let state = |used_ms: i64| {
        let (mut state, mut bytes) = (Timed::<u64>::default(), Vec::new());
        state.at(ttl, used_ms);
        state.write(&mut bytes).unwrap();
        Some(bytes)
    };
    let key = |number: u8| vec![0, 3, 0, number];
    let changes = (0..100).map(|number| (key(number), state(i64::from(number))));
    database.write(&changes.collect()).unwrap();
    let there = || {
        database.db().unwrap().flush().unwrap();
        database.db().unwrap().compact_range(None::<&[u8]>, None::<&[u8]>);
        let mut there = Vec::new();
        let visited = database.scan(&(0..5), &mut |key, _| {
            there.push(key[3]);
            true
        });
        visited.unwrap();
        there
    };
    assert_eq!(there(), (0..100).collect::<Vec<u8>>());
    expiry.set_now(150);
    assert_eq!(there(), (51..100).collect::<Vec<u8>>());
}

#[test]
fn what_is_added_from_a_large_copy_comes_in_files_of_the_usual_size() {
    let folder = tempfile::tempdir().unwrap();
    let config = RocksDb::new();
    let open = |name: &str, owned: Range<u16>, copies| {
        RocksDatabase::open(
            ScratchFolder::take(&folder.path().join(name)).unwrap(),
            &config,
            &owned,
            (copies, Vec::new()),
        )
    };
    let copy = |name: &str, group: u8, states: u8| {
        let database = open(name, 0..5, vec![]).unwrap();
        let changes = (0..states).map(|number| (vec![0, group, 0, number], Some(incompressible(number))));
        database.write(&changes.collect()).unwrap();
        let copy = folder.path().join(format!("copy-{name}"));
        database.copy_to(&copy).unwrap();
        copy
    };
    let merged = open("merged", 0..5, vec![copy("small", 1, 1), copy("large", 3, 80)]).unwrap();
    let mut there = 0;
    let visited = merged.scan(&(3..4), &mut |key, state| {
        assert_eq!((key, state), (&[0, 3, 0, there][..], &incompressible(there)[..]));
        there += 1;
        true
    });
    visited.unwrap();
    assert_eq!(there, 80);
    let files =
        std::fs::read_dir(&merged.path).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    let largest = files.max().unwrap();
    assert!(largest < FILE_BYTES + FILE_BYTES / 4, "{largest}");
}

/// Half a megabyte that LZ4 cannot make shorter, another for each number.
fn incompressible(number: u8) -> Vec<u8> {
    (0..65_536_u64).flat_map(|at| hash_key(&(u64::from(number) << 32 | at)).to_le_bytes()).collect()
}

#[test]
fn a_file_that_is_damaged_behind_a_right_checksum_is_named_where_the_snapshot_has_it() {
    use xxhash_rust::xxh3::xxh3_64;

    let (folder, objects) = (tempfile::tempdir().unwrap(), MemoryStore::new().shared());
    let mut counts = table(&folder.path().join("count-0-r1")).unwrap();
    for key in 0..2_000_u64 {
        *counts.entry(hash_key(&key), key).1 = key + 1;
    }
    let copy = counts.begin_snapshot(1).link.unwrap().store(&objects, "chk-1/count-0-r1").unwrap();
    let restored = |name: &str, copy: &crate::DatabaseCopy| -> Result<KeyedTable<u64, u64>, StoreError> {
        let saved = crate::SavedDatabase {
            objects: Arc::clone(&objects),
            copy: copy.clone(),
            can_be_shared: false,
            has_old_keys: false,
        };
        StateBackend::Memory.open(GROUPS, 0..GROUPS.count(), &folder.path().join(name), &[&saved])?.table()
    };
    assert!(restored("whole", &copy).unwrap().iter().count() > 1_000);
    for (index, file) in copy
        .files
        .iter()
        .enumerate()
        .filter(|(_, file)| Path::new(&file.name).extension().is_some_and(|extension| extension == "sst"))
    {
        let mut forged = copy.clone();
        let mut bytes = objects.get(&file.file.path).unwrap();
        // Somewhere in the records, and in the footer.
        for at in [bytes.len() / 3, bytes.len() - 3] {
            bytes[at] ^= 1;
            objects.replace(&file.file.path, &bytes).unwrap();
            forged.files[index].file.checksum = xxh3_64(&bytes);
            let error = restored(&format!("forged-{index}-{at}"), &forged).map(|_| ()).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
            let said = error.to_string();
            assert!(said.contains(&file.file.path) && said.contains("checksum is right"), "{said}");
            bytes[at] ^= 1;
        }
        objects.replace(&file.file.path, &bytes).unwrap();
    }
}
