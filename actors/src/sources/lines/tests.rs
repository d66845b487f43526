use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::source::{Polled, Reader, Split};
use crate::sources::testing::{context, drain, poll};

/// A folder with one file.
fn file(contents: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.txt");
    fs::write(&path, contents).unwrap();
    (folder, path)
}

/// The records of all splits, one split after the other.
fn read(lines: &Lines, limit: usize) -> UserResult<Vec<String>> {
    let mut all = Vec::new();
    for split in lines.splits()? {
        all.extend(drain(&mut lines.open(&split, None, &context())?, limit)?);
    }
    Ok(all)
}

fn read_text(text: &str) -> Vec<String> {
    let (_folder, path) = file(text);
    read(&Lines::from_file(path), 10).unwrap()
}

fn small_reads(path: &Path, split_bytes: u64, read_bytes: usize) -> Lines {
    Lines { read_bytes, ..Lines::from_file(path).split_bytes(split_bytes) }
}

/// Text of short, empty and long lines with both kinds of line ends, some returns elsewhere, with or without a last
/// line end.
fn any_text() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just(String::new()),
        "[a-c\r]{0,5}",
        "[äö€]{1,4}",
        (20usize..90).prop_map(|length| "x".repeat(length))
    ];
    let end = prop_oneof![Just("\n"), Just("\r\n")];
    (prop::collection::vec((line, end), 0..20), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text: String = lines.iter().flat_map(|(line, end)| [line.as_str(), *end]).collect();
        if !ended {
            text.push_str("last");
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_splits_together_hold_every_line_once_and_in_order(
        text in any_text(), split_bytes in 1u64..60, read_bytes in 1usize..40, limit in 1usize..8,
    ) {
        let (_folder, path) = file(&text);
        let expected: Vec<&str> = text.lines().collect();
        prop_assert_eq!(read(&small_reads(&path, split_bytes, read_bytes), limit).unwrap(), expected);
    }

    #[test]
    fn reading_again_from_any_position_gives_the_rest(
        text in any_text(), split_bytes in 1u64..60, limit in 1usize..4,
    ) {
        let (_folder, path) = file(&text);
        let lines = small_reads(&path, split_bytes, 16);
        for split in lines.splits().unwrap() {
            let whole = drain(&mut lines.open(&split, None, &context()).unwrap(), 3).unwrap();
            let mut reader = lines.open(&split, None, &context()).unwrap();
            let mut given = 0;
            loop {
                let mut again = lines.open(&split, Some(reader.position()), &context()).unwrap();
                prop_assert_eq!(&drain(&mut again, 3).unwrap(), &whole[given..]);
                let (records, polled) = poll(&mut reader, limit).unwrap();
                given += records.len();
                if polled == Polled::End {
                    break;
                }
            }
            prop_assert_eq!(given, whole.len());
        }
    }

    #[test]
    fn lines_that_are_not_utf8_are_left_out_alone(
        lines in prop::collection::vec(prop_oneof![Just(&b"good"[..]), Just(&b"b\xffd"[..])], 0..12),
        split_bytes in 1u64..30,
    ) {
        let (_folder, path) = file(lines.join(&b'\n'));
        let source = small_reads(&path, split_bytes, 8).invalid_utf8(InvalidUtf8::SkipAndCount);
        let good = lines.iter().filter(|line| **line == b"good").count();
        prop_assert_eq!(read(&source, 2).unwrap(), vec!["good"; good]);
        prop_assert_eq!(source.skipped_lines().load(Ordering::Relaxed), (lines.len() - good) as u64);
    }
}

#[test]
fn line_ends_do_not_belong_to_lines() {
    assert_eq!(read_text("a\r\n\n\r\nb\n"), ["a", "", "", "b"]);
    assert_eq!(read_text("a\nb"), ["a", "b"]);
    assert_eq!(read_text("\n"), [""]);
    assert_eq!(read_text("a\rb\r\r\nc\r"), ["a\rb\r", "c\r"]);
}

#[test]
fn an_empty_file_has_no_splits() {
    let (_folder, path) = file("");
    assert_eq!(Lines::from_file(path).splits().unwrap(), []);
}

#[test]
fn a_line_that_begins_at_a_border_belongs_to_the_split_behind_it() {
    let (_folder, path) = file("aaa\nbbb\n");
    let lines = Lines::from_file(path).split_bytes(4);
    let [first, second] = &lines.splits().unwrap()[..] else { panic!("two splits") };
    assert_eq!(drain(&mut lines.open(first, None, &context()).unwrap(), 9).unwrap(), ["aaa"]);
    assert_eq!(drain(&mut lines.open(second, None, &context()).unwrap(), 9).unwrap(), ["bbb"]);
}

#[test]
fn invalid_utf8_fails_and_names_file_and_byte() {
    for read_bytes in [4, 1000] {
        let (_folder, path) = file(b"good\nok \xff\nmore\n");
        let error = read(&small_reads(&path, 1000, read_bytes), 10).unwrap_err().to_string();
        assert!(error.contains("input.txt is not UTF-8 at byte 8"), "{error}");
    }
    let (_folder, path) = file(b"good\n\xff");
    let error = read(&Lines::from_file(path), 10).unwrap_err().to_string();
    assert!(error.contains("at byte 5"), "{error}");
}

#[test]
fn a_file_that_shrank_is_an_error() {
    let (_folder, path) = file("one\ntwo\nthree\n");
    let lines = Lines::from_file(&path).split_bytes(6);
    let splits = lines.splits().unwrap();
    fs::write(&path, "one\n").unwrap();
    for (split, position) in splits.iter().flat_map(|split| [(split, None), (split, Some(split.start))]) {
        let reader = lines.open(split, position, &context());
        let error = reader.and_then(|mut reader| drain(&mut reader, 9)).unwrap_err().to_string();
        assert!(error.contains("now ends at byte"), "{error}");
    }
}

#[test]
fn a_file_that_vanished_is_an_error() {
    let (_folder, path) = file("one\n");
    let lines = Lines::from_file(&path);
    let splits = lines.splits().unwrap();
    fs::remove_file(&path).unwrap();
    let error = lines.open(&splits[0], None, &context()).unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains("input.txt"), "{error}");
}

