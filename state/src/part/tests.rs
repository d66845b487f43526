use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::fs::Lock;
use crate::{FolderStore, Listing, ObjectStore, SimulatedDisk};

const PATH: &str = "chk-7/count-0-r3.part";

fn on(disk: &SimulatedDisk) -> Objects {
    FolderStore::open(&disk.fs(), "/job")
}

fn write_part(objects: &Objects, sections: &[Section]) -> PartFile {
    let mut writer = PartWriter::create(objects, PATH).unwrap();
    for section in sections {
        writer.write(section).unwrap();
    }
    writer.finish().unwrap()
}

fn some_sections() -> Vec<Section> {
    vec![
        Section { kind: SectionKind::KeyedState, group: 3, entries: 2, bytes: vec![1, 2, 3] },
        Section { kind: SectionKind::Splits, group: 0, entries: 0, bytes: vec![] },
        Section { kind: SectionKind::ChainState, group: u16::MAX, entries: 40, bytes: vec![9; 40] },
    ]
}

fn overwrite(objects: &Objects, bytes: &[u8]) {
    objects.replace(PATH, bytes).unwrap();
}

/// A part whose recorded length and checksum are right, whatever its bytes.
fn planted(objects: &Objects, bytes: &[u8]) -> PartFile {
    overwrite(objects, bytes);
    PartFile { path: PATH.into(), len: bytes.len() as u64, checksum: xxh3_64(bytes) }
}

fn section() -> impl Strategy<Value = Section> {
    let kind = prop::sample::select(SectionKind::ALL.to_vec());
    (kind, any::<u16>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..300)).prop_map(
        |(kind, group, entries, bytes)| Section {
            kind,
            group,
            entries: entries % (bytes.len() as u32 + 1),
            bytes,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(sections in proptest::collection::vec(section(), 0..20)) {
        let objects = on(&SimulatedDisk::new(0));
        let part = write_part(&objects, &sections);
        prop_assert_eq!(read_part(&objects, &part).unwrap(), sections);
    }

    #[test]
    fn a_structure_that_makes_no_sense_is_an_error_even_if_the_checksum_fits(bytes: Vec<u8>) {
        let objects = on(&SimulatedDisk::new(0));
        let body = [FORMAT.magic.as_slice(), &FORMAT.version.to_le_bytes(), &bytes].concat();
        let part = planted(&objects, &body);
        let _ = read_part(&objects, &part);
        let part = planted(&objects, &bytes);
        prop_assert!(read_part(&objects, &part).is_err());
    }
}

#[test]
fn large_sections_pass_through_the_buffer() {
    let objects = on(&SimulatedDisk::new(0));
    let sections: Vec<Section> = (0..5_u8)
        .map(|n| Section {
            kind: SectionKind::KeyedState,
            group: 1,
            entries: u32::from(n),
            bytes: vec![n; 100_000 * n as usize],
        })
        .collect();
    let part = write_part(&objects, &sections);
    assert_eq!(read_part(&objects, &part).unwrap(), sections);
    assert_eq!(part.len, 12 + 5 * 15 + 1_000_000);
}

#[test]
fn a_finished_part_survives_any_crash() {
    for seed in 0..50 {
        let disk = SimulatedDisk::new(seed);
        let part = write_part(&on(&disk), &some_sections());
        disk.crash();
        assert_eq!(read_part(&on(&disk), &part).unwrap(), some_sections());
    }
}

#[test]
fn a_part_cut_off_at_any_byte_is_detected() {
    let objects = on(&SimulatedDisk::new(0));
    let part = write_part(&objects, &some_sections());
    let whole = objects.get(PATH).unwrap();
    for length in 0..whole.len() {
        overwrite(&objects, &whole[..length]);
        let error = read_part(&objects, &part).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { what: Damage::Length { .. }, .. }),
            "{length}: {error}"
        );
    }
}

#[test]
fn a_section_that_says_it_has_more_entries_than_bytes_is_refused() {
    let objects = on(&SimulatedDisk::new(0));
    let forged = Section { kind: SectionKind::KeyedState, group: 0, entries: u32::MAX, bytes: vec![1; 8] };
    let error = read_part(&objects, &write_part(&objects, &[forged])).unwrap_err();
    let StoreError::Damaged { what, .. } = error else { panic!("{error}") };
    assert_eq!(what.to_string(), "it holds a section that says it has 4294967295 entries, in 8 bytes");
}

/// Keeps count of the bytes that it is asked for.
#[derive(Debug)]
struct Asked {
    objects: Objects,
    bytes: AtomicU64,
}

