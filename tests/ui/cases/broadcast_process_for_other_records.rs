use watershed::prelude::*;

struct Scale;

impl BroadcastProcess for Scale {
    type Key = u64;
    type In = String;
    type Broadcast = u64;
    type Out = u64;
    type State = ();
    type Shared = u64;

    fn on_record(&self, _: String, (): &mut (), _: &u64, _: &mut ConnectedContext<'_, Self>) -> UserResult {
        Ok(())
    }

    fn on_broadcast(&self, _: u64, _: &mut u64, _: &mut BroadcastContext<'_, u64>) -> UserResult {
        Ok(())
    }
}

fn main() {
    let topology = Topology::new("payments");
    let amounts = topology.source("amounts", Items::of(1..=5_u64));
    amounts.key_by(|amount| amount % 3).connect_broadcast("scale", &amounts, Scale);
}
