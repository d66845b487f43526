//! What records, keys, errors and panics say reaches logs, errors and the tree as one harmless line each.

use std::fmt;
use std::sync::Arc;

use watershed::prelude::*;
use watershed::{Stage, Tree};
use watershed_state::is_shown_escaped;

use crate::fixture::{seeded, simulated};
use crate::logged::logged;

/// A line of its own in a log, and orders for a terminal of each kind.
const HOSTILE: &str = "x\nERROR forged\r\u{1b}[2J\u{9b}31m\u{202e}\u{2028}\u{7f}";

/// An error with a source, both of which repeat what a record said.
#[derive(Debug)]
struct Repeats(String, Option<Box<Repeats>>);

impl fmt::Display for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no: {}", self.0)
    }
}

impl std::error::Error for Repeats {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

fn repeats(text: &str) -> Repeats {
    Repeats(text.to_string(), Some(Box::new(Repeats(text.to_string(), None))))
}

#[track_caller]
fn assert_harmless(text: &str) {
    assert!(!text.contains(is_shown_escaped), "{text:?}");
}

#[track_caller]
fn assert_all_harmless(texts: &[String]) {
    for text in texts {
        assert_harmless(text);
    }
}

/// All that is to be seen of it.
fn texts(tree: &Tree) -> Vec<String> {
    let failures = tree.regions.iter().flat_map(|region| &region.recent_failures);
    let mut texts: Vec<String> = failures.map(|failure| failure.cause.clone()).collect();
    texts.extend(tree.lines());
    texts
}

#[test]
fn records_that_are_skipped_cannot_forge_lines_of_the_log() {
    let topology = Topology::new("skipping");
    topology
        .source("lines", Items::of([HOSTILE.to_string()]))
        .supervise(Supervision::skip())
        .try_map(|line| if line.is_empty() { Ok(line) } else { Err(repeats(&line).into()) })
        .key_by(String::clone)
        .reduce("last", |_, line| line)
        .for_each(|_| {});
    let (outcome, log) = logged(|| topology.run(simulated(seeded(3))));
    assert_eq!(outcome.unwrap().end, End::Finished);
    assert!(log.iter().any(|line| line.contains("forged")), "{log:#?}");
    assert_all_harmless(&log);
}

#[test]
fn a_key_and_a_panic_cannot_forge_lines_of_the_log_nor_of_the_tree_or_the_error() {
    let topology = Topology::new("panicking");
    topology
        .source("lines", Items::of([HOSTILE.to_string()]))
        .key_by(String::clone)
        .reduce("last", |_: String, line: String| line)
        .supervise(Supervision::quarantine().on(Stage::Sink, watershed::Directive::Restart))
        .key_by(String::clone)
        .actor("breaks", Breaks)
        .for_each(|_| {});
    let (outcome, log) = logged(|| topology.run(simulated(seeded(3))));
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("forged"), "{error}");
    assert_harmless(&error.to_string());
    assert_harmless(&format!("{error:?}"));
    assert!(log.iter().any(|line| line.contains("panicked") && line.contains("(key ")), "{log:#?}");
    assert_all_harmless(&log);
}

struct Breaks;

impl Process for Breaks {
    type Key = String;
    type In = String;
    type Out = String;
    type State = u64;

    fn on_record(&self, line: String, _: &mut u64, _: &mut watershed::Context<'_, Self>) -> UserResult {
        panic!("{line}");
    }
}

#[test]
fn the_tree_shows_a_panic_in_one_line() {
    let topology = Topology::new("once");
    let once = Arc::new(std::sync::atomic::AtomicBool::new(true));
    topology
        .source("lines", Items::of([HOSTILE.to_string()]))
        .map(move |line: String| {
            assert!(!once.swap(false, std::sync::atomic::Ordering::Relaxed), "{line}");
            line
        })
        .for_each(|_| {});
    let (outcome, log) = logged(|| topology.run(simulated(seeded(3))));
    let tree = outcome.unwrap().tree;
    assert!(texts(&tree).iter().any(|text| text.contains("forged")), "{tree}");
    assert_all_harmless(&texts(&tree));
    assert_all_harmless(&log);
}

#[test]
fn a_topology_whose_name_would_be_a_path_or_more_than_a_line_is_refused() {
    for name in ["", " ", "../x", "a/b", ".hidden", "two\nlines", "\u{1b}[2J", "a\u{9b}", "\u{202e}txt"] {
        let topology = Topology::new(name);
        topology.source("numbers", Items::of([1_u64])).for_each(|_| {});
        let error = topology.run(simulated(seeded(1))).unwrap_err();
        assert!(error.to_string().contains("cannot be the name of a topology"), "{error}");
        assert_harmless(&error.to_string());
    }
    for name in ["w4", "Größe der Dinge", "a-b_c.d"] {
        let topology = Topology::new(name);
        topology.source("numbers", Items::of([1_u64])).for_each(|_| {});
        topology.run(simulated(seeded(1))).unwrap();
    }
}
