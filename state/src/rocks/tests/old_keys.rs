//! Databases that were written when nobody was told that the format is for people.

use std::net::IpAddr;

use serde::Serialize;

use super::{GROUPS, RocksDb, StateBackend};
use crate::database::{Changes, Database, ScratchFolder};
use crate::rocks::RocksDatabase;
use crate::{DatabaseCopy, KeyedTable, MemoryStore, SavedDatabase, hash_key};

/// A value as versions before wrote it.
fn written_before<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map()).unwrap();
    bytes
}

type State = Option<(u32, IpAddr)>;

fn address(n: u32) -> IpAddr {
    IpAddr::V4((0x0a00_0000 + n).into())
}

#[test]
fn keys_of_an_old_database_are_found_and_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = ScratchFolder::take(&folder.path().join("old")).unwrap();
    let database =
        RocksDatabase::open(scratch, &RocksDb::new(), &(0..GROUPS.count()), Default::default()).unwrap();
    let mut changes = Changes::new();
    for n in 0..3_000 {
        let group = GROUPS.group_of(hash_key(&address(n)));
        let key = [&group.to_be_bytes()[..], &[0], &written_before(&address(n))].concat();
        changes.insert(key, Some(written_before(&(n, address(n)))));
    }
    database.write(&changes).unwrap();
    let copy_folder = folder.path().join("copy");
    database.copy_to(&copy_folder).unwrap();
    let objects = MemoryStore::new().shared();
    let copy =
        DatabaseCopy::store(&objects, "chk-1/count-0-r1", &copy_folder, &DatabaseCopy::default()).unwrap();
    let saved = SavedDatabase { objects, copy, has_old_keys: true, can_be_shared: true };

    let backend = StateBackend::from(RocksDb::new().cache_entries(10));
    let open = |name: &str| {
        let opened = backend.open(GROUPS, 0..GROUPS.count(), &folder.path().join(name), &[&saved]).unwrap();
        opened.table::<IpAddr, State>().unwrap()
    };
    let mut table: KeyedTable<IpAddr, State> = open("new");
    for n in 0..3_000 {
        let key = address(n);
        assert_eq!(table.get(hash_key(&key), &key), Some(&Some((n, key))), "{n}");
        if n % 3 == 0 {
            table.remove(hash_key(&key), &key);
        } else {
            *table.entry(hash_key(&key), key).1 = Some((n + 1, key));
        }
    }
    for n in 0..3_000 {
        let key = address(n);
        let expected = (n % 3 != 0).then_some(Some((n + 1, key)));
        assert_eq!(table.get(hash_key(&key), &key).copied(), expected, "{n}");
    }
    drop(table);

    let in_memory = StateBackend::Memory;
    let below = in_memory.open(GROUPS, 0..GROUPS.count(), &folder.path().join("memory"), &[&saved]).unwrap();
    let mut table = below.table::<IpAddr, State>().unwrap();
    assert_eq!(table.len(), 3_000);
    assert_eq!(table.get(hash_key(&address(7)), &address(7)), Some(&Some((7, address(7)))));
}
