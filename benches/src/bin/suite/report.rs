//! The results as Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::machine;
use crate::plan::{Case, RATES, RESCALES, Results};
use crate::rounds::Series;

/// Tables of all rows that were run.
pub(crate) fn write(results: &Results, rounds: usize) -> String {
    let mut report = format!(
        "# Results\n\n{}. Medians of {rounds} rounds, in each of which every program ran once; only what ran in one go can \
         be compared. In brackets: this project's rate as a multiple of the other's in the same round. \
         At p = 1 a keyed row has two actors, each of which has a thread if there are two cores.\n",
        machine::describe()
    );
    for section in [
        rates(results),
        checkpoint_cost(results),
        latency(results),
        stalls(results),
        times(results),
        rescales(results),
        touched(results),
        regions(results),
        supervised(results),
        notes(results),
    ] {
        report.push_str(&section);
    }
    report
}

fn cases<'a>(results: &'a Results, row: &'a str) -> impl Iterator<Item = &'a Case> {
    results.0.iter().filter(move |case| case.row == row)
}

/// A heading and a table, or nothing without lines.
fn table(heading: &str, columns: &[String], lines: &[Vec<String>]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut text =
        format!("\n## {heading}\n\n| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for line in lines {
        // A string takes whatever is written to it.
        let _ = writeln!(text, "| {} |", line.join(" | "));
    }
    text
}

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(ToString::to_string).collect()
}

