mod changed;
mod gone;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use watershed_state::{LocalFs, SimulatedDisk};

use super::*;
use crate::instance::Instance;
use crate::sink::TwoPhaseWriter;

const FOLDER: &str = "/out";

fn context(fs: Fs, run: u64) -> SinkContext {
    let instance = Instance { operator: "my-out".into(), index: 0, parallelism: 1 };
    SinkContext { instance, lineage: "abc".into(), run, fs, states: crate::OperatorStates::default() }
}

fn write(writer: &mut FilesWriter<String>, records: &[&str]) {
    for record in records {
        writer.write((*record).to_owned()).unwrap();
    }
}

fn prepare(writer: &mut FilesWriter<String>, checkpoint: u64) -> FilesPart {
    let prepare = writer.prepare(checkpoint).unwrap().expect("something was written");
    prepare().unwrap()
}

/// A part with one record, prepared in a new writer.
fn part(sink: &Files<String>, context: &SinkContext, record: &str, checkpoint: u64) -> FilesPart {
    let mut writer = sink.open(context).unwrap();
    write(&mut writer, &[record]);
    prepare(&mut writer, checkpoint)
}

fn names(fs: &Fs) -> Vec<String> {
    fs.list(FOLDER.as_ref()).unwrap().into_iter().map(|file| file.name).collect()
}

/// The contents of all files that everyone may read.
fn visible(fs: &Fs) -> String {
    let names = names(fs).into_iter().filter(|name| !name.starts_with('.'));
    names.map(|name| String::from_utf8(fs.read(&Path::new(FOLDER).join(name)).unwrap()).unwrap()).collect()
}

fn at(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

fn put(fs: &Fs, name: &str, text: &str) {
    fs.create(&at(name)).unwrap().write_all(text.as_bytes()).unwrap();
}

/// As the errors tell somebody to.
fn accept(fs: &Fs, part: &FilesPart) {
    put(fs, &format!(".accepted-{}", part.finished), "");
}

fn simulated(seed: u64) -> (SimulatedDisk, Files<String>) {
    let disk = SimulatedDisk::new(seed);
    let sink = Files::lines(FOLDER);
    sink.check(&disk.fs()).unwrap();
    (disk, sink)
}

#[test]
fn files_appear_whole_and_in_order_at_the_commit() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 0);
    let mut writer = sink.open(&context).unwrap();
    write(&mut writer, &["a", "b"]);
    let first = prepare(&mut writer, 1);
    write(&mut writer, &["c"]);
    let second = prepare(&mut writer, 2);
    assert_eq!(visible(&context.fs), "");
    sink.commit(&first, &context).unwrap();
    assert_eq!(visible(&context.fs), "a\nb\n");
    sink.commit(&second, &context).unwrap();
    assert_eq!(visible(&context.fs), "a\nb\nc\n");
    assert_eq!(names(&context.fs), ["my-out-abc-000000000001-0.txt", "my-out-abc-000000000002-0.txt"]);
}

#[test]
fn records_become_json_lines() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Alert {
        card: String,
        amount: u64,
    }
    let disk = SimulatedDisk::new(0);
    let sink = Files::jsonl(FOLDER);
    let context = context(disk.fs(), 0);
    sink.check(&context.fs).unwrap();
    let mut writer = sink.open(&context).unwrap();
    writer.write(Alert { card: "a\nb".into(), amount: 3 }).unwrap();
    let part = writer.prepare(1).unwrap().unwrap()().unwrap();
    sink.commit(&part, &context).unwrap();
    assert!(part.finished.ends_with("-0.jsonl"));
    assert_eq!(visible(&context.fs), "{\"card\":\"a\\nb\",\"amount\":3}\n");
}

#[test]
fn a_record_of_several_lines_is_refused_or_escaped_and_never_written_as_several() {
    let (disk, refusing) = simulated(0);
    let context = context(disk.fs(), 0);
    let mut writer = refusing.open(&context).unwrap();
    for record in ["a\nb", "\n", "a\r"] {
        let error = writer.write(record.to_owned()).unwrap_err();
        assert!(!crate::failure::is_io(&*error), "the policy may leave the record out: {error}");
        assert!(error.to_string().contains("Files::escaping_line_ends"), "{error}");
    }
    write(&mut writer, &["a\rb", "c"]);
    refusing.commit(&prepare(&mut writer, 1), &context).unwrap();
    assert_eq!(visible(&context.fs), "a\rb\nc\n");

    let escaping = Files::<String>::escaping_line_ends(FOLDER);
    let mut writer = escaping.open(&SinkContext { run: 1, ..context.clone() }).unwrap();
    write(&mut writer, &["a\nb\\n\r", "plain"]);
    escaping.commit(&prepare(&mut writer, 2), &context).unwrap();
    assert_eq!(visible(&context.fs), "a\rb\nc\na\\nb\\\\n\\r\nplain\n");
}

