//! What sources, sinks and instances remember beside keys: saved with everything else, divided by name, and broadcast.

use std::collections::BTreeMap;

use watershed::prelude::*;
use watershed::{
    Claim, Data, ErrorKind, OperatorState, SavepointReader, SavepointWriter, SimulatedDisk, Simulation, Sink,
    SinkContext, SinkWriter, StateBackend,
};

use crate::fixture::{json, lines_in, seeded, simulated};
use crate::poison::letters;
use crate::topologies::both_backends;
use crate::topologies::limits::{ACCOUNTS, Checked, KINDS, LIMITS, Limits, RECORDS, SPLITS, limit, limits};

/// What [`limits`] shows in the end, computed without the engine.
fn expected() -> Vec<String> {
    expected_after(&Limits::default())
}

/// The same where some limits were in force before.
fn expected_after(before: &Limits) -> Vec<String> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut lines = Vec::new();
    for n in 0..SPLITS * RECORDS {
        let nth = counts.entry(n % ACCOUNTS).or_default();
        *nth += 1;
        lines.push(json(&Checked::Payment { account: n % ACCOUNTS, nth: *nth }));
    }
    let good = || (0..LIMITS).map(limit).filter(|limit| limit.at_least % 2 == 0 && limit.at_least <= 1_000);
    let taken = before.taken + good().count() as u64;
    lines.extend((0..ACCOUNTS).map(|account| {
        let of_kind = good().filter(|limit| limit.kind == account % KINDS).map(|limit| limit.at_least);
        let highest = of_kind.chain(before.highest.get(&(account % KINDS)).copied()).max();
        json(&Checked::Closed { account, limit: highest, taken })
    }));
    lines.sort();
    lines
}

/// The newest checkpoint.
fn newest(disk: &SimulatedDisk) -> SavepointReader {
    SavepointReader::open_on("file:///checkpoints", None, &disk.fs()).unwrap()
}

/// The elements of an operator state in the newest checkpoint, in the order of the instances.
fn remembered<T: Data>(disk: &SimulatedDisk, operator: &str, name: &str) -> Vec<T> {
    newest(disk).operator_state(operator, name).unwrap()
}

fn sorted<T: Ord>(mut elements: Vec<T>) -> Vec<T> {
    elements.sort_unstable();
    elements
}

/// Everything was shown, and is remembered, once.
fn check(disk: &SimulatedDisk, expected: &[String], when: &str) {
    assert_eq!(lines_in(disk, "/out/checked"), expected, "{when}");
    let given = sorted(remembered::<u64>(disk, "payments", "given"));
    assert_eq!(given, (0..SPLITS * RECORDS).collect::<Vec<_>>(), "{when}");
    let mut counts = remembered::<(u64, u64)>(disk, "payments", "counts");
    counts.sort_unstable();
    counts.dedup_by_key(|(share, _)| *share);
    assert_eq!(counts.len() as u64, SPLITS, "{when}");
    let payments = expected.iter().filter(|line| line.contains("Payment")).count();
    let mut written = sorted(remembered::<u64>(disk, "files", "written"));
    assert_eq!(written.len(), payments, "{when}");
    written.dedup();
    assert_eq!(written.len(), payments, "{when}");
    let seen = sorted(remembered::<Checked>(disk, "once", "seen"));
    assert_eq!(sorted(seen.iter().map(json).collect()), expected, "{when}");
}

fn run(topology: &Topology, simulation: Simulation, parallelism: usize, backend: StateBackend) -> End {
    let config = simulated(simulation).parallelism(parallelism).state_backend(backend);
    topology.run(config).unwrap().end
}

#[test]
fn what_is_remembered_is_that_of_the_checkpoint_after_a_panic_at_each_step() {
    let (topology, expected) = (limits(Supervision::skip(), limit, true), expected());
    for step in 1..=150 {
        let disk = SimulatedDisk::new(step);
        let simulation = seeded(11).on_disk(&disk).panic_at(step).panic_at(2 * step + 30);
        assert_eq!(run(&topology, simulation, 2, StateBackend::Memory), End::Finished);
        check(&disk, &expected, &format!("after a panic at step {step}"));
    }
}

