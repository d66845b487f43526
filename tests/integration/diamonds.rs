//! Branches that part and meet again, at very unequal speed and with hardly any room on the way.

use std::time::Duration;

use watershed::prelude::*;
use watershed::{End, SimulatedDisk};

use crate::fixture::{compare, json, lines_in, seeded, seeds, simulated};
use crate::topologies::diamond::{Number, Numbered};
use crate::topologies::fan_out::Pass;

/// Makes many records of one.
struct Widen;

const WIDTH: u64 = 20;

impl Process for Widen {
    type Key = ();
    type In = u64;
    type Out = u64;
    type State = ();

    fn on_record(&self, record: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        (0..WIDTH).for_each(|copy| context.emit(1_000 * (copy + 1) + record));
        Ok(())
    }
}

const KEYS: u64 = 6;
const RECORDS: u64 = 12;

fn is_rare(n: u64) -> bool {
    (n / 1_000 + n).is_multiple_of(15)
}

/// A source that feeds a direct way and a long, widening one, which in turn has a side way for a few records; all meet
/// in one actor, behind which the branches part and meet once more.
fn diamonds() -> Topology {
    let topology = Topology::new("diamonds");
    let source = topology.source("source", Generator::bounded(RECORDS, |n| n).splits(3));
    let slow = source.actor("first", Pass).flat_map(|n| [n, n]).rebalance().actor("widen", Widen);
    let rare = slow.filter(|n| is_rare(*n)).actor("rare", Pass);
    let met = source.union(&slow).union(&rare).rebalance().actor("meet", Pass);
    let long = met.filter(|n| n % 2 == 0).actor("long", Pass).rebalance().actor("longer", Pass);
    met.union(&long)
        .union(&source)
        .key_by(|n| n % KEYS)
        .actor("number", Number(KEYS))
        .sink_exactly_once("files", Files::jsonl("/out"));
    topology
}

fn expected() -> Vec<String> {
    let wide = |n: u64| (0..WIDTH).flat_map(move |copy| [1_000 * (copy + 1) + n; 2]);
    let wide: Vec<u64> = (0..RECORDS).flat_map(wide).collect();
    let rare = wide.iter().copied().filter(|n| is_rare(*n));
    let met: Vec<u64> = (0..RECORDS).chain(wide.iter().copied()).chain(rare).collect();
    let long = met.iter().copied().filter(|n| n % 2 == 0);
    let mut counts = [0; KEYS as usize];
    let mut lines = Vec::new();
    for n in met.iter().copied().chain(long).chain(0..RECORDS) {
        let nth = &mut counts[(n % KEYS) as usize];
        *nth += 1;
        lines.push(json(&Numbered { key: n % KEYS, nth: *nth }));
    }
    lines.sort();
    lines
}

#[test]
fn a_diamond_with_one_credit_a_channel_neither_locks_up_nor_loses_anything() {
    let (topology, expected) = (diamonds(), [("/out", expected())].into());
    for seed in seeds(500) {
        let disk = SimulatedDisk::new(seed);
        let config = simulated(seeded(seed).on_disk(&disk))
            .credits(1)
            .parallelism(1 + seed as usize % 3)
            .batch_records(1 + seed as usize % 13)
            .checkpoint_interval(Duration::from_micros(300 + 400 * (seed % 11)))
            .linger(Duration::from_micros(seed % 5 * 100));
        let outcome = topology.run(config).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0), "seed {seed}");
        // One that is given up after ten minutes would free what is locked up.
        assert_eq!(
            outcome.checkpoint,
            Some(outcome.checkpoints),
            "with seed {seed}, a checkpoint was given up"
        );
        compare(&[("/out", lines_in(&disk, "/out"))].into(), &expected, &format!("with seed {seed}"));
    }
}

#[test]
fn a_diamond_that_crashes_again_and_again_loses_nothing() {
    let (topology, expected) = (diamonds(), [("/out", expected())].into());
    for seed in seeds(100) {
        let disk = SimulatedDisk::new(seed);
        let config =
            |simulation| simulated(simulation).credits(1).parallelism(1 + seed as usize % 3).batch_records(5);
        for life in 0..3 {
            let simulation = seeded(seed + 10_000 * life).on_disk(&disk);
            let simulation = simulation.panic_at(100 + 7 * seed % 500).die_at(400 + 11 * seed % 700);
            topology.run(config(simulation)).unwrap();
        }
        topology.run(config(seeded(seed).on_disk(&disk))).unwrap();
        compare(&[("/out", lines_in(&disk, "/out"))].into(), &expected, &format!("with seed {seed}"));
    }
}
