//! Each operator of a stream, in one topology, against a plain computation.

use std::collections::BTreeMap;

use watershed::prelude::*;
use watershed::{Aggregate, Collector, WatermarkGenerator, WatermarkStrategy};

/// Adds up and counts.
struct Mean;

impl Aggregate for Mean {
    type In = u64;
    type Accumulator = (u64, u64);
    type Out = u64;

    fn add(&self, (sum, count): &mut (u64, u64), n: u64) {
        *sum += n;
        *count += 1;
    }

    fn result(&self, (sum, count): &(u64, u64)) -> u64 {
        sum / count
    }
}

/// Watermarks of somebody's own: event time has come as far as the last even number.
struct Even;

struct LastEven(i64);

impl WatermarkStrategy for Even {
    type Generator = LastEven;

    fn generator(&self) -> LastEven {
        LastEven(i64::MIN)
    }

    fn idle_after(&self) -> Option<std::time::Duration> {
        None
    }
}

impl WatermarkGenerator for LastEven {
    fn on_event(&mut self, at: i64) {
        if at % 2 == 0 {
            self.0 = self.0.max(at);
        }
    }

    fn watermark(&self) -> i64 {
        self.0
    }
}

/// Gives each number the event time behind it, and says what the watermark is.
struct Shift;

impl Process for Shift {
    type Key = ();
    type In = u64;
    type Out = (u64, Option<i64>, i64);
    type State = ();

    fn on_record(&self, n: u64, _state: &mut (), context: &mut Context<'_, Self>) -> UserResult {
        let (at, watermark) = (context.timestamp(), context.watermark());
        context.emit_at((n, at, watermark), at.unwrap_or(0) + 1);
        Ok(())
    }
}

/// Numbers that are neither 3 nor a multiple of 5, those below 10 twice.
fn chosen(numbers: &Stream<u64>) -> Stream<u64> {
    numbers
        .try_filter(|n| Ok(!n.is_multiple_of(5)))
        .try_filter_map(|n| Ok((n != 3).then_some(n)))
        .try_inspect(|n| if *n < 1_000 { Ok(()) } else { Err("too large".into()) })
        .try_flat_map(|n| Ok(vec![n; if n < 10 { 2 } else { 1 }]))
        .boxed()
}

fn plainly_chosen() -> Vec<u64> {
    let chosen = (0..100).filter(|n| n % 5 != 0 && *n != 3);
    chosen.flat_map(|n| vec![n; if n < 10 { 2 } else { 1 }]).collect()
}

#[test]
fn fallible_closures_partitions_aggregates_and_own_watermarks_do_what_they_say() {
    for seed in 0..20 {
        let (means, kept, shifted) = (Collector::new(), Collector::new(), Collector::new());
        let topology = Topology::new("operators");
        let numbers = topology.source("numbers", Generator::bounded(100, |n| n)).parallelism(1);
        let chosen = chosen(&numbers);
        chosen.key_by(|n| n % 3).aggregate("mean", Mean).sink_exactly_once("means", means.sink());
        chosen.key_by(|n| n % 7).partition("by-seven").map(|n| n).sink_exactly_once("kept", kept.sink());
        let shift = numbers.event_time(|n| *n as i64, Even).actor("shift", Shift).parallelism(1);
        shift.sink_exactly_once("shifted", shifted.sink());
        assert_eq!(topology.run(Config::simulated(seed)).unwrap().end, End::Finished);

        let mut so_far: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut expected: Vec<u64> = plainly_chosen()
            .into_iter()
            .map(|n| {
                let (sum, count) = so_far.entry(n % 3).or_default();
                (*sum, *count) = (*sum + n, *count + 1);
                *sum / *count
            })
            .collect();
        let sorted = |mut values: Vec<u64>| {
            values.sort_unstable();
            values
        };
        expected.sort_unstable();
        assert_eq!(sorted(means.take()), expected, "seed {seed}");
        assert_eq!(sorted(kept.take()), sorted(plainly_chosen()), "seed {seed}");
        let shifted = shifted.take();
        assert_eq!(shifted.len(), 100);
        for (n, at, watermark) in shifted {
            assert_eq!(at, Some(n as i64));
            assert!(watermark == i64::MIN || watermark % 2 == 0 && watermark < 100, "{watermark}");
        }
    }
}

/// Counts, and tells the count at the end.
struct CountToTheEnd;

impl Process for CountToTheEnd {
    type Key = ();
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, _: u64, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.timer_at_end();
        Ok(())
    }

    fn on_end(&self, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        context.emit(*count);
        Ok(())
    }
}

#[test]
fn a_stopped_job_has_not_come_to_the_end_of_its_input_and_a_drained_one_has() {
    for (drain, expected) in [(Drain::No, vec![]), (Drain::Yes, vec![1])] {
        let (topology, told) = (Topology::new("counting"), Collector::new());
        let numbers = topology.source("numbers", Generator::unbounded(|n| n)).parallelism(1);
        let counts = numbers.actor("count", CountToTheEnd).parallelism(1);
        counts.map(|count| u64::from(count > 0)).sink_exactly_once("told", told.sink());
        let disk = watershed::SimulatedDisk::new(3);
        let simulation = Simulation::seeded(3).on_disk(&disk);
        let simulation = simulation.stop_with_savepoint_at(400, "file:///savepoints/one", drain);
        topology.run(Config::local().with_simulation(simulation).checkpoint_interval(millis(1))).unwrap();
        assert_eq!(told.take(), expected);
    }
}

#[test]
fn a_stream_of_errors_that_leads_nowhere_is_refused_by_name() {
    let topology = Topology::new("split");
    let numbers = topology.source("numbers", Generator::bounded(9, |n| n));
    let (even, _odd) = numbers.try_map_split(|n| if n % 2 == 0 { Ok(n) } else { Err(n) });
    even.for_each(|_| {});
    let error = topology.run(Config::simulated(1)).unwrap_err().to_string();
    assert!(error.contains("`numbers` → try_map_split → errors leads nowhere"), "{error}");
}