#[test]
fn a_number_that_json_does_not_have_is_refused_and_nothing_of_its_record_is_written() {
    let disk = SimulatedDisk::new(0);
    let sink = Files::jsonl(FOLDER);
    let context = context(disk.fs(), 0);
    sink.check(&context.fs).unwrap();
    let mut writer = sink.open(&context).unwrap();
    writer.write(vec![1.5]).unwrap();
    let error = writer.write(vec![1.0, f64::NAN]).unwrap_err();
    assert!(!crate::failure::is_io(&*error), "the policy may leave the record out");
    assert!(error.to_string().contains("`[1]` of a record is NaN"), "{error}");
    let part = writer.prepare(1).unwrap().unwrap()().unwrap();
    sink.commit(&part, &context).unwrap();
    assert_eq!(visible(&context.fs), "[1.5]\n");
}

#[test]
fn more_than_a_buffer_is_written_whole() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 0);
    let mut writer = sink.open(&context).unwrap();
    let line = "x".repeat(1000);
    for _ in 0..500 {
        writer.write(line.clone()).unwrap();
    }
    assert_eq!(names(&context.fs).len(), 1, "full buffers go to the disk");
    let part = prepare(&mut writer, 1);
    sink.commit(&part, &context).unwrap();
    assert_eq!(visible(&context.fs), format!("{line}\n").repeat(500));
}

#[test]
fn nothing_written_creates_no_file() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 0);
    let mut writer = sink.open(&context).unwrap();
    assert!(writer.prepare(1).unwrap().is_none());
    assert_eq!(names(&context.fs), Vec::<String>::new());
}

#[test]
fn a_crash_before_the_commit_leaves_nothing_visible_and_the_commit_can_follow() {
    for seed in 0..50 {
        let (disk, sink) = simulated(seed);
        let part = part(&sink, &context(disk.fs(), 0), "a", 1);
        disk.crash();
        let context = context(disk.fs(), 1);
        assert_eq!(visible(&context.fs), "");
        sink.commit(&part, &context).unwrap();
        assert_eq!(visible(&context.fs), "a\n");
    }
}

#[test]
fn a_crash_at_any_operation_of_the_commit_neither_loses_nor_repeats() {
    for seed in 0..50 {
        for operation in 1..=4 {
            let (disk, sink) = simulated(seed);
            let before = context(disk.fs(), 0);
            let part = part(&sink, &before, "a", 1);
            disk.die_at_operation(operation);
            let committed = sink.commit(&part, &before).is_ok();
            disk.crash();
            let context = context(disk.fs(), 1);
            assert!(!committed || visible(&context.fs) == "a\n", "a commit that returned is durable");
            sink.commit(&part, &context).unwrap();
            sink.commit(&part, &context).unwrap();
            assert_eq!(visible(&context.fs), "a\n");
        }
    }
}

#[test]
fn what_earlier_runs_left_is_removed_and_nothing_else() {
    let (disk, sink) = simulated(0);
    let fs = disk.fs();
    let of = |run, operator: &str, lineage: &str| SinkContext {
        instance: Instance { operator: operator.into(), ..context(Arc::clone(&fs), run).instance },
        lineage: lineage.into(),
        ..context(Arc::clone(&fs), run)
    };
    let ours = of(2, "my-out", "abc");
    let dangling = part(&sink, &of(1, "my-out", "abc"), "dangling", 4);
    let kept = part(&sink, &of(0, "my-out", "abc"), "kept", 3);
    let strangers = [
        part(&sink, &of(1, "out", "abc"), "other operator", 4),
        part(&sink, &of(1, "my-out", "def"), "other lineage", 4),
        part(&sink, &ours, "this run", 5),
    ];
    fs.create(&Path::new(FOLDER).join(".pending-notes")).unwrap();
    sink.discard_dangling(std::slice::from_ref(&kept), 0..ours.run, None, &ours).unwrap();
    let left = names(&fs);
    assert!(!left.contains(&dangling.pending));
    assert!(left.contains(&kept.pending) && left.contains(&".pending-notes".to_owned()));
    assert!(strangers.iter().all(|part| left.contains(&part.pending)), "{left:?}");
}

#[test]
fn an_instance_removes_only_its_own_files_of_the_given_runs() {
    let (disk, sink) = simulated(0);
    let fs = disk.fs();
    let of = |index, run| {
        let context = context(Arc::clone(&fs), run);
        SinkContext { instance: Instance { index, ..context.instance.clone() }, ..context }
    };
    let own = [1, 2, 3].map(|run| part(&sink, &of(0, run), "own", 4).pending);
    let other = part(&sink, &of(1, 2), "another instance", 4).pending;
    sink.discard_dangling(&[], 2..3, Some(0), &of(0, 3)).unwrap();
    let left = names(&fs);
    assert_eq!(
        [&own[0], &own[1], &own[2], &other].map(|name| left.contains(name)),
        [true, false, true, true]
    );
}