/// With three digits.
fn number(value: Option<f64>) -> String {
    match value {
        None => "–".to_string(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn millions(series: &Series) -> String {
    number(series.rate().map(|rate| rate / 1e6))
}

fn rates(results: &Results) -> String {
    let cases: Vec<&Case> = RATES.iter().flat_map(|row| cases(results, row)).collect();
    let mut columns = names(&["row", "p", "watershed", "MB"]);
    if let Some(case) = cases.first() {
        columns.extend(case.series[1..].iter().map(|series| series.name.clone()));
    }
    let line = |case: &&Case| {
        let own = &case.series[0];
        let mut line = vec![case.row.to_string(), case.parallelism.to_string()];
        line.extend([millions(own), number(own.median("peak_rss_mb"))]);
        line.extend(case.series[1..].iter().map(|series| match case.ratio(series) {
            Some(ratio) => format!("{} ({})", millions(series), number(Some(ratio))),
            None => "–".to_string(),
        }));
        line
    };
    let lines: Vec<_> = cases.iter().map(line).collect();
    table("Millions of records per second", &columns, &lines)
}

fn checkpoint_cost(results: &Results) -> String {
    let line = |case: &Case| {
        let (without, with) = (&case.series[0], &case.series[1]);
        let ratios = with.multiples_of(without);
        let ratio = |at: usize| number(ratios.get(at).copied());
        vec![
            case.workload.to_string(),
            case.parallelism.to_string(),
            millions(without),
            millions(with),
            ratio(ratios.len() / 2),
            format!("{} – {}", ratio(0), ratio(ratios.len().saturating_sub(1))),
            number(with.median("checkpoints")),
            number(with.median("peak_rss_mb")),
        ]
    };
    let lines: Vec<_> = cases(results, "C1").map(line).collect();
    let columns = names(&["row", "p", "without", "with", "ratio", "ratios", "checkpoints", "MB"]);
    table(
        "C1: millions of records per second, without checkpoints and with one every second",
        &columns,
        &lines,
    )
}

fn latency(results: &Results) -> String {
    let line = |case: &Case, series: &Series| {
        let mut line = vec![case.parallelism.to_string(), series.name.clone()];
        for since in ["due_us", "us"] {
            for point in ["p50", "p99", "p99.9", "pmax"] {
                line.push(number(series.median(&format!("{since}_{point}")).map(|us| us / 1e3)));
            }
        }
        line
    };
    let measured = cases(results, "L1").flat_map(|case| case.series.iter().map(move |series| (case, series)));
    let measured = measured.filter(|(_, series)| !series.failed);
    let lines: Vec<_> = measured.map(|(case, series)| line(case, series)).collect();
    let columns = ["p", "program", "p50", "p99", "p99.9", "max", "made: p50", "p99", "p99.9", "max"];
    table("L1: milliseconds since a record was due, and since it was made", &names(&columns), &lines)
}

/// For how long checkpoints hold records up.
fn stalls(results: &Results) -> String {
    let line = |case: &Case| {
        let own = &case.series[0];
        let mut line = vec![case.parallelism.to_string(), number(own.median("stalls"))];
        for stretch in ["stall_ms", "quiet_ms"] {
            line.extend(
                ["p50", "p99", "pmax"].map(|point| number(own.median(&format!("{stretch}_{point}")))),
            );
        }
        line
    };
    let lines: Vec<_> = cases(results, "STALL").map(line).collect();
    let columns = ["p", "checkpoints", "p50", "p99", "max", "without: p50", "p99", "max"];
    let heading = "STALL: milliseconds without a record at the sink, the longest of each checkpoint, and of as long a \
                   stretch without one";
    table(heading, &names(&columns), &lines)
}

/// Rows that measure one time.
fn times(results: &Results) -> String {
    let mut lines = Vec::new();
    for (row, figure, meaning) in [
        ("R1-100K", "recovery_ms", "from a panic to the next record, 100,000 keys"),
        ("R1", "recovery_ms", "the same, a million keys"),
        ("R1-10M", "recovery_ms", "the same, ten million keys"),
        ("S1", "start_ms", "from the start of the process to the first record"),
    ] {
        for case in cases(results, row) {
            for series in case.series.iter().filter(|series| !series.failed) {
                let what = [row, meaning, &case.parallelism.to_string(), &series.name].map(str::to_string);
                lines.push([&what[..], &[number(series.median(figure))]].concat());
            }
        }
    }
    table("Milliseconds", &names(&["row", "what", "p", "program", "ms"]), &lines)
}

/// For how long an operator stands still when it is rescaled.
fn rescales(results: &Results) -> String {
    let steps = |row: &str| match row {
        "RESCALE-100K" => "100,000",
        "RESCALE-10M" => "ten million",
        _ => "a million",
    };
    let line = |case: &Case, series: &Series| {
        let from = [case.parallelism, 5, 1];
        let mut line = vec![steps(case.row).to_string(), case.parallelism.to_string(), series.name.clone()];
        for figure in ["stopped_ms", "checkpoint_ms"] {
            line.extend(
                from.into_iter()
                    .zip([5, 1, 3])
                    .map(|(from, to)| number(series.median(&format!("{figure}_{from}_{to}")))),
            );
        }
        line
    };
    let cases = RESCALES.iter().flat_map(|row| cases(results, row));
    let lines: Vec<_> =
        cases.flat_map(|case| case.series.iter().map(move |series| line(case, series))).collect();
    let columns =
        ["keys", "p", "program", "p to 5", "5 to 1", "1 to 3", "checkpoint: p to 5", "5 to 1", "1 to 3"];
    table(
        "RESCALE: milliseconds that records stand still, and those of the checkpoint before",
        &names(&columns),
        &lines,
    )
}

/// What checkpoints of a large state write of which a hundredth changes.
fn touched(results: &Results) -> String {
    let line = |case: &Case, series: &Series| {
        let mut line = vec![case.parallelism.to_string(), series.name.clone()];
        let figures = ["state_mb", "new_mb", "checkpoints", "peak_rss_mb"];
        line.extend(figures.map(|figure| number(series.median(figure))));
        line
    };
    let cases = cases(results, "TOUCHED");
    let lines: Vec<_> =
        cases.flat_map(|case| case.series.iter().map(move |series| line(case, series))).collect();
    let columns =
        ["p", "program", "MB of the last checkpoint", "of these new", "checkpoints", "MB of memory"];
    table("TOUCHED: ten million keys, of which one in a hundred changes", &names(&columns), &lines)
}

/// A region beside one that crashes.
fn regions(results: &Results) -> String {
    let line = |case: &Case| {
        let own = &case.series[0];
        let median = |figure| own.median(figure);
        let millions = |figure| number(median(figure).map(|rate| rate / 1e6));
        let same = if median("same_output") == Some(1.0) { "yes" } else { "no" };
        vec![
            case.parallelism.to_string(),
            millions("calm_records_per_s"),
            millions("shaken_records_per_s"),
            number(median("shaken_to_calm")),
            number(median("calm_checkpoints")),
            number(median("shaken_checkpoints")),
            number(median("restarts_of_the_other")),
            number(median("restarts")),
            same.to_string(),
        ]
    };
    let lines: Vec<_> = cases(results, "REGIONS").map(line).collect();
    let columns = [
        "p",
        "M records/s beside a calm region",
        "beside one that crashes",
        "ratio",
        "checkpoints",
        "beside one that crashes",
        "its crashes",
        "own restarts",
        "same output",
    ];
    table("REGIONS: W2 beside another region", &names(&columns), &lines)
}

/// What it costs to be able to take back a record.
fn supervised(results: &Results) -> String {
    let line = |case: &Case| {
        let own = &case.series[0];
        let millions = |figure| number(own.median(figure).map(|rate| rate / 1e6));
        vec![
            case.parallelism.to_string(),
            millions("plain_records_per_s"),
            millions("kept_records_per_s"),
            number(own.median("kept_to_plain")),
        ]
    };
    let lines: Vec<_> = cases(results, "SUPERVISED").map(line).collect();
    let columns = ["p", "M records/s", "with records that can be left out", "ratio"];
    table("SUPERVISED: W2 with and without what it takes to leave a record out", &names(&columns), &lines)
}

/// What is wrong, and what is missing.
fn notes(results: &Results) -> String {
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for case in &results.0 {
        for series in case.series.iter().filter(|series| series.failed) {
            missing.entry(&series.name).or_default().insert(case.row);
        }
    }
    let mut notes = results.problems();
    notes.extend(missing.iter().map(|(program, rows)| {
        let rows: Vec<&str> = rows.iter().copied().collect();
        format!("{program} has no result in {}", rows.join(", "))
    }));
    if notes.is_empty() { String::new() } else { format!("\n## Notes\n\n- {}\n", notes.join("\n- ")) }
}
