//! Files that somebody else has written or changed.

use super::*;

#[test]
fn a_file_of_somebody_else_is_neither_replaced_nor_taken_for_ours() {
    let (disk, sink) = simulated(0);
    let (first, second) = (context(disk.fs(), 0), context(disk.fs(), 1));
    let theirs = part(&sink, &first, "theirs", 3);
    sink.commit(&theirs, &first).unwrap();
    // Another life of the same history, from a copy of its checkpoints.
    let ours = part(&sink, &second, "ours", 3);
    assert_eq!(ours.finished, theirs.finished);
    let error = sink.commit(&ours, &second).unwrap_err();
    let said = error.to_string();
    assert!(said.contains(&format!("somebody else has written /out/{}", theirs.finished)), "{said}");
    assert!(said.contains(&ours.pending) && said.contains("a copy of it"), "both names are told: {said}");
    let failure = crate::failure::Failure::user(&error);
    let blame = failure.blame.expect("the job ends, as trying again would change nothing");
    assert_eq!(blame.directive, crate::supervision::Directive::Stop);
    assert_eq!(visible(&disk.fs()), "theirs\n");
    assert!(names(&disk.fs()).contains(&ours.pending), "nothing is lost of ours");
    disk.fs().rename(&at(&theirs.finished), &at("elsewhere")).unwrap();
    sink.commit(&ours, &second).unwrap();
    assert_eq!(disk.fs().read(&at(&ours.finished)).unwrap(), b"ours\n");
}

#[test]
fn a_file_of_somebody_else_that_is_accepted_stays() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 0);
    let ours = part(&sink, &context, "ours", 3);
    put(&context.fs, &ours.finished, "theirs\n");
    accept(&context.fs, &ours);
    sink.commit(&ours, &context).unwrap();
    assert_eq!(visible(&context.fs), "theirs\n");
}

#[test]
fn a_pending_file_of_somebody_else_is_not_written_to() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 0);
    let mut writer = sink.open(&context).unwrap();
    write(&mut writer, &["ours"]);
    let name = ".pending-my-out-abc-r0-0-0";
    put(&context.fs, name, "theirs");
    let error = writer.prepare(1).unwrap().unwrap()().unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    assert!(crate::failure::is_io(&*error), "the next run has other names");
    assert_eq!(context.fs.read(&at(name)).unwrap(), b"theirs");
}

#[test]
fn a_commit_may_find_both_names_of_its_file() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 0);
    let part = part(&sink, &context, "a", 1);
    put(&context.fs, &part.finished, "a\n");
    sink.commit(&part, &context).unwrap();
    assert_eq!((visible(&context.fs), names(&context.fs).len()), ("a\n".to_owned(), 1));
}

#[test]
fn prepared_output_that_was_cut_or_changed_is_not_shown() {
    for (text, is_found_at_once) in [("records that coun", true), ("records that Count\n", false), ("", true)]
    {
        let (disk, sink) = simulated(0);
        let (before, after) = (context(disk.fs(), 0), context(disk.fs(), 1));
        let part = part(&sink, &before, "records that count", 5);
        put(&disk.fs(), &part.pending, text);
        if is_found_at_once {
            assert!(sink.commit(&part, &before).is_err(), "the length is looked at always");
        }
        let error = sink.commit(&part, &after).unwrap_err().to_string();
        assert!(error.contains("output of checkpoint 5 is not as it was written"), "{error}");
        assert!(error.contains("prepared with 19 bytes") && error.contains(&part.pending), "{error}");
        assert_eq!(visible(&disk.fs()), "");
        accept(&disk.fs(), &part);
        sink.commit(&part, &after).unwrap();
        assert_eq!(visible(&disk.fs()), text);
    }
}

#[test]
fn output_that_an_earlier_version_prepared_is_shown_without_being_compared() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 1);
    let part = part(&sink, &context, "a", 1);
    let mut saved = serde_json::to_value(&part).unwrap();
    saved.as_object_mut().unwrap().remove("content").unwrap();
    let old: FilesPart = serde_json::from_value(saved).unwrap();
    assert_eq!(old.content, None);
    sink.commit(&old, &context).unwrap();
    sink.commit(&old, &context).unwrap();
    assert_eq!(visible(&context.fs), "a\n");
}

#[test]
fn a_forged_committable_moves_nothing_into_or_out_of_the_folder() {
    let (disk, sink) = simulated(0);
    let context = context(disk.fs(), 0);
    let fs = &context.fs;
    let good = part(&sink, &context, "a", 1);
    fs.create_dir_all(Path::new("/etc")).unwrap();
    fs.create(Path::new("/etc/passwd")).unwrap().write_all(b"root").unwrap();
    put(fs, "someone-elses.txt", "precious");
    let forged = |pending: &str, finished: &str| FilesPart {
        pending: pending.into(),
        finished: finished.into(),
        content: None,
        ..good.clone()
    };
    for part in [
        forged("../etc/passwd", &good.finished),
        forged("/etc/passwd", &good.finished),
        forged(".pending-/../../etc/passwd-a-r1-0-0", &good.finished),
        forged("someone-elses.txt", &good.finished),
        forged(&good.pending, "../etc/cron-a-1-0.txt"),
        forged(&good.pending, "/etc/cron-a-1-0.txt"),
        forged(&good.pending, ".hidden-a-1-0.txt"),
        forged(&good.pending, "notes.txt"),
    ] {
        let error = sink.commit(&part, &context).unwrap_err().to_string();
        assert!(error.contains("output that this sink cannot have written"), "{part:?}: {error}");
    }
    assert_eq!(fs.list(Path::new("/etc")).unwrap().len(), 1);
    sink.commit(&good, &context).unwrap();
}
