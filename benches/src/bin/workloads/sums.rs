//! W2: a running sum per key.

use watershed::{Process, Source, prelude::*};
use watershed_bench::generate::{key, value};

use crate::rows::{Measured, Setup};
use crate::tally::{LastPerKey, Total};

/// Keys of W1, W2 and what is made of them.
pub(crate) const KEYS: u64 = 1_000_000;

/// Running sums into a sink. With one instance the checksum is the sum of all outputs, with more it is the sum of the
/// last output of each key.
pub(crate) fn w2(setup: Setup) -> watershed::Result<Measured> {
    let (topology, sums) = running_sums(pairs(&setup));
    if setup.parallelism == 1 {
        return add_up(&topology, &sums, setup);
    }
    let last = LastPerKey::new(KEYS);
    let sink = last.clone();
    sums.for_each(move |(key, sum)| sink.set(key, sum));
    let outcome = topology.run(setup.config)?;
    Ok(Measured::new(setup.records, last.sum(), &outcome))
}

/// Runs it; the checksum is the sum of all outputs.
pub(crate) fn add_up(
    topology: &Topology,
    sums: &Stream<(u64, u64)>,
    setup: Setup,
) -> watershed::Result<Measured> {
    let total = Total::default();
    let sink = total.clone();
    sums.for_each_instance(move |_| {
        let mut share = sink.share();
        move |(_, sum)| share.add(sum)
    });
    let outcome = topology.run(setup.config)?;
    Ok(Measured::new(setup.records, total.get(), &outcome))
}

/// Records with key and value.
pub(crate) fn pairs(setup: &Setup) -> Generator<impl Fn(u64) -> (u64, u64) + use<>> {
    pairs_of::<KEYS>(setup)
}

/// The same with so many keys.
pub(crate) fn pairs_of<const KEYS: u64>(setup: &Setup) -> Generator<impl Fn(u64) -> (u64, u64) + use<KEYS>> {
    Generator::bounded(setup.records, |i| (key::<KEYS>(i), value(i))).splits(setup.parallelism)
}

/// Source → by key → running sum per key, for whatever takes the sums.
pub(crate) fn running_sums(pairs: impl Source<Item = (u64, u64)>) -> (Topology, Stream<(u64, u64)>) {
    let topology = Topology::new("w2");
    let sums = topology.source("pairs", pairs).key_by(|(key, _)| *key).actor("sum", RunningSum);
    (topology, sums)
}

/// The sum of the values of each key so far.
pub(crate) struct RunningSum;

impl Process for RunningSum {
    type Key = u64;
    type In = (u64, u64);
    type Out = (u64, u64);
    type State = u64;

    fn on_record(
        &self,
        (key, value): (u64, u64),
        sum: &mut u64,
        context: &mut Context<'_, Self>,
    ) -> UserResult {
        *sum = sum.wrapping_add(value);
        context.emit((key, *sum));
        Ok(())
    }
}
