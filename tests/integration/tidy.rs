//! The house is kept tidy: which module may use which, how long things may be, and what each is called.
//!
//! What was not so when this was written is listed with each test. The lists only get shorter.

mod circles;
mod floors;
mod house;
mod measures;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use house::House;

/// The crates of the engine, in the order in which they may depend on each other.
const CRATES: [&str; 3] = ["state", "actors", "runtime"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn house(name: &str) -> House {
    House::read(&root().join(name).join("src"))
}

/// All source files of the project, with their texts.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let folders = ["src", "state", "actors", "runtime", "cli", "benches", "examples", "tests"];
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(root()).unwrap().to_owned(), text);
            }
        }
    }
    found
}

/// What is found must be what is known: nothing new, and nothing on the list that is mended.
fn is_known(what: &str, found: &BTreeSet<String>, known: &[&str]) {
    let known = known.iter().map(ToString::to_string).collect();
    let new: Vec<&String> = found.difference(&known).collect();
    assert!(new.is_empty(), "{what}: {new:#?}");
    let mended: Vec<&String> = known.difference(found).collect();
    assert!(mended.is_empty(), "take what is mended off the list: {mended:#?}");
}

#[test]
fn crates_depend_on_each_other_one_way() {
    for (floor, name) in CRATES.iter().enumerate() {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
        let dependencies = dependencies.split("\n[").next().unwrap();
        let ours = dependencies.lines().filter_map(|line| line.strip_prefix("watershed-"));
        for used in ours.filter_map(|line| line.split(['.', ' ', '=']).next()) {
            let below = CRATES[..floor].contains(&used);
            assert!(below, "watershed-{name} depends on watershed-{used}, which is not below it");
        }
    }
}

/// Modules that use each other in circles. A master that hands each event to a pure part of itself will end the
/// largest.
const CIRCLES: [(&str, &[&str]); 3] = [
    (
        "state",
        &[
            "codec codec::read codec::same codec::write",
            "fs::simulated fs::simulated::faults",
            "savepoint store store::found store::skips",
            "table table::cache table::gauge table::snapshot table::span",
            "table::entry table::timed",
            "timers timers::saved timers::snapshot",
        ],
    ),
    (
        "actors",
        &[
            "harness harness::mode",
            "process process::context",
            "task::process task::process::errands task::process::records",
        ],
    ),
    (
        "runtime",
        &[
            "master master::attempts master::history master::letters master::loading master::overdue master::region \
             master::rescale master::rollback master::savepoints master::stopping master::watchdog",
            "offline offline::databases offline::operator offline::reader offline::states offline::writer",
            "stream stream::keyed",
        ],
    ),
];

#[test]
fn modules_use_each_other_in_no_circles_but_known_ones() {
    for (name, known) in CIRCLES {
        let house = house(name);
        let circles = circles::of(&house.uses());
        let circles = circles.iter().map(|circle| {
            let modules: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
            modules.join(" ")
        });
        is_known(&format!("these modules of `{name}` use each other in a circle"), &circles.collect(), known);
    }
}

#[test]
fn the_drawing_of_the_modules_is_up_to_date() {
    let drawn: String = CRATES.iter().map(|name| floors::draw(name, &house(name).uses())).collect();
    let path = root().join("docs/internals/modules.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, after) = page.split_once("```text\n").unwrap();
    let (old, rest) = after.split_once("```\n").unwrap();
    if std::env::var_os("WATERSHED_WRITE_MODULES").is_some() {
        fs::write(&path, format!("{before}```text\n{drawn}```\n{rest}")).unwrap();
        return;
    }
    assert_eq!(
        old, drawn,
        "WATERSHED_WRITE_MODULES=1 with this test draws it anew in docs/internals/modules.md"
    );
}

/// Lines of a file at most.
const LINES_MAX: usize = 600;

#[test]
fn no_file_is_long() {
    let long = sources().into_iter().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{} has {lines} lines", path.display()))
    });
    is_known("split these files", &long.collect(), &[]);
}

/// Lines of a function at most, from its name to its end.
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn no_function_is_long() {
    let mut long = BTreeSet::new();
    for (path, text) in sources() {
        for (function, lines) in measures::functions(&text) {
            if lines > FUNCTION_LINES_MAX {
                long.insert(format!("{} {function}", path.display()));
            }
        }
    }
    let known = [
        "actors/src/task/process/records.rs take_many",
        "state/src/collections/tests.rs run",
        "tests/integration/offline.rs collections_are_written_and_read_and_stay_when_states_are_transformed",
    ];
    is_known("divide these functions", &long, &known);
}

