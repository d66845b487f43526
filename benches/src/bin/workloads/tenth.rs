//! TENTH: W2 where a tenth of the keys has all the records, and after so many of them the next tenth.

use watershed::prelude::*;
use watershed_bench::generate::{key, value};

use crate::rows::{Measured, Setup};
use crate::sums::{KEYS, add_up, running_sums};

/// Records of one tenth: about those of a second.
const RECORDS_OF_TENTH: u64 = 50_000_000;

const TENTH: u64 = KEYS / 10;

/// All keys once, so that each has a state, then a tenth after the other. The checksum is that of the outputs with one
/// instance, and means nothing with more.
pub(crate) fn tenth(setup: Setup) -> watershed::Result<Measured> {
    let pairs = Generator::bounded(setup.records, |i| {
        if i < KEYS {
            return (i, value(i));
        }
        let tenth = i / RECORDS_OF_TENTH % 10;
        (tenth * TENTH + key::<TENTH>(i), value(i))
    });
    let (topology, sums) = running_sums(pairs.splits(setup.parallelism));
    add_up(&topology, &sums, setup)
}
