use watershed::prelude::*;

struct Count;

impl Process for Count {
    type Key = u64;
    type In = String;
    type Out = u64;
    type State = u64;

    fn on_record(&self, _: String, _: &mut u64, _: &mut Context<'_, Self>) -> UserResult {
        Ok(())
    }
}

fn main() {
    let topology = Topology::new("payments");
    let amounts = topology.source("amounts", Items::of(1..=5_u64));
    amounts.key_by(|amount| amount % 3).actor("count", Count);
}
