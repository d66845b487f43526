//! Which entries are read back after they were written.

use super::*;
use std::cell::Cell;

thread_local! {
    static READ: Cell<usize> = const { Cell::new(0) };
}

/// Counts how often one is read, and cannot be read if it is rotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
struct Apple(u64);

const ROTTEN: u64 = 13;

impl TryFrom<u64> for Apple {
    type Error = &'static str;

    fn try_from(number: u64) -> Result<Self, &'static str> {
        READ.set(READ.get() + 1);
        if number == ROTTEN { Err("it is rotten") } else { Ok(Self(number)) }
    }
}

impl From<Apple> for u64 {
    fn from(Apple(number): Apple) -> u64 {
        number
    }
}

type Apples = KeyedTable<u32, Apple>;

fn put(table: &mut Apples, key: u32, number: u64) {
    table.entry(hash_key(&key), key).1.0 = number;
}

/// Makes a snapshot, of which so many entries are read back, and which is complete then if it succeeds.
fn read_back(table: &mut Apples, checkpoint: u64) -> (usize, Result<(), CodecError>) {
    READ.set(0);
    table.begin_snapshot(checkpoint);
    let made = loop {
        match table.snapshot_slice(64) {
            Ok(SliceProgress::More) => {}
            Ok(SliceProgress::Done) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if made.is_ok() {
        table.take_sections();
        table.complete(checkpoint);
    }
    (READ.get(), made)
}

#[test]
fn the_first_entries_of_a_table_are_read_back_once_and_not_with_each_snapshot() {
    let mut table = Apples::new(groups(4), 0..4);
    let read: usize = (1..=100)
        .map(|checkpoint| {
            (0..32).for_each(|key| put(&mut table, key, 100 + checkpoint));
            let (read, made) = read_back(&mut table, checkpoint);
            made.unwrap();
            read
        })
        .sum();
    // The first 64, and one in 16 of the others: 3,200 were written.
    assert_eq!(read, 64 + (3_200 - 64) / 16);
}

#[test]
fn the_sample_goes_on_where_each_snapshot_is_of_one_entry() {
    let mut table = Apples::new(groups(4), 0..4);
    table.always_save_changes();
    (0..64).for_each(|key| put(&mut table, key, 1));
    read_back(&mut table, 1).1.unwrap();
    let is_read = |checkpoint: u64| {
        put(&mut table, 7, 100 + checkpoint);
        read_back(&mut table, checkpoint).0 > 0
    };
    // One in 16, and those of the few that hold everything.
    let read = (2..162).map(is_read).filter(|is_read| *is_read).count();
    assert!((10..20).contains(&read), "{read}");
}

#[test]
fn after_an_entry_could_not_be_read_back_no_snapshot_with_it_counts() {
    let mut table = Apples::new(groups(4), 0..4);
    (0..1_000).for_each(|key| put(&mut table, key, 1));
    read_back(&mut table, 1).1.unwrap();
    let mut checkpoint = 1;
    // Sooner or later it is one of those that are looked at.
    let found = (0..200).any(|round| {
        put(&mut table, 500, ROTTEN);
        checkpoint += 1;
        // Others move it in the order in which the sample counts.
        (0..round % 16).for_each(|key| put(&mut table, key, 1_000 + u64::from(round)));
        read_back(&mut table, checkpoint).1.is_err()
    });
    assert!(found);
    for round in 0..100 {
        checkpoint += 1;
        (0..=round % 16).for_each(|key| put(&mut table, key, 1_000 + u64::from(round)));
        let (_, made) = read_back(&mut table, checkpoint);
        assert!(matches!(made, Err(CodecError::Unreadable { .. })), "{round}: {made:?}");
    }
    // Once it is sound, the next snapshot counts, with all that it holds read back, and those after it are sampled.
    put(&mut table, 500, 2);
    let (read, made) = read_back(&mut table, checkpoint + 1);
    made.unwrap();
    assert!(read > 1, "{read}");
    (0..320).for_each(|key| put(&mut table, key, 3));
    let (read, made) = read_back(&mut table, checkpoint + 2);
    made.unwrap();
    assert!((19..=21).contains(&read), "{read}");
}
