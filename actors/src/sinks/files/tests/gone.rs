//! Files and folders that are gone.

use super::*;

#[test]
fn a_file_that_is_gone_is_an_error_that_names_the_checkpoint_until_somebody_accepts_it() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 0);
    let part = part(&sink, &context, "a", 12);
    context.fs.remove_file(&at(&part.pending)).unwrap();
    let error = sink.commit(&part, &context).unwrap_err().to_string();
    assert!(error.contains("checkpoint 12 is missing from /out"), "{error}");
    context.fs.create_new(&at(&part.finished)).unwrap();
    let error = sink.commit(&part, &context).unwrap_err().to_string();
    assert!(error.contains("somebody else has written"), "an empty file is not ours either: {error}");
    context.fs.remove_file(&at(&part.finished)).unwrap();
    accept(&context.fs, &part);
    sink.commit(&part, &context).unwrap();
    assert_eq!(visible(&context.fs), "");
}

#[test]
fn a_file_that_is_removed_or_cut_while_it_is_written_is_not_prepared() {
    for is_cut in [false, true] {
        let (disk, sink) = simulated(0);
        let context = context(disk.fs(), 0);
        let mut writer = sink.open(&context).unwrap();
        let line = "x".repeat(1000);
        while names(&context.fs).is_empty() {
            write(&mut writer, &[&line]);
        }
        let path = at(&names(&context.fs)[0]);
        context.fs.remove_file(&path).unwrap();
        if is_cut {
            context.fs.create(&path).unwrap();
        }
        let error = writer.prepare(1).unwrap().unwrap()().unwrap_err();
        assert!(crate::failure::is_io(&*error), "its records are written again: {error}");
        let says = "was removed or changed while it was being written";
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_folder_that_is_removed_is_waited_for_and_not_made_again() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 0);
    context.fs.remove_dir_all(FOLDER.as_ref()).unwrap();
    let mut writer = sink.open(&context).unwrap();
    write(&mut writer, &["a"]);
    let error = writer.prepare(1).unwrap().unwrap()().unwrap_err();
    assert!(crate::failure::is_io(&*error), "it is tried again: {error}");
    assert!(error.to_string().contains("/out was removed, or what it is on is not mounted"), "{error}");
    assert!(!context.fs.exists(FOLDER.as_ref()).unwrap());
    context.fs.create_dir_all(FOLDER.as_ref()).unwrap();
    sink.commit(&part(&sink, &context, "a", 1), &context).unwrap();
    assert_eq!(visible(&context.fs), "a\n");
}

#[test]
fn a_crash_takes_nothing_of_what_was_prepared_also_where_that_may_be_taken_away() {
    for seed in 0..50 {
        let disk = SimulatedDisk::new(seed);
        let sink = Files::lines(FOLDER).goes_with("/");
        sink.check(&disk.fs()).unwrap();
        let part = part(&sink, &context(disk.fs(), 0), "a", 1);
        disk.crash();
        let context = context(disk.fs(), 1);
        sink.commit(&part, &context).unwrap();
        assert_eq!(visible(&context.fs), "a\n", "seed {seed}");
    }
}

const INNER: &str = "/checkpoints/letters/count";

/// A sink in a folder that goes with another one.
fn inner(fs: &Fs) -> Files<String> {
    let sink = Files::lines(INNER).goes_with("/checkpoints");
    sink.check(fs).unwrap();
    sink
}

fn lines_below(fs: &Fs) -> String {
    let names = fs.list(INNER.as_ref()).unwrap().into_iter().map(|file| file.name);
    let visible = names.filter(|name| !name.starts_with('.'));
    visible.map(|name| String::from_utf8(fs.read(&Path::new(INNER).join(name)).unwrap()).unwrap()).collect()
}

#[test]
fn output_that_went_with_an_outer_folder_is_missed_and_the_rest_waits_until_there_is_one_again() {
    let disk = SimulatedDisk::new(0);
    let (sink, context) = (inner(&disk.fs()), context(disk.fs(), 0));
    let mut writer = sink.open(&context).unwrap();
    let line = "x".repeat(1000);
    let is_written = |fs: &Fs| !fs.list(INNER.as_ref()).unwrap().is_empty();
    while !is_written(&context.fs) {
        write(&mut writer, &[&line]);
    }
    context.fs.remove_dir_all("/checkpoints".as_ref()).unwrap();
    let gone = prepare(&mut writer, 1);
    sink.commit(&gone, &context).unwrap();
    // More than a buffer, for which there is no place.
    for _ in 0..200 {
        write(&mut writer, &[&line]);
    }
    assert!(!context.fs.exists("/checkpoints".as_ref()).unwrap(), "whose place it is takes it");
    context.fs.create_dir_all("/checkpoints".as_ref()).unwrap();
    write(&mut writer, &["after"]);
    sink.commit(&prepare(&mut writer, 2), &context).unwrap();
    assert_eq!(lines_below(&context.fs), format!("{line}\n").repeat(200) + "after\n");
}

#[test]
fn output_that_is_missing_while_its_folder_is_in_place_is_an_error_also_where_that_may_be_taken_away() {
    let disk = SimulatedDisk::new(0);
    let (sink, context) = (inner(&disk.fs()), context(disk.fs(), 0));
    let mut claim = sink.claim(&mark::tests::owner(0), &context.fs).unwrap();
    claim.mark().unwrap();
    let part = part(&sink, &context, "a", 12);
    context.fs.remove_file(&Path::new(INNER).join(&part.pending)).unwrap();
    let error = sink.commit(&part, &context).unwrap_err().to_string();
    assert!(error.contains("checkpoint 12 is missing"), "{error}");
}
