use std::time::Duration;

use watershed_state::{ListState, MapState, Ttl, ValueState};

use super::*;
use crate::harness::{advance, watermark};

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Tells of each word how often each of its letters has come, which words have begun with it, and the one before.
struct Letters {
    counts: MapState<char, u32>,
    words: ListState<String>,
    before: ValueState<String>,
}

fn letters(ttl: Option<Ttl>) -> Letters {
    let (counts, words, before) =
        (MapState::new("counts"), ListState::new("words"), ValueState::new("before"));
    match ttl {
        None => Letters { counts, words, before },
        Some(ttl) => Letters { counts: counts.ttl(ttl), words: words.ttl(ttl), before: before.ttl(ttl) },
    }
}

impl Process for Letters {
    type Key = char;
    type In = String;
    type Out = String;
    type State = ();

    fn on_record(&self, word: String, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        for letter in word.chars() {
            *context.map(&self.counts).get_or_default(letter) += 1;
        }
        let mut counts = context.map(&self.counts).entries();
        counts.sort_unstable();
        let counts: Vec<_> = counts.iter().map(|(letter, count)| format!("{letter}{count}")).collect();
        let counts = counts.concat();
        context.list(&self.words).push(word.clone());
        let words = context.list(&self.words).to_vec().join("+");
        let before = context.value(&self.before).get().cloned().unwrap_or_default();
        context.value(&self.before).set(word);
        context.emit(format!("{counts} {words} {before}"));
        Ok(())
    }
}

fn harness(ttl: Option<Ttl>) -> Harness<Letters> {
    Harness::keyed(letters(ttl), |word: &String| word.chars().next().unwrap_or(' '))
}

fn text(text: &str) -> Item<String> {
    record(text.to_string())
}

#[test]
fn each_key_has_collections_of_its_own() {
    harness(None).input([text("aba"), text("cab"), watermark(1), text("ac"), text("c")]).expect_output([
        text("a2b1 aba "),
        text("a1b1c1 cab "),
        watermark(1),
        text("a3b1c1 aba+ac aba"),
        text("a1b1c2 cab+c cab"),
    ]);
}

#[test]
fn what_has_expired_is_not_seen_any_more() {
    harness(Some(Ttl::after_write(ms(100))))
        .input([
            text("ab"),
            advance(ms(60)),
            text("a"),
            advance(ms(60)),
            text("a"),
            advance(ms(100)),
            text("a"),
        ])
        .expect_output([text("a1b1 ab "), text("a2b1 ab+a ab"), text("a3 a+a a"), text("a1 a ")]);
}

/// Counts the records of a key.
struct Counts;

impl Process for Counts {
    type Key = u32;
    type In = u32;
    type Out = (u32, u32);
    type State = u32;

    fn on_record(&self, key: u32, count: &mut u32, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.emit((key, *count));
        Ok(())
    }
}

#[test]
fn a_state_that_was_not_used_for_as_long_begins_anew() {
    let input =
        [record(1), record(2), advance(ms(99)), record(1), advance(ms(99)), record(1), record(2), record(2)];
    let output = [(1, 1), (2, 1), (1, 2), (1, 3), (2, 1), (2, 2)].map(record);
    Harness::expiring(Counts, |key| *key, ms(100)).input(input).expect_output(output);
}

/// Without keys there is one of each collection for the instance.
struct Seen(MapState<u32, ()>);

impl Process for Seen {
    type Key = ();
    type In = u32;
    type Out = u32;
    type State = ();

    fn on_record(&self, number: u32, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        if context.map(&self.0).insert(number, ()).is_none() {
            context.emit(number);
        }
        Ok(())
    }
}

#[test]
fn without_keys_an_instance_has_collections_of_its_own() {
    let numbers = (0..200).map(|number| number * 7 % 90).collect::<Vec<u32>>();
    let first = |at: usize| !numbers[..at].contains(&numbers[at]);
    let expected: Vec<_> = (0..200).filter(|at| first(*at)).map(|at| record(numbers[at])).collect();
    Harness::process(Seen(MapState::new("seen")))
        .input(numbers.iter().copied().map(record))
        .expect_output(expected);
}