impl ObjectStore for Asked {
    fn get(&self, name: &str) -> io::Result<Vec<u8>> {
        self.get_up_to(name, u64::MAX)
    }
    fn get_up_to(&self, name: &str, len_max: u64) -> io::Result<Vec<u8>> {
        self.bytes.fetch_add(len_max, Ordering::Relaxed);
        self.objects.get_up_to(name, len_max)
    }
    fn lock(&self) -> io::Result<Option<Box<dyn Lock>>> {
        self.objects.lock()
    }
    fn begin(&self, name: &str) -> io::Result<Box<dyn ObjectWriter>> {
        self.objects.begin(name)
    }
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.objects.replace(name, bytes)
    }
    fn exists(&self, name: &str) -> io::Result<bool> {
        self.objects.exists(name)
    }
    fn list(&self, prefix: &str) -> io::Result<Listing> {
        self.objects.list(prefix)
    }
    fn unfinished(&self, prefix: &str) -> io::Result<Vec<String>> {
        self.objects.unfinished(prefix)
    }
    fn delete(&self, names: &[String]) -> io::Result<()> {
        self.objects.delete(names)
    }
    fn delete_all(&self, prefix: &str) -> io::Result<()> {
        self.objects.delete_all(prefix)
    }
    fn settle(&self, name: &str) -> io::Result<()> {
        self.objects.settle(name)
    }
    fn import(&self, from: &Path, name: &str) -> io::Result<()> {
        self.objects.import(from, name)
    }
    fn export(&self, name: &str, to: &Path) -> io::Result<bool> {
        self.objects.export(name, to)
    }
    fn location(&self, name: &str) -> PathBuf {
        self.objects.location(name)
    }
}

#[test]
fn a_part_that_has_grown_is_not_read_beyond_its_length() {
    let objects = on(&SimulatedDisk::new(0));
    let part = write_part(&objects, &some_sections());
    let grown = [objects.get(PATH).unwrap(), vec![0; 1_000]].concat();
    overwrite(&objects, &grown);
    let asked = Arc::new(Asked { objects, bytes: AtomicU64::new(0) });
    let error = read_part(&(Arc::clone(&asked) as Objects), &part).unwrap_err();
    assert_eq!(asked.bytes.load(Ordering::Relaxed), part.len + 1, "it may be larger than the memory");
    let StoreError::Damaged { what: Damage::Length { expected, found }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((expected, found), (part.len, part.len + 1_000), "the length that it has is told");
}

#[test]
fn only_the_name_of_one_file_is_a_plain_name() {
    for name in ["CURRENT", "000012.sst", "a b", "..a", ".hidden"] {
        assert!(is_plain_name(name), "{name}");
    }
    for name in ["", ".", "..", "/", "/etc/passwd", "../x", "a/b", "a/", "./a", "a\0b"] {
        assert!(!is_plain_name(name), "{name}");
    }
}

#[test]
fn a_part_with_any_bit_flipped_is_detected() {
    let objects = on(&SimulatedDisk::new(0));
    let part = write_part(&objects, &some_sections());
    let whole = objects.get(PATH).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        overwrite(&objects, &flipped);
        let error = read_part(&objects, &part).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { what: Damage::Checksum { .. }, .. }), "{bit}: {error}");
        assert!(error.to_string().contains(PATH), "{error}");
    }
}

#[test]
fn sections_that_end_inside_or_are_of_an_unknown_kind_are_named() {
    let objects = on(&SimulatedDisk::new(0));
    write_part(&objects, &some_sections());
    let whole = objects.get(PATH).unwrap();
    let cut = planted(&objects, &whole[..whole.len() - 1]);
    let error = read_part(&objects, &cut).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: Damage::Cut { .. }, .. }), "{error}");

    let mut unknown = whole;
    unknown[12] = 200;
    let error = read_part(&objects, &planted(&objects, &unknown)).unwrap_err();
    assert!(
        matches!(error, StoreError::Damaged { what: Damage::UnknownKind { number: 200 }, .. }),
        "{error}"
    );
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let objects = on(&SimulatedDisk::new(0));
    let newer = [FORMAT.magic.as_slice(), &9_u32.to_le_bytes(), b"whatever comes"].concat();
    let error = read_part(&objects, &planted(&objects, &newer)).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 9, supported: 4, .. }), "{error}");
    assert!(error.to_string().contains('9') && error.to_string().contains('3'), "{error}");
}

#[test]
fn a_missing_part_is_damage_and_not_merely_an_io_error() {
    let objects = on(&SimulatedDisk::new(0));
    let part = PartFile { path: PATH.into(), len: 1, checksum: 1 };
    let error = read_part(&objects, &part).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: Damage::Missing, .. }), "{error}");
}

#[test]
fn a_discarded_part_leaves_nothing() {
    let objects = on(&SimulatedDisk::new(0));
    let mut writer = PartWriter::create(&objects, PATH).unwrap();
    writer.write(&some_sections()[0]).unwrap();
    writer.discard();
    assert_eq!(objects.list("chk-7/").unwrap(), Listing::default());
    assert!(objects.unfinished("chk-7/").unwrap().is_empty());
}

#[test]
fn a_path_that_leads_out_of_the_folder_is_refused() {
    let objects = on(&SimulatedDisk::new(0));
    for path in
        ["", "/etc/passwd", "../other/x.part", "chk-7/../../x", "./x", "chk-7//x", "chk-7/./x", "chk-7/"]
    {
        let error = PartWriter::create(&objects, path).unwrap_err();
        assert!(matches!(error, StoreError::PathOutside { .. }), "{path}: {error}");
    }
}
