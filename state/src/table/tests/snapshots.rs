//! What snapshots hold, how long their slices take, and what ends them.

use super::*;

#[test]
fn a_snapshot_after_a_complete_one_holds_what_has_changed() {
    let mut bench = Bench::new(4, None);
    (0..400).for_each(|key| bench.run(Step::Set(key, 1)));
    for round in 0..5 {
        bench.run(Step::Begin);
        bench.run(Step::Slice(usize::MAX));
        let entries = |sections: &[Section]| sections.iter().map(|section| section.entries).sum::<u32>();
        let made = bench.made.as_ref().unwrap();
        assert_eq!(made.layers.len(), round + 1);
        assert_eq!(entries(made.layers.last().unwrap()), if round == 0 { 400 } else { 3 });
        bench.run(Step::Complete);
        bench.run(Step::Set(7, round as u64));
        bench.run(Step::Set(8, round as u64));
        bench.run(Step::Remove(100 + round as u32));
    }
}

#[test]
fn before_a_checkpoint_is_complete_each_snapshot_holds_everything() {
    let mut table = table(8);
    for round in 0..5 {
        set(&mut table, 7, round);
        for key in 0..100 {
            set(&mut table, key + 1_000, 1);
        }
        table.begin_snapshot(1);
        let sections = finish(&mut table, 16);
        assert_eq!(sections.iter().map(|section| section.entries).sum::<u32>(), 101);
        assert_eq!(contents(&restored(8, &sections)), contents(&table));
    }
}

#[test]
fn after_a_loss_the_next_snapshot_holds_everything_and_later_ones_add_to_it() {
    let mut table = table(4);
    table.always_save_changes();
    (0..100).for_each(|key| set(&mut table, key, 1));
    for (checkpoint, base) in [(1, None), (2, Some(1)), (3, Some(2))] {
        set(&mut table, 7, checkpoint);
        assert_eq!(table.begin_snapshot(checkpoint).base, base);
        finish(&mut table, 16);
        table.complete(checkpoint);
    }
    set(&mut table, 8, 4);
    table.save_all();
    assert_eq!(table.begin_snapshot(4).base, None);
    assert_eq!(contents(&restored(4, &finish(&mut table, 16))), contents(&table));
    table.complete(4);
    assert_eq!(table.begin_snapshot(5).base, Some(4));
}

#[test]
fn an_aborted_snapshot_does_not_hide_entries_from_the_next_one() {
    let mut table = table(4);
    (0..500).for_each(|key| set(&mut table, key, 1));
    table.begin_snapshot(1);
    table.snapshot_slice(300).unwrap();
    table.abort_snapshot();
    (200..300).for_each(|key| set(&mut table, key, 2));
    table.begin_snapshot(1);
    assert_eq!(contents(&restored(4, &finish(&mut table, 10))), contents(&table));
}

#[test]
fn a_slice_visits_no_more_slots_than_asked_for() {
    let mut table = table(1);
    (0..10_000).for_each(|key| set(&mut table, key, 1));
    table.begin_snapshot(1);
    table.snapshot_slice(100).unwrap();
    let below = table.running.unwrap().tag();
    let written = table.entries.iter().filter(|entry| u64::from(entry.tag) < below).count();
    // On to the next vacant slot.
    assert!((1..=200).contains(&written), "{written}");
}

#[test]
fn large_states_make_slices_shorter_and_sections_end_soon_after_their_limit() {
    let mut table: KeyedTable<u32, String> = KeyedTable::new(groups(1), 0..1);
    for key in 0..500_u32 {
        *table.entry(hash_key(&key), key).1 = "x".repeat(2_000);
    }
    table.begin_snapshot(1);
    let mut slices = 1;
    let mut sections = Vec::new();
    while table.snapshot_slice(2_000).unwrap() == SliceProgress::More {
        slices += 1;
        sections.extend(table.take_sections());
    }
    assert!(!sections.is_empty(), "large sections are available before the end");
    sections.extend(table.take_sections());
    assert!(slices >= 4, "{slices}");
    assert!(sections.len() > 1);
    assert!(sections.iter().all(|section| section.bytes.len() < 256 * 1024));
    assert_eq!(sections.iter().map(|section| section.entries).sum::<u32>(), 500);
}

