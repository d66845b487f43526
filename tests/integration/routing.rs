//! Which instance gets a record.

use watershed::prelude::*;
use watershed::{Collector, ErrorKind, SimulatedDisk};

use crate::fixture::{finish, seeded, simulated};

/// Says for each record how many this instance has seen.
struct Tell;

impl Process for Tell {
    type Key = ();
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, record: u64, seen: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *seen += 1;
        context.emit((record, *seen));
        Ok(())
    }
}

#[test]
fn broadcast_gives_each_record_to_every_instance() {
    let shown = Collector::new();
    let topology = Topology::new("broadcast");
    let source = topology.source("source", Generator::bounded(50, |n| n).splits(2)).parallelism(2);
    source.broadcast().actor("tell", Tell).parallelism(3).sink_exactly_once("shown", shown.sink());
    finish(&topology, 1, &SimulatedDisk::new(1));

    let mut records: Vec<u64> = shown.take().into_iter().map(|(record, _)| record).collect();
    records.sort_unstable();
    assert_eq!(records, (0..50).flat_map(|n| [n; 3]).collect::<Vec<_>>());
}

#[test]
fn a_routing_holds_for_the_next_actor_whatever_is_fused_before_it() {
    let shown = Collector::new();
    let topology = Topology::new("routings");
    let source = |name| topology.source(name, Generator::bounded(10, |n| n)).parallelism(1);
    let (to_all, to_one) = (source("to-all").broadcast().map(|n| n), source("to-one").rebalance());
    let both = to_all.filter(|_| true).union(&to_one.map(|n| n + 100)).inspect(|_| {});
    both.actor("tell", Tell).parallelism(3).sink_exactly_once("shown", shown.sink());
    finish(&topology, 1, &SimulatedDisk::new(1));

    let mut records: Vec<u64> = shown.take().into_iter().map(|(record, _)| record).collect();
    records.sort_unstable();
    assert_eq!(records, (0..10).flat_map(|n| [n; 3]).chain(100..110).collect::<Vec<_>>());
    let wiring = topology.explain().unwrap();
    assert!(wiring.contains("[broadcast] → tell") && wiring.contains("[rebalance] → tell"), "{wiring}");
}

#[test]
fn a_wiring_with_quarantine_is_explained_without_a_place_for_dead_letters() {
    let topology = Topology::new("letters");
    let numbers = topology.source("numbers", Generator::bounded(10, |n| n)).parallelism(1);
    numbers.supervise(Supervision::quarantine()).sink_exactly_once("shown", Collector::new().sink());
    let wiring = topology.explain().unwrap();
    assert!(wiring.contains("[forward] → numbers.dead-letters"), "{wiring}");
    assert!(wiring.contains("topology `letters`: 3 actors"), "{wiring}");
    let error = topology.run(Config::local()).unwrap_err();
    assert!(error.to_string().contains("no place for dead letters"), "{error}");
}

/// Sends what is odd to a side output.
struct Odd;

/// The side output.
fn odd() -> SideOutput<u64> {
    SideOutput::new("odd")
}

impl Process for Odd {
    type Key = ();
    type In = u64;
    type Out = u64;
    type State = ();

    fn on_record(&self, record: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        if record.is_multiple_of(2) {
            context.emit(record);
        } else {
            context.emit_to(&odd(), record);
        }
        Ok(())
    }
}

#[test]
fn what_is_asked_of_a_union_is_asked_of_each_of_its_actors_once() {
    let (even, sides, letters) = (Collector::new(), Collector::new(), Collector::new());
    let topology = Topology::new("union");
    let below_ten = |name, first: u64| {
        let numbers = topology.source(name, Generator::bounded(10, move |n| first + n)).parallelism(1);
        numbers.actor(&format!("odd-{name}"), Odd)
    };
    let (low, high) = (below_ten("low", 0), below_ten("high", 10));
    // Two branches come out of `odd-low`.
    let (first, others) = (low.filter(|n| *n == 0), low.filter(|n| *n != 0));
    let all = first.union(&others).union(&high).parallelism(1).supervise(Supervision::quarantine());
    let kept = all.try_filter(|n| if n % 10 == 6 { Err("six".into()) } else { Ok(true) });
    kept.sink_exactly_once("even", even.sink());
    kept.side(&odd()).sink_exactly_once("sides", sides.sink());
    let place = kept.dead_letters().map(|letter| (letter.operator, letter.cause));
    place.sink_exactly_once("letters", letters.sink());
    finish(&topology, 1, &SimulatedDisk::new(1));

    assert_eq!(sorted(even.take()), [0, 2, 4, 8, 10, 12, 14, 18]);
    assert_eq!(sorted(sides.take()), (0..20).filter(|n| n % 2 == 1).collect::<Vec<u64>>());
    let of = |actor: &str| (actor.to_string(), "six".to_string());
    assert_eq!(sorted(letters.take()), [of("odd-high"), of("odd-low")]);
}

fn sorted<T: Ord>(mut records: Vec<T>) -> Vec<T> {
    records.sort_unstable();
    records
}

#[test]
fn rebalance_deals_records_out_evenly() {
    let shown = Collector::new();
    let topology = Topology::new("rebalance");
    let source = topology.source("source", Generator::bounded(60, |n| n)).parallelism(1);
    source.rebalance().actor("tell", Tell).parallelism(3).sink_exactly_once("shown", shown.sink());
    finish(&topology, 1, &SimulatedDisk::new(1));

    let mut told = shown.take();
    assert_eq!(told.iter().map(|(_, seen)| seen).max(), Some(&20), "an instance got more than its share");
    told.sort_unstable();
    assert_eq!(told.into_iter().map(|(record, _)| record).collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
}

#[test]
fn records_of_a_key_keep_their_order() {
    let shown = Collector::new();
    let topology = Topology::new("order");
    topology
        .source("source", Generator::bounded(300, |n| (n % 7, n)))
        .parallelism(1)
        .key_by(|(key, _)| *key)
        .actor("keep", Keep)
        .sink_exactly_once("shown", shown.sink())
        .parallelism(1);
    let simulation = seeded(3).panic_at(120).panic_at(250);
    topology.run(simulated(simulation).parallelism(3)).unwrap();

    let told = shown.take();
    for key in 0..7 {
        let of_key: Vec<u64> = told.iter().filter(|(of, _)| *of == key).map(|(_, n)| *n).collect();
        assert_eq!(of_key, (0..300).filter(|n| n % 7 == key).collect::<Vec<_>>());
    }
}

/// Passes records on, but fails when one comes out of order.
struct Keep;

impl Process for Keep {
    type Key = u64;
    type In = (u64, u64);
    type Out = (u64, u64);
    type State = Option<u64>;

    fn on_record(
        &self,
        record: (u64, u64),
        last: &mut Option<u64>,
        context: &mut Context<'_, Self>,
    ) -> UserResult {
        if last.replace(record.1).is_some_and(|last| last >= record.1) {
            return Err("out of order".into());
        }
        context.emit(record);
        Ok(())
    }
}

#[test]
fn forward_between_unequal_parallelisms_is_refused() {
    let topology = Topology::new("forward");
    let source = topology.source("source", Generator::bounded(10, |n| n)).parallelism(2);
    source.forward().actor("tell", Tell).parallelism(3).for_each(|_| {});
    let error = topology.run(simulated(seeded(1))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    let message = error.to_string();
    assert!(["`source`", "`tell`", "2", "3"].iter().all(|part| message.contains(part)), "{message}");
}