#[test]
fn it_knows_through_which_checkpoint_it_has_committed() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 0);
    let elsewhere = Files::<String>::lines("/absent");
    assert_eq!(elsewhere.committed_through("abc", &context.fs).unwrap(), None);
    assert_eq!(sink.committed_through("abc", &context.fs).unwrap(), None);
    for checkpoint in [9, 10] {
        sink.commit(&part(&sink, &context, "a", checkpoint), &context).unwrap();
    }
    part(&sink, &context, "only prepared", 11);
    assert_eq!(sink.committed_through("abc", &context.fs).unwrap(), Some(10));
    assert_eq!(sink.committed_through("ab", &context.fs).unwrap(), None);
}

#[test]
fn the_check_creates_the_folder_and_leaves_nothing_in_it() {
    let (disk, _) = simulated(0);
    assert_eq!(names(&disk.fs()), Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    std::fs::write(&path, "a file").unwrap();
    let fs: Fs = Arc::new(LocalFs);
    let error = Files::<String>::lines(&path).check(&fs).unwrap_err().to_string();
    assert!(error.contains("output folder") && error.contains("taken"), "{error}");
}

#[test]
fn it_works_on_a_real_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/out");
    let sink = Files::lines(&path);
    let context = context(Arc::new(LocalFs), 0);
    sink.check(&context.fs).unwrap();
    let part = part(&sink, &context, "a", 1);
    sink.commit(&part, &context).unwrap();
    sink.commit(&part, &context).unwrap();
    assert_eq!(std::fs::read_to_string(path.join(part.finished)).unwrap(), "a\n");
}

/// Fails after it has written something.
#[derive(Debug, Clone, PartialEq)]
struct Half(bool);

impl Serialize for Half {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeSeq};
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element("half")?;
        if self.0 { list.end() } else { Err(S::Error::custom("the other half is missing")) }
    }
}

impl<'de> Deserialize<'de> for Half {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<String>::deserialize(deserializer).map(|_| Self(true))
    }
}

impl Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half")?;
        if self.0 { Ok(()) } else { Err(fmt::Error) }
    }
}

#[test]
fn nothing_is_written_of_a_record_that_fails_on_the_way() {
    for (sink, line) in [(Files::jsonl(FOLDER), "[\"half\"]\n"), (Files::lines(FOLDER), "half\n")] {
        let disk = SimulatedDisk::new(0);
        sink.check(&disk.fs()).unwrap();
        let context = context(disk.fs(), 0);
        let mut writer = sink.open(&context).unwrap();
        writer.write(Half(true)).unwrap();
        let error = writer.write(Half(false)).unwrap_err();
        assert!(!crate::failure::is_io(&*error), "the record is at fault, not the disk: {error}");
        writer.write(Half(true)).unwrap();
        let part = writer.prepare(1).unwrap().unwrap()().unwrap();
        sink.commit(&part, &context).unwrap();
        assert_eq!(visible(&disk.fs()), line.repeat(2));
    }
}

#[cfg(unix)]
#[test]
fn files_and_their_folders_are_for_this_user_alone_unless_the_sink_says_otherwise() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let context = context(Arc::new(LocalFs), 0);
    let modes = |sink: Files<String>, path: &Path| {
        sink.check(&context.fs).unwrap();
        let part = part(&sink, &context, "a", 1);
        sink.commit(&part, &context).unwrap();
        [path.parent().unwrap(), path, &path.join(part.finished)]
            .map(|path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777)
    };
    let (private, public) = (folder.path().join("a/b"), folder.path().join("c/d"));
    assert_eq!(modes(Files::lines(&private), &private), [0o700, 0o700, 0o600]);
    assert_eq!(modes(Files::lines(&public).mode(0o644), &public), [0o755, 0o755, 0o644]);
}

#[cfg(unix)]
#[test]
fn links_that_somebody_has_put_under_the_names_of_files_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (out, victim) = (folder.path().join("out"), folder.path().join("victim"));
    std::fs::create_dir(&out).unwrap();
    std::fs::write(&victim, "precious").unwrap();
    for name in [".watershed-probe", ".pending-my-out-abc-r0-0-0", ".owner-my-out-abc-r1"] {
        std::os::unix::fs::symlink(&victim, out.join(name)).unwrap();
    }
    let sink = Files::<String>::lines(&out);
    let context = context(Arc::new(LocalFs), 0);
    sink.check(&context.fs).unwrap();
    let mut writer = sink.open(&context).unwrap();
    write(&mut writer, &["secret"]);
    assert!(writer.prepare(1).unwrap().unwrap()().is_err());
    assert!(sink.claim(&mark::tests::owner(1), &context.fs).is_err());
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
}