#[test]
fn without_a_snapshot_a_slice_is_done_at_once() {
    let mut table = table(2);
    set(&mut table, 1, 1);
    assert_eq!(table.snapshot_slice(10).unwrap(), SliceProgress::Done);
    assert_eq!(table.take_sections(), []);
}

#[test]
fn a_snapshot_of_nothing_has_no_sections() {
    let mut table = table(128);
    table.begin_snapshot(1);
    assert_eq!(finish(&mut table, 1), []);
}

#[derive(Clone, Default, Debug, Deserialize)]
struct Fragile {
    broken: bool,
}

impl Serialize for Fragile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        if self.broken {
            return Err(serde::ser::Error::custom("broken"));
        }
        let mut fields = serializer.serialize_struct("Fragile", 1)?;
        fields.serialize_field("broken", &false)?;
        fields.end()
    }
}

#[test]
fn a_state_that_cannot_be_encoded_when_it_changes_fails_the_next_slice_and_ends_the_snapshot() {
    let mut table: KeyedTable<u32, Fragile> = KeyedTable::new(groups(2), 0..2);
    for key in 0..50_u32 {
        table.entry(hash_key(&key), key).1.broken = key == 20;
    }
    table.begin_snapshot(1);
    table.entry(hash_key(&20_u32), 20).1.broken = false;
    assert!(matches!(table.snapshot_slice(1), Err(CodecError::Encode { .. })));
    assert_eq!(table.snapshot_slice(1).unwrap(), SliceProgress::Done);
    assert_eq!(table.take_sections(), []);
    table.begin_snapshot(1);
    assert_eq!(table.snapshot_slice(1_000).unwrap(), SliceProgress::Done);
}

/// What serde buffers has no 128-bit integers.
#[derive(Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Amount {
    #[default]
    Nothing,
    Wide {
        wide: i128,
    },
}

#[test]
fn a_snapshot_with_a_state_that_could_not_be_read_back_is_given_up() {
    let mut table: KeyedTable<u32, Amount> = KeyedTable::new(groups(2), 0..2);
    for key in 0..3_u32 {
        table.entry(hash_key(&key), key);
    }
    *table.entry(hash_key(&1_u32), 1).1 = Amount::Wide { wide: 5 };
    table.begin_snapshot(1);
    let error = table.snapshot_slice(1_000).unwrap_err();
    let text = crate::chain_of(&error);
    assert!(text.contains("Amount") && text.contains("not be read back"), "{text}");
    assert_eq!(table.take_sections(), []);
    // Once it can be, snapshots go on.
    *table.entry(hash_key(&1_u32), 1).1 = Amount::Nothing;
    table.begin_snapshot(2);
    assert_eq!(table.snapshot_slice(1_000).unwrap(), SliceProgress::Done);
    assert_eq!(table.take_sections().iter().map(|section| section.entries).sum::<u32>(), 3);
}

#[test]
fn a_snapshot_with_a_key_that_hashes_differently_than_when_it_came_is_given_up() {
    for other in 0..100_u32 {
        let mut table: KeyedTable<u32, u64> = KeyedTable::new(groups(2), 0..2);
        table.entry(hash_key(&7_u32), 7);
        // As the receiver would be given it whose `key_by` says another key than that of the sender.
        table.entry(hash_key(&(other + 8)), other + 1_000);
        table.begin_snapshot(1);
        let error = table.snapshot_slice(1_000).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, CodecError::UnstableKey { .. }), "{text}");
        assert!(text.contains("u32") && text.contains("`key_by`"), "{text}");
    }
}
