//! The tool, on the dead letters of a job.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{DeadLetter, End};

fn watershed(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_watershed")).args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = watershed(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the tool says when it fails.
fn complaint(arguments: &[&str]) -> String {
    let output = watershed(arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// A checkpoint folder with these letters: id, operator, where it failed.
fn folder_with(letters: &[(&str, &str, Value)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (id, operator, place) in letters {
        let letter = json!({
            "id": id, "operator": operator, "instance": 0, "attempts": 1, "panicked": false, "cause": "bad", "at_ms": 5,
            "evidence": { "stage": "process", "place": place, "payload": 7, "encoded": "Bw==" },
        });
        let letters = folder.path().join("dead-letters").join(operator);
        fs::create_dir_all(&letters).unwrap();
        fs::write(letters.join(format!("{id}.jsonl")), format!("{letter}\n")).unwrap();
    }
    folder
}

/// The line of a letter in the list.
fn line_of(dir: &str, id: &str) -> String {
    let list = printed(&["dead-letters", "list", dir]);
    list.lines().find(|line| line.starts_with(id)).unwrap().to_string()
}

/// Refuses what is not a number, unless it is mended.
fn run(folder: &Path, mended: bool) -> End {
    let topology = Topology::new("numbers");
    topology
        .source("words", Items::new(|| ["1", "two", "3", "four"].map(str::to_string)))
        .parallelism(1)
        .supervise(Supervision::quarantine())
        .try_map(move |word| {
            let number = if mended { Ok(word.len() as u64) } else { word.parse::<u64>() };
            Ok(number.map_err(|_| format!("`{word}` is no number"))?)
        })
        .sink_exactly_once("out", Files::jsonl(folder.join("out")));
    topology.run(Config::local().checkpoints(folder.join("state")).ignore_signals()).unwrap().end
}

/// The lines that are shown.
fn shown(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder.join("out")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            lines.extend(std::fs::read_to_string(path).unwrap().lines().map(str::to_string));
        }
    }
    lines.sort();
    lines
}

#[test]
fn letters_are_listed_shown_and_replayed_once() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let dir = state.to_str().unwrap();
    run(folder.path(), false);
    assert_eq!(shown(folder.path()), ["1", "3"]);

    let list = printed(&["dead-letters", "list", dir]);
    println!("{list}");
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains("words[0] process") && list.contains("`two` is no number"), "{list}");

    let id = list.lines().find(|line| line.contains("two")).unwrap().split(' ').next().unwrap();
    let letter: DeadLetter = serde_json::from_str(&printed(&["dead-letters", "show", dir, id])).unwrap();
    assert_eq!((letter.evidence.payload.as_str(), letter.attempts), (Some("two"), 1));
    // Where its batch began, and how many came before it there.
    let position = letter.evidence.position.unwrap();
    assert_eq!(position.position.parse::<usize>().unwrap() + position.record, 1);

    let told = printed(&["dead-letters", "replay", dir, "--all"]);
    assert!(told.contains("2 dead letters are to be replayed") && told.contains("when it starts"), "{told}");
    assert_eq!(run(folder.path(), true), End::Finished);
    assert_eq!(shown(folder.path()), ["1", "3", "3", "4"]);
    assert_eq!(run(folder.path(), true), End::AlreadyFinished);
    // Asking again is asking for nothing.
    assert!(printed(&["dead-letters", "replay", dir, "--all"]).contains("0 dead letters"));
    assert!(printed(&["dead-letters", "discard", dir, "--all"]).contains("0 dead letters"));
    assert!(printed(&["dead-letters", "list", dir]).lines().all(|line| line.contains(" replayed ")));
}

