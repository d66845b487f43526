//! Tables over databases: what these are given, and what becomes of them when the disk refuses.

use super::*;

#[test]
fn what_was_saved_in_memory_can_be_restored_over_a_database_that_has_less_room() {
    let mut before = table(4);
    (0..400).for_each(|key| set(&mut before, key, u64::from(key) + 1));
    before.begin_snapshot(1);
    let sections = finish(&mut before, 100);
    let mut after = over(4, Below::map().database, 10);
    for section in &sections {
        after.restore(section).unwrap();
    }
    assert!(after.len() <= 10);
    for key in 0..400 {
        assert_eq!(after.get(hash_key(&key), &key), Some(&(u64::from(key) + 1)));
    }
    assert!(matches!(after.restore(&sections[0]), Err(CodecError::Duplicate { .. })));
}

#[test]
fn what_several_instances_had_in_memory_is_spread_evenly_in_one_that_has_as_much_room() {
    let sections = |index| {
        let (all, owned) = (groups(128), groups(128).range(index, 5));
        let mut table = KeyedTable::new(all, owned.clone());
        for key in (0..100_000_u32).filter(|key| owned.contains(&all.group_of(hash_key(key)))) {
            *table.entry(hash_key(&key), key).1 = u64::from(key) + 1;
        }
        table.begin_snapshot(1);
        SavedInstance::from(finish(&mut table, usize::MAX))
    };
    let saved: Vec<SavedInstance> = (0..5).map(sections).collect();
    for room in [20_000, 99_000, 200_000] {
        let mut table = over(128, Below::map().database, room);
        table.restore_saved(&saved).unwrap();
        let expected = if room < 100_000 { room * 7 / 8..=room } else { 100_000..=100_000 };
        assert!(expected.contains(&table.len()), "{} of {room}", table.len());
        assert!(table.entries.longest_run() < 400, "{}", table.entries.longest_run());
        for key in 0..100_000 {
            assert_eq!(table.get(hash_key(&key), &key), Some(&(u64::from(key) + 1)));
        }
    }
}

/// A database on a disk that refuses everything.
#[derive(Debug)]
struct Refusing;

impl Refusing {
    fn refuse() -> Result<(), StoreError> {
        Err(StoreError::Io { path: "db".into(), doing: "read", source: std::io::Error::other("refused") })
    }
}

impl Database for Refusing {
    fn get(&self, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        Self::refuse()
    }
    fn write(&self, _: &crate::database::Changes) -> Result<(), StoreError> {
        Self::refuse()
    }
    fn scan(&self, _: &Range<u16>, _: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        Self::refuse()
    }
    fn copy_to(&self, _: &Path) -> Result<(), StoreError> {
        Self::refuse()
    }
    fn scratch(&self) -> &Path {
        Path::new("db")
    }
    fn waiting_bytes_max(&self) -> usize {
        usize::MAX
    }
}

#[test]
fn where_the_disk_refuses_nobody_is_given_a_state_that_is_not_the_real_one() {
    let mut table = over(4, Arc::new(Refusing), 10);
    let looked =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| *table.entry(hash_key(&1_u32), 1).1));
    let fault = looked.unwrap_err().downcast::<crate::StateFault>().unwrap();
    assert!(matches!(*fault, crate::StateFault::Store(StoreError::Io { .. })), "{fault}");
    assert!(table.is_empty());
    let fault = table.peek(&1, |state| *state).unwrap_err();
    assert!(matches!(fault, crate::StateFault::Store(StoreError::Io { .. })), "{fault}");
}

/// The entries of four snapshots that are complete each before the next begins, and what the database has after them.
fn four_snapshots(bench: &mut Bench) -> ([u32; 4], usize) {
    let entries = std::array::from_fn(|_| {
        bench.run(Step::Begin);
        bench.run(Step::Slice(usize::MAX));
        let made = bench.made.as_ref().unwrap();
        let entries = made.layers.last().unwrap().iter().map(|section| section.entries).sum::<u32>();
        bench.run(Step::Complete);
        while bench.table.write_back(100) {}
        entries
    });
    let mut there = 0;
    let count_it = &mut |_: &[u8], _: &[u8]| {
        there += 1;
        true
    };
    bench.below.as_ref().unwrap().database.scan(&(0..4), count_it).unwrap();
    (entries, there)
}

#[test]
fn as_long_as_all_has_room_the_database_is_given_nothing_and_snapshots_hold_changes() {
    let mut bench = Bench::new(4, Some(1_000));
    (0..400).for_each(|key| bench.run(Step::Set(key, 1)));
    assert_eq!(four_snapshots(&mut bench), ([400, 0, 0, 0], 0));
}

