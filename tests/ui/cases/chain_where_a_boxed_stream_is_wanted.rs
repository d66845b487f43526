use watershed::prelude::*;

fn amounts(topology: &Topology) -> Stream<u64> {
    topology.source("amounts", Items::of(1..=5_u64)).map(|amount| amount * 100)
}

fn main() {
    amounts(&Topology::new("payments")).sink("print", Stdout::new());
}
