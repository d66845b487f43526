//! Code of the user's that blocks on futures, as many clients of databases and of HTTP do behind the scenes.

use std::sync::{Arc, Mutex};

use tokio::runtime::Runtime;
use tokio::time::sleep;
use watershed::prelude::*;
use watershed::{Collector, SinkFn};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits for what takes a moment.
async fn slowly<T>(what: T) -> T {
    sleep(millis(1)).await;
    what
}

/// Adds up, and asks somebody for the sum.
struct Sum(Runtime);

impl Process for Sum {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = u64;

    fn on_record(&self, record: u64, sum: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *sum = self.0.block_on(slowly(*sum + record));
        context.emit(*sum);
        Ok(())
    }
}

#[test]
fn a_closure_a_process_and_a_sink_may_block_on_a_runtime_of_their_own() {
    let (seen, shown) = (Arc::<Mutex<Vec<u64>>>::default(), Collector::new());
    let topology = Topology::new("blocking");
    let of_map = Arc::new(runtime());
    let sums = topology
        .source("numbers", Generator::bounded(30, |n| n))
        .parallelism(1)
        .map(move |n| of_map.block_on(slowly(n)))
        .key_by(|n| n % 3)
        .actor("sum", Sum(runtime()))
        .parallelism(1);
    let told = Arc::clone(&seen);
    sums.sink(
        "asks",
        SinkFn::new(move |_| {
            // Made and dropped on the thread of the operator.
            let (runtime, told) = (runtime(), Arc::clone(&told));
            move |n: u64| {
                told.lock().unwrap().push(runtime.block_on(slowly(n)));
                Ok(())
            }
        }),
    );
    sums.sink_exactly_once("shown", shown.sink());
    let outcome = topology.run(Config::local().slots(2).ignore_signals()).unwrap();
    assert_eq!((outcome.end, outcome.restarts), (End::Finished, 0));
    let mut expected: Vec<u64> = (0..30).map(|n| (n % 3..=n).step_by(3).sum()).collect();
    let (mut shown, mut seen) = (shown.take(), seen.lock().unwrap().clone());
    for sums in [&mut expected, &mut shown, &mut seen] {
        sums.sort_unstable();
    }
    assert_eq!((&shown, &seen), (&expected, &expected));
}
