//! States that are hard to read back: options in options, and now and then one that serde cannot read at all, so that
//! the checkpoints of that time are given up.

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::{Collector, StateBackend};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Balance {
    count: u64,
    /// Never set, set to nothing, or set.
    limit: Option<Limit>,
    sum: Sum,
}

/// What serde buffers, as it does below `tag`, has no 128-bit integers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Sum {
    Small { sum: u64 },
    Wide { sum: u128 },
}

impl Default for Sum {
    fn default() -> Self {
        Self::Small { sum: 0 }
    }
}

/// A limit, or that there is none.
type Limit = Option<u64>;

struct Balances;

impl Process for Balances {
    type Key = Option<Limit>;
    type In = u64;
    type Out = (u64, u64, Option<Limit>);
    type State = Balance;

    fn on_record(&self, n: u64, balance: &mut Balance, context: &mut Context<'_, Self>) -> UserResult {
        let Balance { count, limit, sum } = balance;
        let before = match *sum {
            Sum::Small { sum } => sum,
            Sum::Wide { sum } => sum as u64,
        };
        let now = before + n % 7;
        *count += 1;
        *sum = if *count % 16 == 5 { Sum::Wide { sum: now.into() } } else { Sum::Small { sum: now } };
        context.emit((*count, now, *limit));
        *limit = match *count % 3 {
            0 => None,
            1 => Some(None),
            _ => Some(Some(*count)),
        };
        Ok(())
    }
}

pub(super) fn topology() -> Topology {
    let topology = Topology::new("balances");
    let shown = Collector::new();
    topology
        .source("numbers", Generator::bounded(120, |n| n))
        .parallelism(1)
        .key_by(|n| match n % 3 {
            0 => None,
            1 => Some(None),
            _ => Some(Some(*n % 3)),
        })
        .actor("balance", Balances)
        // A database takes no state that it could not give back.
        .state_backend(StateBackend::Memory)
        .sink_exactly_once("shown", shown.sink());
    topology
}
