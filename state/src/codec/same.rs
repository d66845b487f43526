//! Comparing what is encoded, apart from orders that mean nothing.

use rmp_serde::decode::Error;

use super::read::Reader;
use super::stack::{LEVELS, with_room};

/// Whether two encodings are of the same value, as far as one can tell without its type: sets are sequences here, and
/// those of the standard library are in another order each time, so that the order of sequences and maps does not
/// count.
pub(super) fn are_the_same(one: &[u8], other: &[u8]) -> bool {
    one == other || one.len() == other.len() && sorted(one).is_some_and(|one| Some(one) == sorted(other))
}

/// An encoding with all sequences and maps in one order.
fn sorted(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while !rest.is_empty() {
        sort_into(&mut rest, &mut out, 0).ok()?;
    }
    Some(out)
}

fn sort_into(input: &mut &[u8], out: &mut Vec<u8>, depth: u16) -> Result<(), Error> {
    if depth % LEVELS == LEVELS - 1 {
        return with_room(|| sort_here(input, out, depth));
    }
    sort_here(input, out, depth)
}

fn sort_here(input: &mut &[u8], out: &mut Vec<u8>, depth: u16) -> Result<(), Error> {
    let start = *input;
    let mut reader = Reader::bare(start);
    let nested = reader.skip_head()?;
    *input = reader.rest();
    let head = &start[..start.len() - input.len()];
    out.extend_from_slice(head);
    let per_item = if is_map(head) { 2 } else { 1 };
    let mut items = Vec::new();
    for _ in 0..nested / per_item {
        let mut item = Vec::new();
        for _ in 0..per_item {
            sort_into(input, &mut item, depth + 1)?;
        }
        items.push(item);
    }
    items.sort_unstable();
    out.extend(items.concat());
    Ok(())
}

/// Whether this is what a map begins with.
fn is_map(head: &[u8]) -> bool {
    matches!(head.first(), Some(0x80..=0x8f | 0xde | 0xdf))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::encode;

    fn bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_order_of_what_is_in_sequences_and_maps_does_not_count() {
        let one = bytes(&(vec![1, 2, 300], [("a", vec![5, 6]), ("b", vec![])]));
        let other = bytes(&(vec![300, 1, 2], [("b", vec![]), ("a", vec![6, 5])]));
        assert!(are_the_same(&one, &other));
        let more = bytes(&(vec![300, 1, 2], [("b", vec![7]), ("a", vec![6])]));
        assert_eq!(one.len(), more.len());
        assert!(!are_the_same(&one, &more));
    }

    #[test]
    fn a_value_belongs_to_its_key() {
        let map = |pairs: [(u8, u8); 2]| bytes(&BTreeMap::from(pairs));
        assert!(!are_the_same(&map([(1, 2), (3, 4)]), &map([(1, 4), (3, 2)])));
        assert!(!are_the_same(&bytes(&Some(Some(None::<u8>))), &bytes(&Some(Some(Some(1_u8))))));
    }
}
