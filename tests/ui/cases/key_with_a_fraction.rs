use watershed::prelude::*;

fn main() {
    let topology = Topology::new("payments");
    let amounts = topology.source("amounts", Items::of(1..=5_u64));
    amounts.key_by(|amount| *amount as f64 / 2.0);
}
