//! The tree as text, as it stands in the log.

use watershed_state::{iso_time, shown};

use crate::tree::{InstanceNode, ProgressNode, RegionNode, Shares, TimeNode, Tree};

impl Tree {
    /// One line a node, in order, without line ends. Shares of time are those since the process began.
    pub fn lines(&self) -> Vec<String> {
        of(self).iter().map(|line| shown(line).to_string()).collect()
    }
}

/// One line a node. The columns of all instances stand below each other.
fn of(tree: &Tree) -> Vec<String> {
    let mut rows = Vec::new();
    for region in &tree.regions {
        for operator in &region.operators {
            rows.extend(operator.instances.iter().map(|node| columns(&operator.operator, region, node)));
        }
    }
    let mut instances = aligned(&rows).into_iter();
    let mut lines = vec![job(tree)];
    for region in &tree.regions {
        lines.push(format!(
            "  region {} state={} run={} restarts={}{}",
            region.region,
            region.state,
            region.run,
            region.restarts,
            failed(region.last_failure.as_ref())
        ));
        for operator in &region.operators {
            let count = operator.instances.len();
            lines.push(format!("    {} ({}) instances={count}", operator.operator, operator.kind));
            let rests = operator.instances.iter().map(|node| {
                format!("{}{}", progress(node.progress.as_ref()), failed(node.last_failure.as_ref()))
            });
            let with_rests = rests.zip(instances.by_ref());
            lines.extend(with_rests.map(|(rest, line)| format!("      {line}{rest}")));
        }
    }
    lines
}

fn job(tree: &Tree) -> String {
    let checkpoint = tree.checkpoint.map_or("none".to_string(), |id| id.to_string());
    let made = tree.newest_checkpoint.as_ref().zip(tree.checkpoint_age_ms()).map(|(newest, age_ms)| {
        let took = newest.duration_ms.map_or(String::new(), |ms| format!(" took_ms={ms}"));
        let at = iso_time(newest.completed_ms);
        format!(" completed_at={at} age_ms={age_ms}{took} bytes={} new={}", newest.bytes, newest.new_bytes)
    });
    format!("job {} lineage={} checkpoint={checkpoint}{}", tree.job, tree.lineage, made.unwrap_or_default())
}

fn columns(operator: &str, region: &RegionNode, node: &InstanceNode) -> Vec<String> {
    let mut columns = vec![
        format!("{operator}[{}]", node.instance),
        format!("arbiter={}", node.arbiter),
        format!("state={}", node.state),
        format!("run={}", node.run),
        format!("restarts={}", region.restarts),
        format!("failures={}", node.failures),
        format!("records={}", node.records),
        format!("sent={}", node.records_sent),
        format!("mailbox={}/{}", node.mailbox, node.mailbox_capacity),
        format!("credits={}/{}", node.credits, node.credits_total),
    ];
    let shares = Shares::between(TimeNode::default(), node.time);
    let percent = |share: fn(Shares) -> u64| shares.map_or("-".to_string(), |all| format!("{}%", share(all)));
    columns.push(format!("busy={}", percent(|all| all.busy)));
    columns.push(format!("idle={}", percent(|all| all.idle)));
    columns.push(format!("blocked={}", percent(|all| all.blocked)));
    columns.push(format!("watermark={}", watermark(node.watermark)));
    columns.push(format!("skipped={}", node.records_skipped));
    columns.push(format!("parked={}", node.records_parked));
    columns
}

fn watermark(at: Option<i64>) -> String {
    match at {
        None => "none".to_string(),
        Some(i64::MAX) => "end".to_string(),
        Some(at) => format!("{at}/{}", iso_time(at)),
    }
}

fn progress(progress: Option<&ProgressNode>) -> String {
    let Some(progress) = progress else { return String::new() };
    let at_hand = progress.at_hand.as_ref();
    let at_hand =
        at_hand.map_or(String::new(), |split| format!(" {}={}/{}", split.unit, split.done, split.total));
    let ProgressNode { splits_finished, splits, .. } = progress;
    format!(" progress={}% splits={splits_finished}/{splits}{at_hand}", progress.percent())
}

fn failed(failure: Option<&String>) -> String {
    failure.map_or(String::new(), |failure| format!(" last_failure=\"{failure}\""))
}

/// Rows of the same number of columns as lines, with each column as wide as its widest.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join(" ").trim_end().to_string()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use watershed_actors::ProgressUnit;

    use crate::tree::{ActorKind, CheckpointNode, InstanceState, OperatorNode, RegionState, SplitNode};

    fn instance(number: usize, time: TimeNode) -> InstanceNode {
        InstanceNode {
            instance: number,
            arbiter: number,
            state: InstanceState::Running,
            run: 4,
            records: 120,
            bytes: 960,
            records_sent: 7,
            bytes_sent: 112,
            records_skipped: 0,
            records_parked: 0,
            mailbox: 3,
            mailbox_capacity: 16,
            credits: 8,
            credits_total: 8,
            time,
            progress: None,
            watermark: None,
            failures: 0,
            last_failure: None,
            recent_failures: Vec::new(),
        }
    }

    #[test]
    fn a_tree_has_a_line_for_each_node_and_its_columns_are_aligned() {
        let half = SplitNode { done: 50, total: 100, unit: ProgressUnit::Bytes };
        let held_back = TimeNode { busy_nanos: 125, idle_nanos: 0, blocked_nanos: 875 };
        let failed = InstanceNode {
            failures: 1,
            last_failure: Some("panicked: oh (key 7)".to_string()),
            records: 9,
            progress: Some(ProgressNode { splits_finished: 3, splits: 8, at_hand: Some(half) }),
            mailbox: 16,
            watermark: Some(1_700),
            ..instance(1, held_back)
        };
        let operator = OperatorNode {
            operator: "count".to_string(),
            kind: ActorKind::Process,
            instances: vec![instance(0, TimeNode::default()), failed],
        };
        let region = RegionNode {
            region: 0,
            state: RegionState::Running,
            run: 4,
            restarts: 3,
            last_failure: Some("count[1] panicked: oh (key 7)".to_string()),
            recent_failures: Vec::new(),
            operators: vec![operator],
        };
        let newest =
            CheckpointNode { id: 9, completed_ms: 5_000, duration_ms: Some(12), bytes: 345, new_bytes: 45 };
        let tree = Tree {
            job: "words".to_string(),
            lineage: "8a".to_string(),
            taken_ms: 6_500,
            taken_nanos: 0,
            checkpoint: Some(9),
            newest_checkpoint: Some(newest),
            regions: vec![region],
        };
        assert_eq!(
            tree.lines(),
            [
                "job words lineage=8a checkpoint=9 completed_at=1970-01-01T00:00:05.000Z age_ms=1500 took_ms=12 bytes=345 new=45",
                "  region 0 state=running run=4 restarts=3 last_failure=\"count[1] panicked: oh (key 7)\"",
                "    count (process) instances=2",
                "      count[0] arbiter=0 state=running run=4 restarts=3 failures=0 records=120 sent=7 mailbox=3/16  \
                 credits=8/8 busy=-   idle=-  blocked=-   watermark=none                          skipped=0 parked=0",
                "      count[1] arbiter=1 state=running run=4 restarts=3 failures=1 records=9   sent=7 mailbox=16/16 \
                 credits=8/8 busy=13% idle=0% blocked=88% watermark=1700/1970-01-01T00:00:01.700Z skipped=0 parked=0 \
                 progress=43% splits=3/8 bytes=50/100 \
                 last_failure=\"panicked: oh (key 7)\"",
            ]
        );
    }
}
