use super::*;
use crate::Damage;

fn manifest() -> Manifest {
    let file = PartFile { path: "chk-6/count-0-r1.part".into(), len: 12, checksum: u64::MAX };
    let instances = vec![
        InstancePart { duration_ms: Some(40), file: Some(file), ..InstancePart::nothing(0, 6) },
        InstancePart::nothing(1, 7),
    ];
    let count = OperatorPart {
        name: "count".into(),
        kind: "process".into(),
        key_groups: 128,
        parallelism: 2,
        instances,
    };
    Manifest {
        lineage: "a-lineage".into(),
        checkpoint: 7,
        run: 3,
        created_ms: 1_700_000_000_000,
        duration_ms: Some(41),
        topology: "word-count".into(),
        finished: false,
        event_time_reset: false,
        hash_canary: crate::hash_canary(),
        operators: vec![count],
    }
}

fn path() -> &'static Path {
    Path::new("/job/chk-7/manifest")
}

#[test]
fn a_manifest_comes_back_as_it_was() {
    let bytes = manifest().to_bytes(path()).unwrap();
    assert_eq!(Manifest::from_bytes(path(), &bytes).unwrap(), manifest());
    assert_eq!(manifest().files().count(), 1);
}

#[test]
fn a_manifest_cut_off_at_any_byte_is_detected() {
    let bytes = manifest().to_bytes(path()).unwrap();
    for length in 0..bytes.len() {
        let error = Manifest::from_bytes(path(), &bytes[..length]).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{length}: {error}");
    }
}

#[test]
fn a_manifest_with_any_bit_flipped_is_detected_and_never_taken_for_a_newer_format() {
    let bytes = manifest().to_bytes(path()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = Manifest::from_bytes(path(), &flipped).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{bit}: {error}");
        assert!(error.to_string().contains("/job/chk-7/manifest"), "{error}");
    }
}

#[test]
fn bytes_after_the_end_are_detected() {
    let mut bytes = manifest().to_bytes(path()).unwrap();
    bytes.push(0);
    assert!(matches!(Manifest::from_bytes(path(), &bytes), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let newer = Format { version: FORMAT.version + 4, ..FORMAT };
    let bytes = frame::seal(newer, b"a body that this version cannot read");
    let error = Manifest::from_bytes(path(), &bytes).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 6, supported: 2, .. }), "{error}");
    assert!(error.to_string().contains("version 6") && error.to_string().contains("up to 2"), "{error}");
}

#[test]
fn another_kind_of_file_is_not_a_manifest() {
    let bytes = frame::seal(Format { magic: *b"wshdpart", version: 1 }, b"");
    let error = Manifest::from_bytes(path(), &bytes).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: Damage::Magic, .. }), "{error}");
}

#[test]
fn a_body_that_is_no_manifest_is_a_codec_error() {
    let bytes = frame::seal(FORMAT, b"\x01");
    assert!(matches!(Manifest::from_bytes(path(), &bytes), Err(StoreError::Codec { .. })));
}

#[test]
fn names_in_a_manifest_that_lead_elsewhere_are_refused_whatever_its_checksum_says() {
    let with = |name: &str, at: &str| {
        let mut forged = manifest();
        let file = PartFile { path: at.into(), len: 0, checksum: 0 };
        let files = vec![crate::DatabaseFile { name: name.into(), file }];
        forged.operators[0].instances[1].database = Some(DatabaseCopy { files });
        Manifest::from_bytes(path(), &forged.to_bytes(path()).unwrap())
    };
    with("000012.sst", "chk-7/count-1-r1.000012.sst").unwrap();
    for (name, at) in [
        ("/etc/cron.d/x", "chk-7/x"),
        ("../../x", "chk-7/x"),
        ("..", "chk-7/x"),
        ("", "chk-7/x"),
        ("x", "/etc/passwd"),
        ("x", "../x"),
    ] {
        let error = with(name, at).unwrap_err();
        assert!(matches!(error, StoreError::PathOutside { .. }), "{name}, {at}: {error}");
    }
}
