use super::*;
use crate::sources::testing::{context, drain, poll};

#[test]
fn all_items_come_in_order() {
    let items = Items::of(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    for limit in [1, 2, 3, 10] {
        let mut reader = items.open(&ItemsSplit, None, &context()).unwrap();
        assert_eq!(drain(&mut reader, limit).unwrap(), ["a", "b", "c"]);
        assert_eq!(reader.position(), 3);
    }
}

#[test]
fn a_restart_skips_what_was_handed_over() {
    let items = Items::new(|| (0u64..10).filter(|i| i % 2 == 0));
    for position in 0..=5 {
        let mut reader = items.open(&ItemsSplit, Some(position), &context()).unwrap();
        let rest: Vec<u64> = (position..5).map(|i| i * 2).collect();
        assert_eq!(drain(&mut reader, 2).unwrap(), rest);
    }
}

#[test]
fn an_iterator_that_has_become_shorter_is_an_error() {
    let error = Items::of(vec![1, 2, 3]).open(&ItemsSplit, Some(4), &context()).unwrap_err();
    assert!(error.to_string().contains("fewer than the 4 items"), "{error}");
}

#[test]
fn an_endless_iterator_is_read_batch_by_batch() {
    let mut reader = Items::new(|| 0u64..).open(&ItemsSplit, None, &context()).unwrap();
    assert_eq!(poll(&mut reader, 3).unwrap(), (vec![0, 1, 2], Polled::Ready));
    assert_eq!(poll(&mut reader, 2).unwrap(), (vec![3, 4], Polled::Ready));
    assert_eq!(reader.position(), 5);
}
