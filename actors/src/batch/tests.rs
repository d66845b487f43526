use proptest::prelude::*;

use super::*;

type Row = (u32, i64, u64);

fn batch(rows: &[Row], keyed: bool) -> Batch<u32> {
    let mut batch = Batch::default();
    for (value, at, hash) in rows {
        if keyed {
            batch.push_keyed(*value, *at, *hash);
        } else {
            batch.push(*value, *at);
        }
    }
    batch
}

/// The records as rows; fails if a column is neither whole nor absent.
fn rows(batch: &Batch<u32>) -> Vec<Row> {
    let whole = |column: usize| column == 0 || column == batch.len();
    assert!(
        whole(batch.timestamps.len()) && whole(batch.hashes.len()),
        "a column is only partly there: {batch:?}"
    );
    let hash = |index: usize| batch.hashes.get(index).copied().unwrap_or(0);
    (0..batch.len()).map(|index| (batch.values[index], batch.timestamp(index), hash(index))).collect()
}

#[test]
fn without_event_time_and_keys_there_are_only_values() {
    let batch = batch(&[(1, NO_TIMESTAMP, 0), (2, NO_TIMESTAMP, 0)], false);
    assert_eq!((batch.values.len(), batch.timestamps.len(), batch.hashes.len()), (2, 0, 0));
}

#[test]
fn the_first_event_time_makes_the_column_whole() {
    let rows_in = [(1, NO_TIMESTAMP, 0), (2, NO_TIMESTAMP, 0), (3, 30, 0), (4, NO_TIMESTAMP, 0), (5, 50, 0)];
    let batch = batch(&rows_in, false);
    assert_eq!(batch.timestamps, [NO_TIMESTAMP, NO_TIMESTAMP, 30, NO_TIMESTAMP, 50]);
    assert_eq!(rows(&batch), rows_in);
}

#[test]
fn a_cleared_batch_is_as_a_new_one() {
    let mut batch = batch(&[(1, 10, 7)], true);
    batch.clear();
    assert!(batch.is_empty());
    batch.push(2, NO_TIMESTAMP);
    assert_eq!(rows(&batch), [(2, NO_TIMESTAMP, 0)]);
}

#[test]
fn what_was_not_handed_over_stays_in_order_with_its_columns() {
    let rows_in = [(1, 10, 7), (2, NO_TIMESTAMP, 8), (3, 30, 9)];
    let mut batch = batch(&rows_in, true);
    let mut taken = Vec::new();
    let flow = batch.drain_while(|value, at, hash| {
        taken.push((value, at, hash));
        Flow::Blocked
    });
    assert_eq!((flow, &taken[..], &rows(&batch)[..]), (Flow::Blocked, &rows_in[..1], &rows_in[1..]));
}

#[test]
fn a_batch_whose_last_record_blocks_is_empty() {
    let mut batch = batch(&[(1, 10, 7)], true);
    assert_eq!(batch.drain_while(|_, _, _| Flow::Blocked), Flow::Blocked);
    assert!(rows(&batch).is_empty());
}

#[test]
fn an_empty_batch_asks_nobody() {
    let mut batch = Batch::<u32>::default();
    assert_eq!(batch.drain_while(|_, _, _| Flow::Blocked), Flow::Continue);
}

#[test]
fn either_being_blocked_blocks() {
    use Flow::{Blocked, Continue};
    for (one, other, both) in [
        (Continue, Continue, Continue),
        (Blocked, Continue, Blocked),
        (Continue, Blocked, Blocked),
        (Blocked, Blocked, Blocked),
    ] {
        assert_eq!(one.and(other), both);
    }
}

proptest! {
    /// Whatever is taken in whatever pieces, nothing is lost, doubled or separated from its time and hash.
    #[test]
    fn records_come_out_as_they_went_in_however_often_it_blocks(
        keyed in any::<bool>(),
        timed in any::<bool>(),
        inputs in proptest::collection::vec((any::<u32>(), 0..50_i64, any::<u64>()), 0..40),
        blocks in proptest::collection::vec(any::<bool>(), 80),
        more in proptest::collection::vec((any::<u32>(), 0..50_i64, any::<u64>()), 0..5),
    ) {
        let row = |(value, at, hash): Row| {
            // Some records have no time though others do.
            let at = if timed && at % 3 != 0 { at } else { NO_TIMESTAMP };
            (value, at, if keyed { hash } else { 0 })
        };
        let first: Vec<Row> = inputs.into_iter().map(row).collect();
        let later: Vec<Row> = more.into_iter().map(row).collect();
        let mut batch = batch(&first, keyed);
        let mut taken = Vec::new();
        let mut blocks = blocks.into_iter();
        let mut later_left = Some(&later);
        loop {
            let flow = batch.drain_while(|value, at, hash| {
                taken.push((value, at, hash));
                if blocks.next() == Some(true) { Flow::Blocked } else { Flow::Continue }
            });
            prop_assert_eq!(rows(&batch).len() + taken.len(), first.len() + if later_left.is_some() { 0 } else { later.len() });
            // A batch that was partly taken can be filled again.
            if let Some(rows) = later_left.take() {
                for (value, at, hash) in rows {
                    if keyed {
                        batch.push_keyed(*value, *at, *hash);
                    } else {
                        batch.push(*value, *at);
                    }
                }
            } else if flow == Flow::Continue {
                break;
            }
        }
        prop_assert_eq!(taken, [first, later].concat());
    }
}
