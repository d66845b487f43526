use std::fs;
use std::os::unix::net::UnixListener;
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
        assert!(error.contains("has 4 bytes now and had at least"), "{error}");
    }
}

#[test]
fn a_position_behind_the_end_of_a_file_that_shrank_tells_how_long_the_file_is() {
    let (_folder, path) = file("one\ntwo\nthree\n");
    let lines = Lines::from_file(&path);
    let split = lines.splits().unwrap().remove(0);
    fs::write(&path, "one\n").unwrap();
    let error = drain(&mut lines.open(&split, Some(8), &context()).unwrap(), 9).unwrap_err().to_string();
    assert!(error.contains("has 4 bytes now and had at least 14"), "{error}");
}

#[test]
fn a_line_that_is_too_long_is_rejected_with_its_beginning_and_those_behind_it_come() {
    for (read_bytes, split_bytes) in [(7, 1_000_000), (256 << 10, 1_000_000), (64, 5_000), (64, 4)] {
        let long = "x".repeat(if split_bytes < 1_000 { 40 } else { 700_000 });
        let (_folder, path) = file(format!("a\n{long}\nb\n{long}"));
        let lines = Lines { longest: 20, ..small_reads(&path, split_bytes, read_bytes) };
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for split in lines.splits().unwrap() {
            let mut reader = lines.open(&split, None, &context()).unwrap();
            loop {
                let mut batch = crate::batch::Batch::default();
                let mut records = crate::source::Records::new(&mut batch);
                let before = reader.position();
                let polled = reader.poll(&mut records, 3).unwrap();
                bad.extend(
                    records.into_rejected().into_iter().map(|bad| (bad.bytes.len(), bad.error.to_string())),
                );
                good.extend(batch.values);
                assert!(reader.position() >= before);
                if polled == Polled::End {
                    break;
                }
            }
        }
        assert_eq!(good, ["a", "b"]);
        let (head, second) = (long.len().min(1 << 10), long.len() + 5);
        assert_eq!(bad.iter().map(|(head, _)| *head).collect::<Vec<_>>(), [head; 2]);
        assert!(bad[0].1.contains(&format!("the line at byte 2 of {}", path.display())), "{}", bad[0].1);
        assert!(
            bad[0].1.contains(&format!("has {} bytes, which is more than 20", long.len())),
            "{}",
            bad[0].1
        );
        assert!(bad[1].1.contains(&format!("the line at byte {second} of")), "{}", bad[1].1);
    }
}

#[test]
fn the_position_within_a_line_that_is_too_long_is_its_beginning() {
    let (_folder, path) = file(format!("a\n{}\nb\n", "x".repeat(3_000_000)));
    let lines = Lines::from_file(&path);
    let split = lines.splits().unwrap().remove(0);
    let mut reader = lines.open(&split, None, &context()).unwrap();
    assert_eq!(poll(&mut reader, 1).unwrap().0, ["a"]);
    assert_eq!(poll(&mut reader, 10).unwrap(), (vec![], Polled::Ready), "a poll does not read all of it");
    assert_eq!(reader.position(), 2);
    let error = read(&lines, 10).unwrap_err().to_string();
    assert!(error.contains("has 3000000 bytes, which is more than 1048576"), "{error}");
}

#[test]
fn a_byte_order_mark_is_part_of_no_record() {
    for text in
        ["\u{feff}a\nb\n", "\u{feff}\u{feff}a\n", "\u{feff}", "\u{feff}a", "\u{feff}\na", "a\n\u{feff}b\n"]
    {
        let (_folder, path) = file(text);
        let expected: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(text).lines().collect();
        for split_bytes in [1, 2, 3, 4, 5, 100] {
            for read_bytes in [1, 100] {
                let lines = small_reads(&path, split_bytes, read_bytes);
                assert_eq!(read(&lines, 1).unwrap(), expected, "{text:?} in splits of {split_bytes}");
                let first = &lines.splits().unwrap()[0];
                let mut reader = lines.open(first, None, &context()).unwrap();
                let (begun, polled) = poll(&mut reader, 1).unwrap();
                if polled == Polled::Ready {
                    let mut again = lines.open(first, Some(reader.position()), &context()).unwrap();
                    let all = [begun, drain(&mut again, 1).unwrap()].concat();
                    let whole = drain(&mut lines.open(first, None, &context()).unwrap(), 9).unwrap();
                    assert_eq!(all, whole);
                }
            }
        }
    }
}