/// Columns of a line of comment at most. Code is wrapped by rustfmt.
const COMMENT_COLUMNS_MAX: usize = 120;

#[test]
fn no_line_of_comment_is_long() {
    let mut long = BTreeSet::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if is_comment(line) && line.chars().count() > COMMENT_COLUMNS_MAX {
                long.insert(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    is_known("wrap these comments", &long, &[]);
}

/// A line of comment that can be wrapped: no row of a table.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") && !line.trim_start_matches(['/', '!', ' ']).starts_with('|')
}

/// Some are a public type and a private one of another module.
const NAMED_TWICE: [&str; 35] = [
    "state Bytes",
    "state Content",
    "state Names",
    "state Open",
    "state Reader",
    "state Running",
    "actors Channel",
    "actors Credits",
    "actors Found",
    "actors Input",
    "actors Life",
    "actors Link",
    "actors Place",
    "actors Progress",
    "actors Reading",
    "actors Received",
    "actors Replays",
    "actors Step",
    "actors Waiting",
    "actors Window",
    "runtime Done",
    "runtime Ending",
    "runtime Entry",
    "runtime Gathering",
    "runtime InstanceNode",
    "runtime Job",
    "runtime Late",
    "runtime Output",
    "runtime Phase",
    "runtime Progress",
    "runtime Request",
    "runtime Running",
    "runtime Stage",
    "runtime State",
    "runtime Then",
];

#[test]
fn no_two_types_of_a_crate_have_one_name() {
    let mut twice = BTreeSet::new();
    for name in CRATES {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for room in house(name).rooms.values() {
            for defined in measures::types(&room.parsed) {
                *seen.entry(defined).or_default() += 1;
            }
        }
        twice.extend(
            seen.into_iter().filter(|(_, count)| *count > 1).map(|(defined, _)| format!("{name} {defined}")),
        );
    }
    is_known("give one of these types another name", &twice, &NAMED_TWICE);
}

/// Pure parts of protocols: each is tested beside its code, without actors.
const MACHINES: [&str; 21] = [
    "state/src/history.rs",
    "actors/src/batch.rs",
    "actors/src/inbox/aligner.rs",
    "actors/src/inbox/valve.rs",
    "actors/src/chain/watermarks.rs",
    "actors/src/link.rs",
    "actors/src/task/pace.rs",
    "actors/src/task/care.rs",
    "actors/src/task/pulse.rs",
    "runtime/src/escalation.rs",
    "actors/src/task/care/window.rs",
    "actors/src/task/source/throttle.rs",
    "runtime/src/master/attempts.rs",
    "runtime/src/master/history.rs",
    "runtime/src/master/ledger.rs",
    "runtime/src/master/overdue.rs",
    "runtime/src/master/records.rs",
    "runtime/src/master/stopping.rs",
    "runtime/src/master/watchdog.rs",
    "runtime/src/poison.rs",
    "runtime/src/restart.rs",
];

#[test]
fn each_state_machine_is_tested_beside_its_code() {
    let untested = MACHINES.iter().filter(|path| {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        !text.contains("#[cfg(test)]")
    });
    is_known("test these beside their code", &untested.map(ToString::to_string).collect(), &[]);
}

/// Looks at what is not there, too: that all of this finds something.
#[test]
fn what_is_not_tidy_is_found() {
    let long = format!("fn long() {{\n{}}}", "    work();\n".repeat(80));
    assert_eq!(measures::functions(&long), [("long".to_string(), 82)]);
    let types = syn::parse_file("struct A; mod inner { enum B {} } trait C {}").unwrap();
    assert_eq!(measures::types(&types), ["A", "B", "C"]);
    let module = |name: &str| vec![name.to_string()];
    let (a, b, c) = (module("a"), module("b"), module("c"));
    let uses =
        BTreeMap::from([(&a, BTreeSet::from([&b])), (&b, BTreeSet::from([&a])), (&c, BTreeSet::from([&a]))]);
    assert_eq!(circles::of(&uses), [BTreeSet::from([&a, &b])]);
    assert_eq!(floors::draw("x", &uses), "x\n  1  (a b)\n  2  c\n");
    assert!(house("state").uses().values().map(BTreeSet::len).sum::<usize>() > 100);
    assert!(Path::new(MACHINES[0]).extension().is_some());
}
