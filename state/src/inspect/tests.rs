use std::path::Path;

use super::*;
use crate::{Fs, PartWriter, SectionKind, SimulatedDisk, encode};

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

fn file(fs: &Fs, path: &str, sections: &[Section]) -> PartFile {
    let root = Path::new("/state");
    fs.create_dir_all(root.join(path).parent().unwrap()).unwrap();
    let mut writer = PartWriter::create(fs, root, path).unwrap();
    for section in sections {
        writer.write(section).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn changes_are_applied_in_their_order_removals_first() {
    use SectionKind::{KeyedState, RemovedKeys};
    let fs = SimulatedDisk::new(0).fs();
    let first = file(
        &fs,
        "chk-1/a.part",
        &[section(KeyedState, 7, &[("b", 1), ("a", 1), ("c", 1)]), section(KeyedState, 2, &[("z", 1)])],
    );
    let second = file(
        &fs,
        "chk-2/a.part",
        &[section(KeyedState, 7, &[("a", 2)]), section(RemovedKeys, 7, &[("a", 0), ("b", 0)])],
    );
    let third = file(&fs, "chk-3/a.part", &[section(KeyedState, 7, &[("b", 3)])]);
    let part =
        InstancePart { changes_of: vec![first, second], file: Some(third), ..InstancePart::nothing(0, 3) };
    let operator = OperatorPart {
        name: "count".to_string(),
        kind: "process".to_string(),
        key_groups: 8,
        parallelism: 1,
        instances: vec![part],
    };
    let snapshots = Snapshots::open(SnapshotPlace { fs, folder: "/state".into() }).unwrap();
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
    let fs = SimulatedDisk::new(0).fs();
    let open = |folder: &str| Snapshots::open(SnapshotPlace { fs: Fs::clone(&fs), folder: folder.into() });
    fs.create_dir_all(Path::new("/empty")).unwrap();
    let refused = open("/empty").unwrap_err().to_string();
    assert!(refused.contains("a file `job`") && refused.contains("`manifest`"), "{refused}");
    fs.create_dir_all(Path::new("/state/chk-7")).unwrap();
    fs.create(Path::new("/state/chk-7/manifest")).unwrap();
    assert!(matches!(open("/state/chk-7"), Err(StoreError::SingleCheckpoint { .. })));
    let found = open("/state").unwrap().all().unwrap();
    assert!(matches!(&found[..], [FoundSnapshot { checkpoint: Some(7), manifest: Err(_) }]));
}
