use watershed_runtime::{
    ActorKind, CheckpointNode, FailureKind, InstanceState, ProgressNode, ProgressUnit, RegionState,
    SplitNode, TimeNode,
};

use super::*;

fn instance(records: u64, time: TimeNode) -> InstanceNode {
    InstanceNode {
        instance: 0,
        arbiter: 0,
        state: InstanceState::Running,
        run: 4,
        records,
        bytes: records * 24,
        records_sent: records / 2,
        bytes_sent: records * 4,
        records_skipped: 1,
        records_parked: 2,
        mailbox: 16,
        mailbox_capacity: 16,
        credits: 3,
        credits_total: 8,
        time,
        progress: None,
        watermark: Some(1_700),
        failures: 1,
        last_failure: None,
        recent_failures: Vec::new(),
    }
}

fn tree(seconds: u64, node: InstanceNode) -> Tree {
    let failure = |at_ms: i64| FailureNode {
        at_ms,
        instance: "count[0]".to_string(),
        run: 3,
        kind: FailureKind::Panic,
        cause: "oh\nno".to_string(),
        key: Some("7".to_string()),
        restarted_by: None,
    };
    let operator =
        OperatorNode { operator: "count".to_string(), kind: ActorKind::Process, instances: vec![node] };
    let region = RegionNode {
        region: 0,
        state: RegionState::Running,
        run: 4,
        restarts: 5,
        last_failure: None,
        recent_failures: (1..=5).map(|second| failure(second * 1_000)).collect(),
        operators: vec![operator],
    };
    Tree {
        job: "words".to_string(),
        lineage: "8a".to_string(),
        taken_ms: seconds as i64 * 1_000,
        taken_nanos: seconds * 1_000_000_000,
        checkpoint: Some(9),
        newest_checkpoint: Some(CheckpointNode {
            id: 9,
            completed_ms: 5_500,
            duration_ms: Some(41),
            bytes: 1_234_567,
            new_bytes: 34_500,
        }),
        regions: vec![region],
    }
}

#[test]
fn rates_and_shares_are_those_between_two_pictures() {
    let before =
        tree(10, instance(100_000, TimeNode { busy_nanos: 9_000, idle_nanos: 77, blocked_nanos: 0 }));
    let after =
        tree(12, instance(150_000, TimeNode { busy_nanos: 9_250, idle_nanos: 77, blocked_nanos: 750 }));
    // They are escaped where they are written.
    let shown = lines(Some(&before), &after).into_iter().map(|line| watershed_state::shown(line).to_string());
    let shown = shown.collect::<Vec<_>>().join("\n");
    let expected = "\
words  checkpoint 9, 6.5 s old (1970-01-01T00:00:05.500Z), took 41 ms, 1.23 MB (34.5 kB new)  lineage 8a
              STATE    RECORDS   IN/s  IN B/s  OUT/s  OUT B/s  MAILBOX  CREDITS  BUSY  IDLE  BLOCKED  SKIPPED  PARKED  PROGRESS                      WATERMARK
region 0  running, run 4, restarted 5 times
  ! count[0] 9.0 s ago (1970-01-01T00:00:03.000Z), run 3: panic: oh\\nno (key 7)
  ! count[0] 8.0 s ago (1970-01-01T00:00:04.000Z), run 3: panic: oh\\nno (key 7)
  ! count[0] 7.0 s ago (1970-01-01T00:00:05.000Z), run 3: panic: oh\\nno (key 7)
  count (process)
    count[0]  running     150k  25.0k  600 kB  12.5k   100 kB    16/16      3/8   25%    0%      75%        1       2         -  1700 1970-01-01T00:00:01.700Z";
    assert_eq!(shown, expected);
}

#[test]
fn without_a_picture_before_there_are_no_rates() {
    let shown = lines(None, &tree(10, instance(100, TimeNode::default())));
    let row: Vec<&str> = shown.last().map(|line| line.split_whitespace().collect()).unwrap();
    assert_eq!(
        row,
        [
            "count[0]",
            "running",
            "100",
            "-",
            "-",
            "-",
            "-",
            "16/16",
            "3/8",
            "-",
            "-",
            "-",
            "1",
            "2",
            "-",
            "1700",
            "1970-01-01T00:00:01.700Z"
        ]
    );
}

#[test]
fn a_source_has_no_mailbox_and_a_sink_no_credits() {
    let node = InstanceNode { mailbox_capacity: 0, credits_total: 0, ..instance(1, TimeNode::default()) };
    let shown = lines(None, &tree(10, node));
    let row: Vec<&str> = shown.last().map(|line| line.split_whitespace().collect()).unwrap();
    assert_eq!(row[7..9], ["-", "-"]);
}

#[test]
fn a_source_that_ends_shows_how_far_it_has_come() {
    let at_hand = Some(SplitNode { done: 1, total: 4, unit: ProgressUnit::Records });
    let progress = Some(ProgressNode { splits_finished: 3, splits: 5, at_hand });
    let shown = lines(None, &tree(10, InstanceNode { progress, ..instance(1, TimeNode::default()) }));
    assert!(shown.last().unwrap().contains("  65% 3/5  "), "{shown:?}");
}

#[test]
fn counters_that_begin_anew_are_no_negative_rates() {
    let before = tree(10, instance(100_000, TimeNode { busy_nanos: 5, idle_nanos: 5, blocked_nanos: 5 }));
    let after = tree(11, instance(0, TimeNode::default()));
    let shown = lines(Some(&before), &after);
    let row: Vec<&str> = shown.last().map(|line| line.split_whitespace().collect()).unwrap();
    assert_eq!(row[3..9], ["0", "0", "B", "0", "0", "B"]);
}