#[test]
fn once_there_was_no_room_the_database_is_given_what_does_not_change() {
    let mut bench = Bench::new(4, Some(300));
    (0..400).for_each(|key| bench.run(Step::Set(key, 1)));
    let had_room = bench.table.len() as u32;
    assert_eq!(four_snapshots(&mut bench), ([had_room, 0, 0, 0], 400));
    // What changes then is given to it as well, when it has not changed again for a whole snapshot.
    bench.run(Step::Set(399, 2));
    assert_eq!(four_snapshots(&mut bench).0, [1, 1, 0, 0]);
}

#[test]
fn a_table_over_a_database_takes_memory_as_it_needs_it_and_no_more_than_it_may() {
    let mut table = over(1, Below::map().database, 1_000);
    (0..10).for_each(|key| set(&mut table, key, 1));
    assert!(table.entries.slots() < 100, "{}", table.entries.slots());
    (0..100_000).for_each(|key| set(&mut table, key, 1));
    // Several go at a time.
    assert!((800..=1_000).contains(&table.len()), "{}", table.len());
    assert!(table.entries.slots() < 1_000 * 8 / 5 + 200, "{}", table.entries.slots());
}

#[test]
fn those_that_go_leave_the_others_spread_evenly() {
    let mut table = over(1, Below::map().database, 100_000);
    let mut longest = 0;
    for key in 0..500_000 {
        set(&mut table, key, 1);
        if key % 5_000 == 0 {
            longest = longest.max(table.entries.longest_run());
        }
    }
    assert!((99_000..=100_000).contains(&table.len()), "{}", table.len());
    // Of 160,000 slots five in eight are occupied.
    assert!(longest < 400, "{longest}");
}

/// A table of long states that may take so many bytes.
fn within(bytes: usize) -> KeyedTable<u32, Vec<u8>> {
    let buffer = SharedBuffer::new(WriteBuffer::new(Arc::<MapDatabase>::default(), DatabaseCopy::default()));
    KeyedTable::over(groups(4), 0..4, buffer, move |entry| bytes / entry)
}

fn bytes_of(table: &KeyedTable<u32, Vec<u8>>) -> usize {
    table.iter().map(|(_, state)| state.len()).sum()
}

#[test]
fn states_that_grow_where_they_are_go_when_they_have_no_room_any_more() {
    let mut table = within(1_000_000);
    for round in 1..=50 {
        for key in 0..200 {
            table.entry(hash_key(&key), key).1.resize(round * 1_000, 1);
            table.write_back(100);
        }
        assert!(bytes_of(&table) < 1_300_000, "{} in round {round}", bytes_of(&table));
    }
    assert!(bytes_of(&table) > 500_000, "{}", bytes_of(&table));
    for key in 0..200 {
        assert!(table.get(hash_key(&key), &key) == Some(&vec![1; 50_000]), "{key}");
    }
}

#[test]
fn as_many_states_are_restored_into_memory_as_have_room_there() {
    let mut before = KeyedTable::new(groups(4), 0..4);
    for key in 0..1_000_u32 {
        *before.entry(hash_key(&key), key).1 = vec![1; 10_000];
    }
    before.begin_snapshot(1);
    let mut sections = Vec::new();
    while before.snapshot_slice(100).unwrap() == SliceProgress::More {}
    sections.extend(before.take_sections());
    let mut after = within(1_000_000);
    after.restore_saved(&[SavedInstance::from(sections)]).unwrap();
    assert!((500_000..=1_000_000).contains(&bytes_of(&after)), "{}", bytes_of(&after));
    for key in 0..1_000 {
        assert_eq!(after.get(hash_key(&key), &key).map(Vec::len), Some(10_000));
    }
}

#[test]
fn what_does_not_change_is_written_also_where_snapshots_come_faster_than_it_is_looked_at() {
    let mut bench = Bench::new(4, Some(300));
    (0..400).for_each(|key| bench.run(Step::Set(key, 1)));
    let mut entries = u32::MAX;
    for _ in 0..1_000 {
        bench.run(Step::Begin);
        bench.run(Step::Slice(usize::MAX));
        let made = bench.made.as_ref().unwrap();
        entries = made.layers.last().unwrap().iter().map(|section| section.entries).sum();
        bench.run(Step::Complete);
        bench.run(Step::WriteBack(50));
    }
    assert_eq!(entries, 0);
}

#[test]
fn what_is_gone_is_not_remembered_where_the_next_snapshot_holds_everything() {
    let mut bench = Bench::new(4, Some(50));
    (0..400).for_each(|key| bench.run(Step::Set(key, 1)));
    for snapshot in [true, false] {
        if snapshot {
            bench.run(Step::Begin);
            bench.run(Step::Slice(usize::MAX));
            bench.run(Step::Complete);
        }
        // What these push out is given to the database, so that no addition can be made to that snapshot.
        (400..500).for_each(|key| bench.run(Step::Set(key, 1)));
        (0..400).for_each(|key| bench.run(Step::Remove(key)));
        assert_eq!(bench.table.saving.removals_remembered(), 0);
    }
}
