//! Forward channels only: two regions that fail and heal apart.

use watershed::prelude::*;

/// Numbers the records of an instance, all of which are of one split.
struct Number;

impl Process for Number {
    type Key = ();
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, record: u64, nth: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *nth += 1;
        context.emit((record, *nth));
        Ok(())
    }
}

pub(super) fn topology() -> Topology {
    chains_of(120, "/out/chains")
}

/// Two chains that share so many records, and write them into this folder.
pub(crate) fn chains_of(records: u64, folder: &str) -> Topology {
    let topology = Topology::new("chains");
    topology
        .source("source", Generator::bounded(records, |n| n).splits(2))
        .actor("number", Number)
        .sink_exactly_once("files", Files::jsonl(folder));
    topology
}