#[test]
fn missing_and_unsuitable_inputs_are_errors_that_say_what_to_do() {
    let (folder, path) = file("one\n");
    let says = |lines: Lines, expected: &str| {
        let error = lines.splits().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    says(Lines::from_file(folder.path().join("absent")), "absent");
    says(Lines::from_folder(folder.path().join("absent")), "absent");
    says(Lines::from_file(folder.path()), "use Lines::from_folder");
    says(Lines::from_folder(&path), "use Lines::from_file");
    says(Lines::from_paths([&path, &path]), "given twice");
    says(Lines::from_file(&path).split_bytes(0), "Lines::split_bytes");
}

#[test]
fn a_folder_is_read_in_the_order_of_names_without_what_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{name}\n")).unwrap();
    };
    for name in ["b/2.txt", "b/1.txt", "a.txt", "c.txt", ".hidden", ".git/x", "b/.hidden"] {
        write(name);
    }
    let lines = Lines::from_folder(folder.path());
    assert_eq!(read(&lines, 10).unwrap(), ["a.txt", "b/1.txt", "b/2.txt", "c.txt"]);
}

#[test]
fn ids_of_a_file_sort_by_position() {
    let (_folder, path) = file("x".repeat(2000));
    let ids: Vec<String> =
        Lines::from_file(path).split_bytes(3).splits().unwrap().iter().map(Split::id).collect();
    assert!(ids.is_sorted());
}

#[test]
fn a_batch_of_long_lines_stays_small() {
    let line = "y".repeat(100_000);
    let (_folder, path) = file(format!("{line}\n").repeat(50));
    let lines = Lines::from_file(path);
    let split = &lines.splits().unwrap()[0];
    let mut reader = lines.open(split, None, &context()).unwrap();
    let (records, polled) = poll(&mut reader, 1024).unwrap();
    assert!(records.len() < 5 && polled == Polled::Ready, "{} lines at once", records.len());
    assert_eq!(drain(&mut reader, 1024).unwrap().len() + records.len(), 50);
}
