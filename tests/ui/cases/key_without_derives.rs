use serde::{Deserialize, Serialize};
use watershed::prelude::*;

#[derive(Clone, Serialize, Deserialize)]
struct Customer(u64);

fn main() {
    let topology = Topology::new("payments");
    let amounts = topology.source("amounts", Items::of(1..=5_u64));
    amounts.key_by(|amount| Customer(amount % 3));
}
