//! The tool, on event time that has gone wrong.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Claim, Collector, SavepointReader};

/// Says of each record whether it was late.
struct Late;

impl Process for Late {
    type Key = ();
    type In = i64;
    type Out = (i64, bool);
    type State = u64;

    fn on_record(&self, at: i64, seen: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *seen += 1;
        context.emit((at, at <= context.watermark()));
        Ok(())
    }
}

fn topology(folder: &Path, shown: &Collector<(i64, bool)>) -> Topology {
    let topology = Topology::new("times");
    topology
        .source("times", Lines::from_folder(folder))
        .parallelism(1)
        .map(|line| line.parse::<i64>().unwrap())
        .event_time(|at| *at, Lateness::none().far_ahead(FarAhead::Allow))
        .actor("late", Late)
        .parallelism(1)
        .sink_exactly_once("shown", shown.sink());
    topology
}

#[test]
fn a_savepoint_in_which_event_time_begins_anew_is_made_of_a_checkpoint() {
    let (folder, shown) = (TempDir::new().unwrap(), Collector::new());
    let [input, checkpoints, to, own] =
        ["input", "checkpoints", "savepoint", "own"].map(|name| folder.path().join(name));
    fs::create_dir(&input).unwrap();
    fs::write(input.join("1"), "253370764800000").unwrap();
    let topology = topology(&input, &shown);
    topology.run(Config::local().checkpoints(&checkpoints)).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_string();

    let run = |to: &str| {
        let arguments = ["state", "reset-event-time", &text(&checkpoints), to];
        Command::new(env!("CARGO_BIN_EXE_watershed")).args(arguments).output().unwrap()
    };
    let output = run(&text(&to));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("event time begins anew in it"), "{said}");
    let again = run(&text(&to));
    assert_eq!(again.status.code(), Some(2), "what is there is not written over");

    // What it was made of stays as it was.
    let watermark = |from: &Path| SavepointReader::open(&text(from)).unwrap().watermark("late").unwrap();
    assert_eq!((watermark(&checkpoints), watermark(&to)), (Some(253_370_764_799_999), None));

    shown.take();
    fs::write(input.join("2"), "1600000000000").unwrap();
    let config = Config::local().checkpoints(&own).start_from(&text(&to), Claim::No);
    topology.run(config).unwrap();
    assert_eq!(shown.take(), [(1_600_000_000_000, false)], "only what is new, and not late");
    let seen: Vec<u64> = SavepointReader::open(&text(&own)).unwrap().instances("late").unwrap();
    assert_eq!(seen, [2], "states stay");
}
