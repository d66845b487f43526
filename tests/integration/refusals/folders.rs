//! Input, output and checkpoint folders that cannot be used: found before anything starts.

use std::path::Path;

use watershed::prelude::*;
use watershed::{End, ErrorKind, FileSystem, LocalFs};

use super::refused;

/// From files of lines to exactly-once files, on the real disk.
fn copy(input: Lines, output: &Path) -> Topology {
    let topology = Topology::new("copy");
    topology.source("lines", input).sink_exactly_once("out", Files::lines(output));
    topology
}

fn config(folder: &Path) -> Config {
    Config::local().slots(1).checkpoints(folder.join("checkpoints"))
}

/// A folder with a file `input.txt`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("input.txt"), "one\ntwo\n").unwrap();
    folder
}

/// Expects that this input is refused and that no checkpoint folder was made.
fn refused_input(folder: &Path, input: Lines, says: &[&str]) {
    let topology = copy(input, &folder.join("out"));
    refused(topology.run(config(folder)), ErrorKind::Config, &[&["`lines`"], says].concat());
    assert!(!LocalFs.exists(&folder.join("checkpoints")).unwrap(), "it made the checkpoint folder");
}

#[test]
fn a_missing_input_file_is_refused() {
    let folder = folder();
    let path = folder.path().join("absent.txt");
    refused_input(folder.path(), Lines::from_file(&path), &[path.to_str().unwrap(), "is the path right"]);
}

#[test]
fn a_missing_input_folder_is_refused() {
    let folder = folder();
    let path = folder.path().join("absent");
    refused_input(folder.path(), Lines::from_folder(&path), &[path.to_str().unwrap(), "is the path right"]);
}

#[test]
fn a_folder_where_a_file_is_expected_is_refused() {
    let folder = folder();
    let path = folder.path();
    refused_input(path, Lines::from_file(path), &[path.to_str().unwrap(), "use Lines::from_folder"]);
}

#[test]
fn a_file_where_a_folder_is_expected_is_refused() {
    let folder = folder();
    let path = folder.path().join("input.txt");
    refused_input(
        folder.path(),
        Lines::from_folder(&path),
        &[path.to_str().unwrap(), "use Lines::from_file"],
    );
}

#[test]
fn an_input_that_cannot_be_reached_is_refused() {
    let folder = folder();
    let path = folder.path().join("input.txt/below.txt");
    refused_input(folder.path(), Lines::from_file(&path), &[path.to_str().unwrap(), "may this user read it"]);
}

#[test]
fn an_input_that_is_gone_before_it_was_read_to_its_end_is_refused() {
    let folder = folder();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    std::fs::write(&one, "a\n".repeat(20_000)).unwrap();
    std::fs::write(&two, "b\n").unwrap();
    let topology = |file: &std::path::Path| {
        let topology = Topology::new("lines");
        topology.source("lines", Lines::from_file(file)).rate(1_000.0).for_each(|_| {});
        topology
    };
    let config =
        || Config::local().checkpoints(folder.path().join("checkpoints")).checkpoint_interval(millis(10));
    let job = topology(&one).start(config()).unwrap();
    job.stop().unwrap();
    assert_eq!(job.wait().unwrap().end, End::Stopped);
    let error = topology(&two).run(config()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    let said = error.to_string();
    assert!(
        said.starts_with("`lines`: `") && said.contains("one@") && said.contains("put it back"),
        "{said}"
    );
    // Another way to write the same path is the same input.
    let roundabout = folder.path().join(".").join("one");
    let job = topology(&roundabout).start(config()).unwrap();
    job.stop().unwrap();
    assert_eq!(job.wait().unwrap().end, End::Stopped);
}

#[test]
fn an_output_folder_that_cannot_be_written_to_is_refused() {
    let folder = folder();
    let output = folder.path().join("input.txt/out");
    let topology = copy(Lines::from_file(folder.path().join("input.txt")), &output);
    let says = ["`out`", output.to_str().unwrap(), "write access", "name another folder"];
    refused(topology.run(config(folder.path())), ErrorKind::Config, &says);
    assert!(!LocalFs.exists(&folder.path().join("checkpoints")).unwrap(), "it made the checkpoint folder");
}

#[test]
fn a_checkpoint_folder_that_cannot_be_written_to_is_refused() {
    let folder = folder();
    let input = folder.path().join("input.txt");
    let topology = copy(Lines::from_file(&input), &folder.path().join("out"));
    let checkpoints = input.join("checkpoints");
    let says = ["checkpoint folder", checkpoints.to_str().unwrap(), "write access", "another folder"];
    refused(topology.run(Config::local().slots(1).checkpoints(&checkpoints)), ErrorKind::Config, &says);
}

#[test]
fn a_second_job_on_the_same_checkpoint_folder_is_refused_until_the_first_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = folder.path().join("checkpoints");
    let endless = Topology::new("job");
    endless.source("numbers", Generator::unbounded(|n| n)).rate(1_000.0).for_each(drop);
    let bounded = Topology::new("job");
    bounded.source("numbers", Generator::bounded(10, |n| n)).for_each(drop);
    let config = || Config::local().slots(1).checkpoints(&checkpoints);

    let first = endless.start(config()).unwrap();
    let says = ["checkpoint folder", checkpoints.to_str().unwrap(), "in use", "stop that one"];
    refused(bounded.run(config()), ErrorKind::Config, &says);

    first.cancel().unwrap();
    assert_eq!(first.wait().unwrap().end, End::Cancelled);
    assert_eq!(bounded.run(config()).unwrap().end, End::Finished);
}
