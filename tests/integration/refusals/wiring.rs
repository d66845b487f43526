//! Topologies that cannot be run: found before anything starts, each with the operator at fault.

use watershed::prelude::*;
use watershed::{ErrorKind, SimulatedDisk};

use super::refused;
use crate::fixture::{seeded, simulated};

fn topology() -> Topology {
    Topology::new("wiring")
}

fn numbers() -> Generator<impl Fn(u64) -> u64 + Send + Sync + 'static> {
    Generator::bounded(10, |n| n)
}

/// Expects that nothing was started and nothing written.
fn refused_with(topology: &Topology, config: impl FnOnce(Config) -> Config, says: &[&str]) {
    let disk = SimulatedDisk::new(1);
    let config = config(simulated(seeded(1).on_disk(&disk)));
    refused(topology.run(config), ErrorKind::Config, says);
    assert_eq!(disk.operations(), 0, "it touched the disk before it refused");
}

fn refused_wiring(topology: &Topology, says: &[&str]) {
    refused_with(topology, |config| config, says);
}

/// Sends its records on, and to a side output.
struct Pass(SideOutput<u64>);

impl Process for Pass {
    type Key = ();
    type In = u64;
    type Out = u64;
    type State = ();

    fn on_record(&self, record: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        context.emit(record);
        context.emit_to(&self.0, record);
        Ok(())
    }
}

#[test]
fn a_topology_without_a_source_is_refused() {
    refused_wiring(&topology(), &["has no source", "topology.source("]);
}

#[test]
fn two_actors_of_one_name_are_refused() {
    let topology = topology();
    topology.source("numbers", numbers()).sink("numbers", Stdout::new());
    refused_wiring(&topology, &["two actors are named `numbers`", "unique"]);
}

#[test]
fn an_empty_name_is_refused() {
    let topology = topology();
    topology.source("numbers", numbers()).sink("", Stdout::new());
    refused_wiring(&topology, &["a sink has an empty name", "every actor needs one"]);
}

#[test]
fn a_name_that_cannot_stand_in_a_file_name_is_refused() {
    for name in ["to/out", "a b", ".hidden", "zähler", "a\n", ".."] {
        let topology = topology();
        topology.source(name, numbers()).sink("out", Stdout::new());
        let shown = name.replace('\n', "\\n");
        let says = format!("`{shown}` cannot be the name of an actor");
        refused_wiring(&topology, &[&says, "use letters, digits"]);
    }
}

#[test]
fn a_source_whose_records_go_nowhere_is_refused() {
    let topology = topology();
    let _ = topology.source("numbers", numbers());
    refused_wiring(&topology, &["`numbers` has no sink", "end its stream in a sink or in `for_each`"]);
}

#[test]
fn an_actor_whose_records_go_nowhere_is_refused() {
    let topology = topology();
    let passed = topology.source("numbers", numbers()).actor("pass", Pass(SideOutput::new("side")));
    drop(passed);
    refused_wiring(&topology, &["`pass` has no sink"]);
}

#[test]
fn a_fused_stream_that_goes_nowhere_is_refused_even_beside_one_that_does_not() {
    let topology = topology();
    let numbers = topology.source("numbers", numbers());
    numbers.sink("out", Stdout::new());
    let _ = numbers.map(|n| n + 1).filter(|n| *n > 3);
    refused_wiring(&topology, &["`numbers` → map → filter leads nowhere", "`for_each`"]);
}

#[test]
fn parallelism_0_is_refused() {
    let topology = topology();
    topology.source("numbers", numbers()).parallelism(1).sink("out", Stdout::new()).parallelism(0);
    refused_wiring(&topology, &["`out` has parallelism 0", "at least one"]);
}

#[test]
fn parallelism_0_in_the_configuration_is_refused() {
    let topology = topology();
    topology.source("numbers", numbers()).sink("out", Stdout::new());
    refused_with(&topology, |config| config.parallelism(0), &["`Config::parallelism(0)`", "from 1 to 4096"]);
}

#[test]
fn more_instances_than_key_groups_are_refused() {
    let topology = topology();
    let numbers = topology.source("numbers", numbers()).key_by(|n| *n);
    numbers.reduce("sum", |a, b| a + b).parallelism(9).sink("out", Stdout::new());
    let groups = |config: Config| config.key_groups(8).unwrap();
    refused_with(
        &topology,
        groups,
        &["`sum` has parallelism 9", "8 key groups", "lower it", "Config::key_groups"],
    );
}

#[test]
fn no_key_groups_are_refused() {
    let error = Config::local().key_groups(0).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
}

#[test]
fn forward_between_unequal_numbers_of_instances_is_refused() {
    let topology = topology();
    let numbers = topology.source("numbers", numbers()).parallelism(2);
    numbers.forward().sink("out", Stdout::new()).parallelism(3);
    let says = ["`forward` from `numbers` with 2 instances to `out` with 3", "same parallelism"];
    refused_wiring(&topology, &says);
}

#[test]
fn a_rate_that_is_no_rate_is_refused() {
    for rate in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-300, 9e-7] {
        let topology = Topology::new("rate");
        topology.source("numbers", numbers()).rate(rate).sink("out", Stdout::new());
        let says =
            format!("`numbers` cannot have a rate of {rate:?}: it must be a number of records per second");
        refused_wiring(&topology, &[&says]);
    }
}

#[test]
fn a_rate_that_no_source_reaches_is_no_limit() {
    for rate in [f64::MAX, f64::INFINITY, 1e300, 1e9] {
        let topology = Topology::new("rate");
        topology.source("numbers", numbers()).rate(rate).for_each(drop);
        topology.run(simulated(seeded(1))).unwrap();
    }
}

#[test]
fn a_rate_for_what_is_not_a_source_is_refused() {
    let topology = topology();
    let passed = topology.source("numbers", numbers()).actor("pass", Pass(SideOutput::new("side")));
    passed.rate(10.0).sink("out", Stdout::new());
    refused_wiring(&topology, &["`pass` is a process", "rate", "source"]);
}

#[test]
fn a_side_output_that_is_used_with_two_types_is_refused() {
    let topology = topology();
    let passed = topology.source("numbers", numbers()).actor("pass", Pass(SideOutput::new("side")));
    passed.sink("out", Stdout::new());
    passed.side(&SideOutput::<u64>::new("side")).sink("numbers-out", Stdout::new());
    passed.side(&SideOutput::<String>::new("side")).sink("texts-out", Stdout::new());
    refused_wiring(&topology, &["side output `side` of `pass`", "`u64`", "String", "a name of its own"]);
}

#[test]
fn a_side_output_that_its_actor_fills_with_another_type_fails_with_the_first_record() {
    let topology = topology();
    let passed =
        topology.source("numbers", numbers()).parallelism(1).actor("pass", Pass(SideOutput::new("side")));
    passed.for_each(drop);
    passed.parallelism(1).side(&SideOutput::<String>::new("side")).for_each(drop);
    let config = simulated(seeded(1)).restart(Restart::never());
    refused(topology.run(config), ErrorKind::User, &["`pass[0]`", "side output `side`", "u64", "String"]);
}

#[test]
fn a_generator_without_splits_is_refused() {
    let topology = topology();
    topology.source("numbers", numbers().splits(0)).sink("out", Stdout::new());
    refused_wiring(&topology, &["`numbers`", "Generator::splits"]);
}
