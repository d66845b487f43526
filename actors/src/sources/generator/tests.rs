use proptest::prelude::*;

use super::*;
use crate::sources::testing::{context, drain, poll};

fn splits_of(generator: &impl Source<Split = GeneratorSplit>) -> Vec<GeneratorSplit> {
    generator.splits().unwrap()
}

proptest! {
    #[test]
    fn the_splits_together_make_every_record_once(count in 0u64..200, splits in 1usize..9, limit in 1usize..50) {
        let generator = Generator::bounded(count, |i| i).splits(splits);
        let mut all = Vec::new();
        for split in splits_of(&generator) {
            let mut reader = generator.open(&split, None, &context()).unwrap();
            let made = drain(&mut reader, limit).unwrap();
            prop_assert!(made.is_sorted());
            prop_assert!(made.iter().all(|i| i % splits as u64 == split.index));
            all.extend(made);
        }
        all.sort_unstable();
        prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn a_restart_goes_on_with_the_next_record(count in 1u64..100, splits in 1usize..5, limit in 1usize..20) {
        let generator = Generator::bounded(count, |i| i).splits(splits);
        for split in splits_of(&generator) {
            let mut whole = generator.open(&split, None, &context()).unwrap();
            let (mut made, mut polled) = poll(&mut whole, limit).unwrap();
            while polled != Polled::End {
                let mut restarted = generator.open(&split, Some(whole.position()), &context()).unwrap();
                let (next, then) = poll(&mut restarted, limit).unwrap();
                made.extend(next);
                (whole, polled) = (restarted, then);
            }
            let expected: Vec<u64> = (split.index..count).step_by(splits).collect();
            prop_assert_eq!(made, expected);
        }
    }
}

#[test]
fn an_unbounded_generator_does_not_end() {
    let generator = Generator::unbounded(|i| i * 10).splits(2);
    assert!(!generator.is_bounded());
    let split = splits_of(&generator)[1];
    let mut reader = generator.open(&split, Some(1_000_001), &context()).unwrap();
    assert_eq!(poll(&mut reader, 2).unwrap(), (vec![10_000_010, 10_000_030], Polled::Ready));
}

#[test]
fn the_end_is_said_with_the_last_record() {
    let generator = Generator::bounded(3, |i| i);
    assert!(generator.is_bounded());
    let split = splits_of(&generator)[0];
    let mut reader = generator.open(&split, None, &context()).unwrap();
    assert_eq!(poll(&mut reader, 3).unwrap(), (vec![0, 1, 2], Polled::End));
}

#[test]
fn ids_sort_by_number() {
    let splits = splits_of(&Generator::unbounded(|i| i).splits(120));
    let ids: Vec<String> = splits.iter().map(Split::id).collect();
    assert!(ids.is_sorted());
}

#[test]
fn no_splits_at_all_is_an_error() {
    let error = Source::splits(&Generator::unbounded(|i| i).splits(0)).unwrap_err().to_string();
    assert!(error.contains("Generator::splits(1)"), "{error}");
}
