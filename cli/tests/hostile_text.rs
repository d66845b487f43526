//! What records say reaches the terminal of whoever looks at a job as text, whichever command shows it.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use watershed::Job;
use watershed::prelude::*;
use watershed_state::is_shown_escaped;

/// Orders for a terminal of each kind, and a line of its own.
const HOSTILE: &str = "x\nforged\r\u{1b}[2J\u{9b}31m\u{202e}\u{2028}\u{7f}";

fn watershed(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watershed"));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// What is printed, which is text alone, in lines that all begin as they should.
#[track_caller]
fn harmless(arguments: &[&str]) -> String {
    let output = watershed(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(|c| c != '\n' && is_shown_escaped(c)), "{arguments:?}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{arguments:?}: {text}");
    text
}

/// A job with hostile records: each is a key, and each second one a dead letter.
fn start(folder: &TempDir) -> Job {
    let topology = Topology::new("hostile");
    topology
        .source("lines", Generator::unbounded(|n| format!("{HOSTILE}{}", n % 2)))
        .rate(1_000.0)
        .supervise(Supervision::quarantine().at_most(u64::MAX).at_most_fraction(1.0))
        .try_map(|line: String| if line.ends_with('1') { Err(line.into()) } else { Ok(line) })
        .key_by(String::clone)
        .reduce("last", |_, line| line)
        .for_each(|_| {});
    topology.start(Config::local().checkpoints(folder.path()).checkpoint_interval(millis(20))).unwrap()
}

#[test]
fn no_command_hands_orders_of_records_to_the_terminal() {
    let folder = TempDir::new().unwrap();
    let (dir, key) = (folder.path().to_str().unwrap(), format!("{HOSTILE}0"));
    let job = start(&folder);
    while watershed(&["dead-letters", "list", dir]).stdout.is_empty() {}
    for arguments in [
        vec!["tap", dir, "last", "--limit", "2"],
        vec!["tap", dir, "last", "--limit", "2", "--json"],
        vec!["query", dir, "last", &key],
        vec!["dead-letters", "list", dir],
        vec!["dead-letters", "list", dir, "--json"],
        vec!["tree", dir, "--interval-ms", "10"],
        vec!["tree", dir, "--json"],
    ] {
        harmless(&arguments);
    }
    let listed = harmless(&["dead-letters", "list", dir]);
    let letter = listed.split_whitespace().next().unwrap();
    let shown = harmless(&["dead-letters", "show", dir, letter]);
    let letter: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(letter["evidence"]["payload"], format!("{HOSTILE}1"));
    job.stop().unwrap();
    job.wait().unwrap();
    let dumped = harmless(&["state", "dump", dir, "--operator", "last"]);
    let state: serde_json::Value = serde_json::from_str(&dumped).unwrap();
    assert_eq!(state["key"], key, "JSON says the same as before");
    harmless(&["snapshots", "show", dir]);
    let none = watershed(&["query", dir, "last", &key]);
    assert!(!String::from_utf8(none.stderr).unwrap().contains('\x1b'));
}
