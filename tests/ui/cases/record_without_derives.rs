use watershed::prelude::*;

struct Payment {
    amount: u64,
}

fn main() {
    let topology = Topology::new("payments");
    let amounts = topology.source("amounts", Items::of(1..=5_u64));
    amounts.map(|amount| Payment { amount }).for_each(|payment| println!("{}", payment.amount));
}
