//! The tool, on the dead letters of a job.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

use std::path::Path;
use std::process::{Command, Output};

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
    assert!(printed(&["dead-letters", "list", dir]).lines().all(|line| line.contains(" replay ")));
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