#[test]
fn what_is_no_text_is_told_by_name_before_the_start() {
    let bzip2 = b"BZh91AY&SY\x94";
    let cases: [(&[u8], &str); 9] = [
        (b"\x1f\x8b\x08\0\0", "is a gzip file, which cannot be read in splits; unpack it first (`gunzip`)"),
        (b"\x28\xb5\x2f\xfd\x04", "is a zstd file"),
        (b"\xfd7zXZ\0\0", "is a xz file"),
        (b"\x04\x22\x4d\x18\x60", "is a lz4 file"),
        (b"PK\x03\x04\x14", "is a zip file"),
        (bzip2, "is a bzip2 file"),
        (b"\xff\xfea\0\n\0", "byte order mark of UTF-16LE; turn it into UTF-8 first"),
        (b"\xfe\xff\0a", "byte order mark of UTF-16BE"),
        (b"\xff\xfe\0\0a\0\0\0", "byte order mark of UTF-32LE"),
    ];
    for (contents, expected) in cases {
        let (folder, path) = file(contents);
        for lines in [Lines::from_file(&path), Lines::from_folder(folder.path())] {
            let lines = lines.invalid_utf8(InvalidUtf8::SkipAndCount);
            let error = lines.splits().unwrap_err().to_string();
            assert!(error.contains("input.txt") && error.contains(expected), "{error}");
        }
    }
    assert_eq!(read_text("BZh9 is a word\nPK\n"), ["BZh9 is a word", "PK"]);
}

#[test]
fn a_file_without_a_length_is_refused() {
    let error = Lines::from_file("/proc/self/status").splits().unwrap_err().to_string();
    assert!(error.contains("says that it has no bytes and gives some"), "{error}");
}

#[test]
fn a_link_to_nothing_is_refused_by_name_and_left_out_of_a_folder() {
    let (folder, _) = file("one\n");
    let link = folder.path().join("link.txt");
    std::os::unix::fs::symlink("gone.txt", &link).unwrap();
    let error = Lines::from_file(&link).splits().unwrap_err().to_string();
    assert!(error.contains("link.txt is a link to gone.txt, which does not exist"), "{error}");
    assert_eq!(read(&Lines::from_folder(folder.path()), 9).unwrap(), ["one"]);
}

#[test]
fn what_is_no_file_is_refused_by_name_and_left_out_of_a_folder() {
    let (folder, _) = file("one\n");
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for (path, kind) in [(&*socket, "is a socket,"), (Path::new("/dev/null"), "is a device,")] {
        let error = Lines::from_file(path).splits().unwrap_err().to_string();
        assert!(error.contains(kind) && error.contains("copy what it gives into a file"), "{error}");
    }
    assert_eq!(read(&Lines::from_folder(folder.path()), 9).unwrap(), ["one"]);
}

#[test]
fn a_pipe_is_refused_and_does_not_keep_the_start_waiting() {
    let (folder, _) = file("one\n");
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = Lines::from_file(&pipe).splits().unwrap_err().to_string();
    assert!(error.contains("is a pipe,"), "{error}");
    assert_eq!(read(&Lines::from_folder(folder.path()), 9).unwrap(), ["one"]);
}

#[test]
fn an_input_without_a_byte_is_said() {
    let (folder, path) = file("");
    let log = crate::sources::testing::log_of(|| {
        assert_eq!(Lines::from_folder(folder.path()).splits().unwrap(), []);
        fs::remove_file(&path).unwrap();
        assert_eq!(Lines::from_folder(folder.path()).splits().unwrap(), []);
    });
    let said = "there is nothing to read in the input of a source";
    assert!(log.matches(said).count() == 2 && log.contains("files=1") && log.contains("files=0"), "{log}");
}

#[test]
fn the_name_of_something_in_the_input_makes_no_lines_of_the_log() {
    let (folder, _path) = file("text");
    let name = "no\nERROR the disk is on fire";
    std::os::unix::fs::symlink(format!("target {name}"), folder.path().join(name)).unwrap();
    let _socket = UnixListener::bind(folder.path().join("a\nsocket")).unwrap();
    let log = crate::sources::testing::log_of(|| {
        assert_eq!(Lines::from_folder(folder.path()).splits().unwrap().len(), 1);
    });
    assert!(log.contains("leads to nothing") && log.contains("is no file"), "{log}");
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn an_input_of_too_many_splits_is_refused() {
    let (_folder, path) = file("x".repeat(10_000_001));
    let error = Lines::from_file(path).split_bytes(1).splits().unwrap_err().to_string();
    assert!(error.contains("say a larger number with Lines::split_bytes"), "{error}");
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
