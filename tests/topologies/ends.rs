//! What is known when the input has ended: totals, how much was refused, and the keys that have something open then.

use watershed::prelude::*;

/// Pairs up the numbers of a key, and says at the end which one is left over.
struct Pairs;

impl Process for Pairs {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = Option<u64>;

    fn on_record(&self, n: u64, open: &mut Option<u64>, context: &mut Context<'_, Self>) -> UserResult {
        if let Some(other) = open.take() {
            context.emit((other, n));
            context.delete_timer_at_end();
            context.clear();
        } else {
            *open = Some(n);
            context.timer_at_end();
        }
        Ok(())
    }

    fn on_end(&self, open: &mut Option<u64>, context: &mut Context<'_, Self>) -> UserResult {
        let left_over = open.take().ok_or("a key was told of the end that has nothing open")?;
        context.emit((left_over, left_over));
        Ok(())
    }
}

const NUMBERS: u64 = 150;

fn is_refused(n: u64) -> bool {
    n % 11 == 5
}

pub(super) fn topology() -> Topology {
    let topology = Topology::new("ends");
    let numbers = topology.source("numbers", Generator::bounded(NUMBERS, |n| n)).parallelism(1);
    let (accepted, refused) =
        numbers.try_map_split(|n| if is_refused(n) { Err(format!("{n} is refused")) } else { Ok(n) });
    accepted
        .key_by(|n| n % 13)
        .fold("totals", (0, 0), |(count, sum), n| (count + 1, sum + n))
        .sink_exactly_once("totals-out", Files::jsonl("/out/totals"));
    accepted
        .key_by(|n| n % 31)
        .actor("pairs", Pairs)
        .sink_exactly_once("pairs-out", Files::jsonl("/out/pairs"));
    refused
        .key_by(|_| ())
        .fold("refused", Vec::new(), |mut all, reason| {
            all.push(reason);
            all
        })
        .sink_exactly_once("refused-out", Files::jsonl("/out/refused"));
    topology
}

/// What the sinks show, by a plain computation.
pub(crate) fn expected() -> [(&'static str, Vec<String>); 3] {
    let accepted = || (0..NUMBERS).filter(|n| !is_refused(*n));
    let totals = (0..13).map(|key| {
        let of_key: Vec<u64> = accepted().filter(|n| n % 13 == key).collect();
        format!("[{key},[{},{}]]", of_key.len(), of_key.iter().sum::<u64>())
    });
    let pairs = (0..31).flat_map(|key| {
        let of_key: Vec<u64> = accepted().filter(|n| n % 31 == key).collect();
        let pair = |pair: &[u64]| format!("[{},{}]", pair[0], pair[pair.len() - 1]);
        of_key.chunks(2).map(pair).collect::<Vec<_>>()
    });
    let reasons: Vec<String> =
        (0..NUMBERS).filter(|n| is_refused(*n)).map(|n| format!("\"{n} is refused\"")).collect();
    let sorted = |mut records: Vec<String>| {
        records.sort_unstable();
        records
    };
    [
        ("totals-out", sorted(totals.collect())),
        ("pairs-out", sorted(pairs.collect())),
        ("refused-out", vec![format!("[null,[{}]]", reasons.join(","))]),
    ]
}
