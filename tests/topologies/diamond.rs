//! Branches that part and meet again, one of them long and widening, with a side output on the way.

use serde::{Deserialize, Serialize};
use watershed::prelude::*;

/// Makes some records of one, and sends a few to the side.
struct Widen {
    rare: SideOutput<u64>,
}

impl Process for Widen {
    type Key = ();
    type In = u64;
    type Out = u64;
    type State = ();

    fn on_record(&self, record: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        (1..=6).for_each(|copy| context.emit(1_000 * copy + record));
        if record.is_multiple_of(3) {
            context.emit_to(&self.rare, record);
        }
        Ok(())
    }
}

/// Numbers the records of each of so many keys.
pub(crate) struct Number(pub(crate) u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Numbered {
    pub(crate) key: u64,
    pub(crate) nth: u64,
}

impl Process for Number {
    type Key = u64;
    type In = u64;
    type Out = Numbered;
    type State = u64;

    fn on_record(&self, record: u64, nth: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *nth += 1;
        context.emit(Numbered { key: record % self.0, nth: *nth });
        Ok(())
    }
}

const KEYS: u64 = 7;

pub(super) fn topology() -> Topology {
    let topology = Topology::new("diamond");
    let rare = SideOutput::new("rare");
    let source = topology.source("source", Generator::bounded(14, |n| n).splits(3));
    let slow = source.flat_map(|n| [n, n]).rebalance().actor("widen", Widen { rare: rare.clone() });
    let aside = slow.side(&rare).map(|n| n + 5);
    source
        .union(&slow)
        .union(&aside)
        .key_by(|n| n % KEYS)
        .actor("number", Number(KEYS))
        .sink_exactly_once("files", Files::jsonl("/out/diamond"));
    topology
}
