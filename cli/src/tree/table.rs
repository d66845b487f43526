//! The tree as a table.

#[cfg(test)]
mod tests;

use watershed_runtime::{FailureNode, InstanceNode, OperatorNode, RegionNode, Shares, Tree};
use watershed_state::iso_time;

use crate::units::{bytes, count, duration};

const HEADINGS: [&str; 16] = [
    "",
    "STATE",
    "RECORDS",
    "IN/s",
    "IN B/s",
    "OUT/s",
    "OUT B/s",
    "MAILBOX",
    "CREDITS",
    "BUSY",
    "IDLE",
    "BLOCKED",
    "SKIPPED",
    "PARKED",
    "PROGRESS",
    "WATERMARK",
];

/// Failures of a region that are shown.
const FAILURES: usize = 3;

/// A line of the table.
enum Line {
    /// What stands by itself.
    Text(String),
    /// What stands in columns.
    Row(Vec<String>),
}

/// The tree as lines, with rates and shares since the picture before.
pub(super) fn lines(before: Option<&Tree>, tree: &Tree) -> Vec<String> {
    let mut table = vec![Line::Text(job(tree)), Line::Row(HEADINGS.map(str::to_string).to_vec())];
    for node in &tree.regions {
        table.push(Line::Text(region(node)));
        let skipped = node.recent_failures.len().saturating_sub(FAILURES);
        let failures = node.recent_failures.iter().skip(skipped);
        table.extend(failures.map(|node| Line::Text(failure(node, tree.taken_ms))));
        for operator in &node.operators {
            table.push(Line::Text(format!("  {} ({})", operator.operator, operator.kind)));
            let rows = operator.instances.iter().map(|node| Line::Row(row(before, tree, operator, node)));
            table.extend(rows);
        }
    }
    aligned(&table)
}

fn job(tree: &Tree) -> String {
    let checkpoint = match (&tree.newest_checkpoint, tree.checkpoint_age_ms()) {
        (Some(newest), Some(age_ms)) => {
            let took = newest.duration_ms.map_or(String::new(), |ms| format!(", took {}", duration(ms)));
            let (id, age) = (newest.id, duration(age_ms));
            let size = format!("{} ({} new)", bytes(newest.bytes), bytes(newest.new_bytes));
            format!("checkpoint {id}, {age} old ({}){took}, {size}", iso_time(newest.completed_ms))
        }
        _ => "no checkpoint".to_string(),
    };
    format!("{}  {checkpoint}  lineage {}", tree.job, tree.lineage)
}

fn region(node: &RegionNode) -> String {
    let restarts = match node.restarts {
        0 => "never restarted".to_string(),
        1 => "restarted once".to_string(),
        times => format!("restarted {times} times"),
    };
    format!("region {}  {}, run {}, {restarts}", node.region, node.state, node.run)
}

fn failure(node: &FailureNode, now_ms: i64) -> String {
    let ago = duration(u64::try_from(now_ms.saturating_sub(node.at_ms)).unwrap_or(0));
    let key = node.key.as_ref().map_or(String::new(), |key| format!(" (key {key})"));
    let restart =
        node.restarted_by.as_ref().map_or(String::new(), |level| format!("; restart by the {level}"));
    let FailureNode { instance, run, kind, cause, .. } = node;
    let at = iso_time(node.at_ms);
    format!("  ! {instance} {ago} ago ({at}), run {run}: {kind}: {cause}{key}{restart}")
}

fn row(before: Option<&Tree>, tree: &Tree, operator: &OperatorNode, node: &InstanceNode) -> Vec<String> {
    let earlier =
        before.and_then(|before| Some((before, before.instance(&operator.operator, node.instance)?)));
    let nanos = before.map_or(0, |before| tree.taken_nanos.saturating_sub(before.taken_nanos));
    let rate = |of: fn(&InstanceNode) -> u64| {
        let (_, earlier) = earlier.filter(|_| nanos > 0)?;
        let more = u128::from(of(node).saturating_sub(of(earlier)));
        Some((more * 1_000_000_000 / u128::from(nanos)) as u64)
    };
    let counted = |of| rate(of).map_or("-".to_string(), count);
    let sized = |of| rate(of).map_or("-".to_string(), bytes);
    let shares = earlier.and_then(|(_, earlier)| Shares::between(earlier.time, node.time));
    let percent = |of: fn(Shares) -> u64| shares.map_or("-".to_string(), |all| format!("{}%", of(all)));
    let progress = node.progress.as_ref().map_or("-".to_string(), |progress| {
        format!("{}% {}/{}", progress.percent(), progress.splits_finished, progress.splits)
    });
    let watermark = match node.watermark {
        None => "-".to_string(),
        Some(i64::MAX) => "end".to_string(),
        Some(at) => format!("{at} {}", iso_time(at)),
    };
    vec![
        format!("    {}[{}]", operator.operator, node.instance),
        node.state.to_string(),
        count(node.records),
        counted(|node| node.records),
        sized(|node| node.bytes),
        counted(|node| node.records_sent),
        sized(|node| node.bytes_sent),
        part_of(node.mailbox, node.mailbox_capacity),
        part_of(node.credits, node.credits_total),
        percent(|all| all.busy),
        percent(|all| all.idle),
        percent(|all| all.blocked),
        count(node.records_skipped),
        count(node.records_parked),
        progress,
        watermark,
    ]
}

/// So many of so many; of none there is nothing to say, as of the mailbox of a source.
fn part_of(number: u32, whole: u32) -> String {
    if whole == 0 { "-".to_string() } else { format!("{number}/{whole}") }
}

/// Columns below each other: names and states to the left, numbers to the right.
fn aligned(table: &[Line]) -> Vec<String> {
    let rows = || table.iter().filter_map(|line| if let Line::Row(row) = line { Some(row) } else { None });
    let width = |column: usize| rows().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let line = |line: &Line| match line {
        Line::Text(text) => text.clone(),
        Line::Row(row) => {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            cells.collect::<Vec<_>>().join("  ")
        }
    };
    table.iter().map(line).collect()
}
