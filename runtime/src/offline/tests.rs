use std::path::Path;

use watershed_state::{KeyGroups, SectionKind, SimulatedDisk, SnapshotPlace, encode, hash_key, read_part};

use super::parts::Parts;
use crate::scratch::Scratch;

fn place() -> SnapshotPlace {
    SnapshotPlace::parse_on("file:///savepoint", &SimulatedDisk::new(0).fs()).unwrap()
}

/// Writes so many numbers of so many bytes each. Returns the files' sections.
fn written(groups: KeyGroups, numbers: u64, bytes: usize) -> Vec<(usize, watershed_state::Section)> {
    let place = place();
    let mut parts = Parts::new(&place, "count", 1, (groups, 3), "1");
    for n in 0..numbers {
        let group = groups.group_of(hash_key(&n));
        let state = "x".repeat(bytes);
        parts
            .entry(SectionKind::KeyedState, group, |out| {
                encode(&n, out)?;
                encode(&state, out)
            })
            .unwrap();
        assert!(parts.open_bytes() <= 32 << 20);
    }
    let part = parts.finish("process").unwrap();
    assert_eq!((part.instances.len(), part.key_groups), (3, groups.count()));
    let files = part.instances.iter().filter_map(|one| Some((one.instance as usize, one.file.as_ref()?)));
    files
        .flat_map(|(instance, file)| {
            let sections = read_part(&place.objects, file).unwrap();
            sections.into_iter().map(move |section| (instance, section))
        })
        .collect()
}

#[test]
fn sections_are_written_as_they_fill_up_into_the_file_of_the_instance_that_has_their_group() {
    let groups = KeyGroups::new(4).unwrap();
    let sections = written(groups, 4_000, 250);
    assert!(sections.len() > 12, "{} sections", sections.len());
    assert_eq!(sections.iter().map(|(_, section)| section.entries).sum::<u32>(), 4_000);
    for (instance, section) in &sections {
        assert_eq!(*instance, groups.instance_of(section.group, 3));
        assert!(section.bytes.len() < 66_000);
    }
}

#[test]
fn with_many_key_groups_no_more_is_in_memory() {
    let groups = KeyGroups::new(30_000).unwrap();
    let sections = written(groups, 20_000, 2_500);
    assert_eq!(sections.iter().map(|(_, section)| section.entries).sum::<u32>(), 20_000);
}

#[test]
fn what_is_begun_and_not_complete_leaves_no_file() {
    let place = place();
    let mut parts = Parts::new(&place, "count", 1, (KeyGroups::DEFAULT, 3), "1");
    parts.file(1).unwrap();
    let files = || place.objects.unfinished("chk-1/").unwrap().len();
    assert_eq!(files(), 1);
    drop(parts);
    assert_eq!(files(), 0);
}

#[test]
fn folders_for_temporary_files_are_apart() {
    let (one, other) = (Scratch::temporary(), Scratch::temporary());
    assert_ne!(one.folder(), other.folder());
    assert!(one.folder().starts_with(std::env::temp_dir()) && one.folder() != Path::new(""));
}
