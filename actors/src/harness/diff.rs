//! What was expected beside what came.

use std::fmt::{Debug, Write};

use crate::harness::item::{Item, Kind};

/// Something that came out, and the input step (from 1) after which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen<T> {
    pub(crate) item: Item<T>,
    pub(crate) step: usize,
}

/// The difference as lines, or `None` if there is none.
pub(crate) fn compare<T: Debug + PartialEq>(expected: &[Item<T>], seen: &[Seen<T>]) -> Option<String> {
    let expected = without_overtaken(expected.iter(), |item| item);
    let seen = without_overtaken(seen.iter(), |seen| &seen.item);
    let same = |(expected, seen): &(&&Item<T>, &&Seen<T>)| **expected == &seen.item;
    let before = expected.iter().zip(&seen).take_while(same).count();
    if before == expected.len() && before == seen.len() {
        return None;
    }
    let rest = expected[before..].iter().rev().zip(seen[before..].iter().rev());
    let after = rest.take_while(same).count();
    let mut lines = String::new();
    let mut line = |mark: &str, item: &Item<T>, note: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "  {mark:>3}  {item:?}{note}");
    };
    expected[..before].iter().for_each(|item| line("", item, ""));
    expected[before..expected.len() - after].iter().for_each(|item| line("-", item, "   missing"));
    for seen in &seen[before..seen.len() - after] {
        line("+", &seen.item, &format!("   came after step {}", seen.step));
    }
    expected[expected.len() - after..].iter().for_each(|item| line("", item, ""));
    Some(lines)
}

/// Leaves out watermarks that the next one overtakes: a channel with little room may do so too.
fn without_overtaken<'a, E, T: 'a>(
    entries: impl Iterator<Item = &'a E>,
    item: impl Fn(&'a E) -> &'a Item<T>,
) -> Vec<&'a E> {
    let mut kept: Vec<&E> = Vec::new();
    for entry in entries {
        let is_watermark = |entry: &'a E| matches!(item(entry).0, Kind::Watermark(_));
        if is_watermark(entry) {
            kept.pop_if(|last| is_watermark(last));
        }
        kept.push(entry);
    }
    kept
}
