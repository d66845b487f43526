use std::path::Path;

use super::*;
use crate::{MemoryStore, Objects, PartWriter, SectionKind, encode};

fn section(kind: SectionKind, group: u16, keys: &[(&str, u32)]) -> Section {
    let mut bytes = Vec::new();
    for (key, state) in keys {
        encode(key, &mut bytes).unwrap();
        if kind == SectionKind::KeyedState {
            encode(state, &mut bytes).unwrap();
        }
    }
    Section { kind, group, entries: keys.len() as u32, bytes }
}

fn file(objects: &Objects, path: &str, sections: &[Section]) -> PartFile {
    let mut writer = PartWriter::create(objects, path).unwrap();
    for section in sections {
        writer.write(section).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn changes_are_applied_in_their_order_removals_first() {
    use SectionKind::{KeyedState, RemovedKeys};
    let objects = MemoryStore::new().shared();
    let first = file(
        &objects,
        "chk-1/a.part",
        &[section(KeyedState, 7, &[("b", 1), ("a", 1), ("c", 1)]), section(KeyedState, 2, &[("z", 1)])],
    );
    let second = file(
        &objects,
        "chk-2/a.part",
        &[section(KeyedState, 7, &[("a", 2)]), section(RemovedKeys, 7, &[("a", 0), ("b", 0)])],
    );
    let third = file(&objects, "chk-3/a.part", &[section(KeyedState, 7, &[("b", 3)])]);
    let part =
        InstancePart { changes_of: vec![first, second], file: Some(third), ..InstancePart::nothing(0, 3) };
    let operator = OperatorPart {
        name: "count".to_string(),
        kind: "process".to_string(),
        key_groups: 8,
        parallelism: 1,
        instances: vec![part],
    };
    let snapshots = Snapshots::open(objects.into()).unwrap();
    let read = |limit: usize| {
        let mut found = Vec::new();
        let mut visit = |entry: KeyedEntry<'_>| {
            let key: String = crate::decode(&mut &*entry.key).unwrap();
            found.push((entry.group, key, crate::decode::<u32>(&mut &*entry.state).unwrap()));
            found.len() < limit
        };
        snapshots.keyed_state(&operator, Path::new("/none"), &mut visit).unwrap();
        found
    };
    let expected = [(2, "z", 1), (7, "a", 2), (7, "b", 3), (7, "c", 1)];
    let expected = expected.map(|(group, key, state)| (group, key.to_string(), state));
    assert_eq!(read(usize::MAX), expected);
    assert_eq!(read(2), expected[..2]);
}

#[test]
fn a_folder_that_holds_no_snapshots_is_refused_and_told_from_that_of_a_single_one() {
    let open = |folder: &str| {
        Snapshots::open(SnapshotPlace::parse(&format!("memory://told-apart/{folder}")).unwrap())
    };
    let refused = open("empty").unwrap_err().to_string();
    assert!(refused.contains("a file `job`") && refused.contains("`manifest`"), "{refused}");
    let objects = SnapshotPlace::parse("memory://told-apart/state").unwrap().objects;
    objects.replace("chk-7/manifest", b"").unwrap();
    assert!(matches!(open("state/chk-7"), Err(StoreError::SingleCheckpoint { .. })));
    let found = open("state").unwrap().all().unwrap();
    assert!(matches!(&found[..], [FoundSnapshot { checkpoint: Some(7), manifest: Err(_) }]));
}