#[test]
fn what_is_not_there_is_said() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing");
    let output = watershed(&["dead-letters", "list", missing.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no folder"));
    let output = watershed(&["dead-letters", "show", folder.path().to_str().unwrap(), "17"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no dead letter `17`"));
}

#[test]
fn an_id_that_means_several_letters_is_answered_with_those() {
    let folder = folder_with(&[("ab12", "count", json!("input")), ("ab34", "count", json!("input"))]);
    let dir = folder.path().to_str().unwrap();
    let complaint = complaint(&["dead-letters", "show", dir, "ab"]);
    assert!(complaint.contains("several dead letters") && complaint.contains("ab12, ab34"), "{complaint}");
    assert!(printed(&["dead-letters", "show", dir, "ab1"]).contains("\"status\": \"dead\""));
}

#[test]
fn a_letter_that_never_was_a_record_cannot_be_replayed_and_can_be_given_up() {
    let folder = folder_with(&[("ab12", "lines", json!("undecoded")), ("cd34", "lines", json!("output"))]);
    let dir = folder.path().to_str().unwrap();
    let refused = complaint(&["dead-letters", "replay", dir, "--id", "ab12"]);
    assert!(refused.contains("never was a record") && refused.contains("discard the letter"), "{refused}");
    let told = printed(&["dead-letters", "replay", dir, "--all"]);
    assert!(told.contains("1 dead letters are to be replayed\n1 never were records"), "{told}");
    assert!(line_of(dir, "ab12").contains(" dead ") && line_of(dir, "cd34").contains(" replay "));
    assert!(
        printed(&["dead-letters", "discard", dir, "--id", "ab12"]).contains("1 dead letters are given up")
    );
    assert!(line_of(dir, "ab12").contains(" discarded "));
}

#[test]
fn a_letter_that_is_to_be_replayed_can_still_be_given_up_and_not_the_other_way_round() {
    let folder = folder_with(&[("ab12", "count", json!("input"))]);
    let dir = folder.path().to_str().unwrap();
    let ask = |what| printed(&["dead-letters", what, dir, "--all"]);
    assert!(ask("replay").contains("1 dead letters"));
    assert!(ask("discard").contains("1 dead letters"));
    assert!(ask("replay").contains("0 dead letters"));
    assert!(line_of(dir, "ab12").contains(" discarded "));
}

#[test]
fn a_letter_that_could_not_be_replayed_is_listed_with_the_reason_until_it_is_asked_for_again() {
    let folder = folder_with(&[("ab12", "count", json!("input"))]);
    let dir = folder.path().to_str().unwrap();
    printed(&["dead-letters", "replay", dir, "--all"]);
    let requests = folder.path().join("dead-letters/.requests");
    fs::write(requests.join("ab12.failed.txt"), "the type has changed").unwrap();
    let line = line_of(dir, "ab12");
    assert!(line.contains(" failed ") && line.contains("failed: the type has changed"), "{line}");
    assert!(printed(&["dead-letters", "list", dir, "--json"]).contains("failed: the type has changed"));
    assert!(printed(&["dead-letters", "replay", dir, "--all"]).contains("1 dead letters"));
    assert!(line_of(dir, "ab12").contains(" replay "));
}

#[test]
fn an_operator_may_have_any_name() {
    let folder = folder_with(&[("ab12", "replay", json!("input"))]);
    let dir = folder.path().to_str().unwrap();
    printed(&["dead-letters", "replay", dir, "--operator", "replay"]);
    assert!(line_of(dir, "ab12").contains(" replay[0] "));
}

#[test]
fn a_running_job_is_told_whichever_folder_is_given_and_says_what_it_does_not_have() {
    let folder = folder_with(&[("ab12", "gone", json!("input"))]);
    let topology = Topology::new("counting");
    topology.source("numbers", Generator::unbounded(|n| n)).rate(100.0).for_each(|_: u64| {});
    let socket = folder.path().join("elsewhere");
    let config = || Config::local().parallelism(1).checkpoints(folder.path()).ignore_signals();
    let (dir, letters) = (folder.path().to_path_buf(), folder.path().join("dead-letters"));
    let (dir, letters) = (dir.to_str().unwrap(), letters.to_str().unwrap());

    let job = topology.start(config()).unwrap();
    for given in [dir, letters] {
        let told = printed(&["dead-letters", "replay", given, "--all"]);
        assert!(told.contains("the running job has been told"), "{told}");
        assert!(told.contains("it has no operator `gone`"), "{told}");
    }
    job.cancel().unwrap();
    job.wait().unwrap();

    let job = topology.start(config().control_socket(&socket)).unwrap();
    let told = printed(&["dead-letters", "replay", dir, "--all"]);
    assert!(told.contains("no job listens on") && told.contains("`--socket`"), "{told}");
    let told = printed(&["dead-letters", "replay", dir, "--all", "--socket", socket.to_str().unwrap()]);
    assert!(told.contains("the running job has been told"), "{told}");
    // Nothing is wanted of a letter that is given up.
    let told = printed(&["dead-letters", "discard", dir, "--all", "--socket", socket.to_str().unwrap()]);
    assert!(told.contains("has been told") && !told.contains("gone"), "{told}");
    job.cancel().unwrap();
    job.wait().unwrap();
}

#[test]
fn a_job_that_cannot_be_told_is_not_taken_for_none() {
    let folder = folder_with(&[("ab12", "count", json!("input"))]);
    let dir = folder.path().to_str().unwrap();
    let socket = folder.path().join("busy");
    let listener = UnixListener::bind(&socket).unwrap();
    let answers = std::thread::spawn(move || {
        for answer in [r#"{"refused":"busy"}"#, r#"{"refused":{"version":{"spoken":2}}}"#] {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            stream.read_line(&mut String::new()).unwrap();
            writeln!(stream.get_mut(), "{answer}").unwrap();
        }
    });
    let ask = || complaint(&["dead-letters", "replay", dir, "--all", "--socket", socket.to_str().unwrap()]);
    let busy = ask();
    assert!(busy.contains("is written down") && busy.contains("ask again in a while"), "{busy}");
    let version = ask();
    assert!(version.contains("version 2") && version.contains("when it starts again"), "{version}");
    answers.join().unwrap();
}
