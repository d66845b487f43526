//! RESCALE: for how long records stand still when an operator gets another number of instances.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watershed::{Job, Rescaled, prelude::*};
use watershed_bench::generate::{key, value};

use crate::rows::{Measured, Setup};
use crate::sums::running_sums;
use crate::tally::LastPerKey;

/// The numbers of instances that the operator gets, one after the other.
const INSTANCES: [usize; 3] = [5, 1, 3];
/// How often the job is asked how far it is.
const ASK_EVERY: std::time::Duration = millis(5);
/// Records that an instance of the sink takes before it counts them.
const COUNTED_RECORDS: u64 = 1024;

/// W2 with so many keys, all of which have a state before the first of [`INSTANCES`]. The checksum is the sum of the
/// last output of each key, which rescaling must not change.
pub(crate) fn rescale<const KEYS: u64>(setup: Setup) -> watershed::Result<Measured> {
    let turns = INSTANCES.len() as u64 + 1;
    let records = setup.records.max(KEYS * turns);
    let stretch = records / turns;
    let pairs =
        Generator::bounded(
            setup.records,
            |i| if i < KEYS { (i, value(i)) } else { (key::<KEYS>(i), value(i)) },
        );
    let (topology, sums) = running_sums(pairs.splits(setup.parallelism));
    let (last, seen) = (LastPerKey::new(KEYS), Arc::new(AtomicU64::new(0)));
    let (sink, taken) = (last.clone(), Arc::clone(&seen));
    sums.for_each_instance(move |_| {
        let (sink, taken, mut uncounted) = (sink.clone(), Arc::clone(&taken), 0);
        move |(key, sum)| {
            sink.set(key, sum);
            uncounted += 1;
            if uncounted == COUNTED_RECORDS {
                taken.fetch_add(std::mem::take(&mut uncounted), Ordering::Relaxed);
            }
        }
    });
    let job = topology.start(setup.config)?;
    let mut done = Vec::new();
    for (turn, instances) in (1..).zip(INSTANCES) {
        wait_for(&seen, stretch * turn, &job)?;
        done.push(job.rescale("sum", instances)?);
    }
    let outcome = job.wait()?;
    let mut measured = Measured::new(records, last.sum(), &outcome);
    for Rescaled { from, to, checkpoint_ms, stopped_ms, .. } in done {
        measured.figures.insert(format!("stopped_ms_{from}_{to}"), stopped_ms as f64);
        measured.figures.insert(format!("checkpoint_ms_{from}_{to}"), checkpoint_ms as f64);
    }
    Ok(measured)
}

/// Returns when so many records have come out, or the job has ended.
#[expect(clippy::disallowed_methods, reason = "a benchmark runs on the clock of the machine")]
fn wait_for(seen: &AtomicU64, records: u64, job: &Job) -> watershed::Result<()> {
    while seen.load(Ordering::Relaxed) < records {
        job.tree()?;
        std::thread::sleep(ASK_EVERY);
    }
    Ok(())
}