#[test]
fn it_outlives_deaths_at_each_step_and_other_numbers_of_instances_in_both_backends() {
    let (topology, expected) = (limits(Supervision::skip(), limit, true), expected());
    for step in (1..=180).step_by(6) {
        let disk = SimulatedDisk::new(step);
        let backends = both_backends();
        for (life, parallelism) in [1, 3, 2].into_iter().enumerate() {
            let simulation = seeded(step + life as u64).on_disk(&disk).die_at(step + 40 * life as u64);
            let backend = backends[(step as usize + life) % 2].clone();
            run(&topology, simulation, parallelism, backend);
        }
        let backend = backends[step as usize % 2].clone();
        assert_eq!(run(&topology, seeded(step).on_disk(&disk), 3, backend), End::Finished);
        check(&disk, &expected, &format!("after deaths from step {step} on"));
    }
}

#[test]
fn each_instance_leaves_a_broadcast_record_out_with_a_letter_of_its_own() {
    let (topology, expected) = (limits(Supervision::quarantine(), limit, true), expected());
    for (step, backend) in (40..140).step_by(10).zip(both_backends().into_iter().cycle()) {
        let disk = SimulatedDisk::new(step);
        let simulation = seeded(step).on_disk(&disk).panic_at(step);
        assert_eq!(run(&topology, simulation, 2, backend), End::Finished);
        check(&disk, &expected, &format!("after a panic at step {step}"));
        let letters = letters(&disk, "check");
        let mut left_out: Vec<(usize, String)> = letters
            .iter()
            .map(|letter| (letter.instance, letter.evidence.payload["Broadcast"]["at_least"].to_string()))
            .collect();
        left_out.sort();
        let each = |instance| [(instance, "2000".to_string()), (instance, "7".to_string())];
        assert_eq!(left_out, [each(0), each(1)].concat(), "after a panic at step {step}");
    }
}

#[test]
fn what_is_broadcast_is_written_and_read_without_a_job() {
    let topology = limits(Supervision::skip(), limit, true);
    for backend in both_backends() {
        let disk = SimulatedDisk::new(1);
        let before = Limits { highest: [(0, 998), (1, 0)].into(), taken: 100 };
        let mut writer = SavepointWriter::create_on("limits", "file:///savepoint", &disk.fs()).unwrap();
        writer.state_backend(backend.clone());
        let mut check = writer.operator::<u64, u64>("check").unwrap();
        check.broadcast_state(&before).unwrap();
        check.finish().unwrap();
        writer.finish().unwrap();

        let config = simulated(seeded(1).on_disk(&disk)).start_from("file:///savepoint", Claim::No);
        let end = topology.run(config.parallelism(2).state_backend(backend)).unwrap().end;
        assert_eq!(end, End::Finished);
        let expected = expected_after(&before);
        assert_eq!(lines_in(&disk, "/out/checked"), expected);
        let shared: Limits = newest(&disk).broadcast_state("check").unwrap().unwrap();
        assert!(expected.iter().any(|line| line.contains(&format!("\"taken\":{}", shared.taken))));
        assert_eq!(shared.highest[&0], 998);
    }
}

#[test]
fn who_reads_an_operator_state_that_is_not_there_or_of_another_type_is_told_so() {
    let disk = SimulatedDisk::new(2);
    run(&limits(Supervision::skip(), limit, true), seeded(2).on_disk(&disk), 1, StateBackend::Memory);
    let reader = newest(&disk);
    let other = reader.operator_state::<u64>("payments", "giving").unwrap_err().to_string();
    assert!(other.contains("no list or union `giving`") && other.contains("`given` (list)"), "{other}");
    let broadcast = reader.operator_state::<Limits>("check", "shared").unwrap_err().to_string();
    assert!(broadcast.contains("it has: `shared` (broadcast)"), "{broadcast}");
    let number = reader.operator_state::<String>("payments", "given").unwrap_err().to_string();
    assert!(number.contains("`payments`") && number.contains("String"), "{number}");
    assert!(reader.broadcast_state::<Limits>("payments").unwrap().is_none());
}

