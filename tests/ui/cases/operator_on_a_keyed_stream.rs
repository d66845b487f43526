use watershed::prelude::*;

fn main() {
    let topology = Topology::new("payments");
    let amounts = topology.source("amounts", Items::of(1..=5_u64)).key_by(|amount| amount % 3);
    amounts.map(|amount| amount + 1).sink("print", Stdout::new());
    amounts.sink("print-too", Stdout::new());
}