/// Remembers the numbers that it is given, if it asks for that at all.
struct Tally {
    asks: bool,
}

struct TallyWriter(Option<(OperatorState<u64>, OperatorState<u64>)>);

impl Sink for Tally {
    type In = u64;
    type Writer = TallyWriter;

    fn open(&self, context: &SinkContext) -> UserResult<TallyWriter> {
        if !self.asks {
            return Ok(TallyWriter(None));
        }
        let (list, union) = (context.list_state("numbers")?, context.union_state("of-all")?);
        // Each keeps what it has written itself: nothing yet.
        union.update(Vec::new());
        Ok(TallyWriter(Some((list, union))))
    }
}

impl SinkWriter for TallyWriter {
    type In = u64;

    fn write(&mut self, number: u64) -> UserResult {
        if let Some((list, union)) = &self.0 {
            list.push(number);
            union.push(number);
        }
        Ok(())
    }

    fn flush(&mut self) -> UserResult {
        Ok(())
    }
}

fn tally(asks: bool) -> Topology {
    let topology = Topology::new("tally");
    let numbers = topology.source("numbers", Generator::bounded(200, |n| n).splits(2)).parallelism(1);
    numbers.rebalance().sink("tally", Tally { asks });
    topology
}

#[test]
fn a_state_that_a_version_does_not_ask_for_is_kept_for_one_that_does() {
    for seed in 0..10 {
        let disk = SimulatedDisk::new(seed);
        let stop = |step| seeded(seed).on_disk(&disk).stop_at(step);
        let config = |simulation, parallelism| simulated(simulation).parallelism(parallelism);
        tally(true).run(config(stop(60), 1)).unwrap();
        let first = sorted(remembered::<u64>(&disk, "tally", "numbers"));
        assert!((1..200).contains(&first.len()), "{} numbers", first.len());
        for parallelism in [3, 3, 2] {
            tally(false).run(config(stop(15), parallelism)).unwrap();
            assert_eq!(sorted(remembered::<u64>(&disk, "tally", "numbers")), first);
            assert_eq!(sorted(remembered::<u64>(&disk, "tally", "of-all")), first);
        }
        tally(true).run(config(seeded(seed).on_disk(&disk), 3)).unwrap();
        let last = sorted(remembered::<u64>(&disk, "tally", "numbers"));
        assert!(last.len() > first.len() && first.iter().all(|number| last.contains(number)));
        // Here they were thrown away, as each keeps what it writes itself.
        let own = remembered::<u64>(&disk, "tally", "of-all");
        assert_eq!(own.len(), last.len() - first.len());
    }
}

#[test]
fn a_state_that_does_not_fit_ends_the_job_and_is_named() {
    struct Words;

    impl Sink for Words {
        type In = u64;
        type Writer = TallyWriter;

        fn open(&self, context: &SinkContext) -> UserResult<TallyWriter> {
            context.list_state::<String>("numbers")?;
            Ok(TallyWriter(None))
        }
    }

    let disk = SimulatedDisk::new(3);
    tally(true).run(simulated(seeded(3).on_disk(&disk).stop_at(60))).unwrap();
    let topology = Topology::new("tally");
    let numbers = topology.source("numbers", Generator::bounded(200, |n| n).splits(2)).parallelism(1);
    numbers.rebalance().sink("tally", Words);
    let error = topology.run(simulated(seeded(4).on_disk(&disk))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::State);
    let text = error.to_string();
    for part in ["`numbers` of `tally`", "String", "#[serde(default)]"] {
        assert!(text.contains(part), "{text}");
    }
    // With types that fit it goes on.
    tally(true).run(simulated(seeded(5).on_disk(&disk))).unwrap();
}
