//! STALL: for how long a checkpoint holds the records up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use watershed::prelude::*;
use watershed_bench::percentile::percentile;
use watershed_bench::stopwatch::Stopwatch;

use crate::marked::Marked;
use crate::rows::{Measured, Setup};
use crate::sums::{KEYS, pairs, running_sums};
use crate::tally::LastPerKey;

/// What comes before is left out: the table of keys is still growing.
const WARM_UP_NANOS: u64 = 2_000_000_000;
/// How often the job is asked for its newest checkpoint.
const ASK_EVERY: std::time::Duration = millis(10);
/// Records between two looks at the clock.
const RECORDS_PER_LOOK: u32 = 64;
/// Shorter gaps between two looks are no stalls.
const SHORTEST_GAP_NANOS: u64 = 10_000;

/// W2 at full speed with checkpoints. For each checkpoint the longest time in which some instance of the sink got no
/// record, and for comparison the same of as long a stretch behind it, if no checkpoint is in that.
pub(crate) fn stall(setup: Setup) -> watershed::Result<Measured> {
    let log = Arc::new(Log::new());
    let marks = Arc::clone(&log);
    let (topology, sums) = running_sums(Marked::new(pairs(&setup), move || marks.barrier()));
    let (last, probes) = (LastPerKey::new(KEYS), Arc::clone(&log));
    let sink = last.clone();
    sums.for_each_instance(move |_| {
        let (sink, mut probe) = (sink.clone(), Probe::new(&probes));
        move |(key, sum)| {
            probe.count();
            sink.set(key, sum);
        }
    });
    let job = topology.start(setup.config)?;
    log.follow(&job);
    let outcome = job.wait()?;
    let mut measured = Measured::new(setup.records, last.sum(), &outcome);
    let (mut stalls, mut quiet) = log.longest_gaps();
    measured.figures.insert("stalls".to_string(), stalls.len() as f64);
    let found = [("stall_ms", &mut stalls), ("quiet_ms", &mut quiet)];
    for (name, nanos) in found.into_iter().filter(|(_, nanos)| !nanos.is_empty()) {
        nanos.sort_unstable();
        for (point, percent) in [("p50", 50.0), ("p99", 99.0), ("pmax", 100.0)] {
            measured.figures.insert(format!("{name}_{point}"), percentile(nanos, percent) as f64 / 1e6);
        }
    }
    Ok(measured)
}

/// What happened when, in nanoseconds.
struct Log {
    stopwatch: Stopwatch,
    /// When a source sent a barrier.
    barriers: Mutex<Vec<u64>>,
    /// When a checkpoint was complete.
    completions: Mutex<Vec<u64>>,
    /// Begin and end of each gap.
    gaps: Mutex<Vec<(u64, u64)>>,
}

impl Log {
    fn new() -> Self {
        let stopwatch = Stopwatch::start();
        Self { stopwatch, barriers: Mutex::default(), completions: Mutex::default(), gaps: Mutex::default() }
    }

    /// A source sends a barrier now.
    fn barrier(&self) {
        locked(&self.barriers).push(self.stopwatch.nanos());
    }

    /// Notes when checkpoints are complete until the job has ended.
    #[expect(clippy::disallowed_methods, reason = "a benchmark runs on the clock of the machine")]
    fn follow(&self, job: &watershed::Job) {
        let mut newest = None;
        while let Ok(tree) = job.tree() {
            if tree.checkpoint != newest {
                newest = tree.checkpoint;
                locked(&self.completions).push(self.stopwatch.nanos());
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// The longest gap of each checkpoint, and those of stretches without.
    fn longest_gaps(&self) -> (Vec<u64>, Vec<u64>) {
        let (mut barriers, gaps) = (locked(&self.barriers).clone(), locked(&self.gaps));
        barriers.sort_unstable();
        let longest = |from: u64, to: u64| {
            let within = gaps.iter().filter(|(begin, end)| *end > from && *begin < to);
            within.map(|(begin, end)| end - begin).max().unwrap_or(0)
        };
        let (mut stalls, mut quiet) = (Vec::new(), Vec::new());
        for &complete in locked(&self.completions).iter() {
            // The first barrier since the checkpoint before is where this one begins.
            let later = barriers.partition_point(|&barrier| barrier <= complete);
            let Some(&begin) = barriers[..later].first() else { continue };
            barriers.drain(..later);
            if begin < WARM_UP_NANOS {
                continue;
            }
            stalls.push(longest(begin, complete));
            // One end of a stall may be here yet, as a completion is noted late rather than early.
            let (from, to) = (complete, complete + (complete - begin));
            if barriers.first().is_some_and(|&next| next > to) {
                quiet.push(longest(from, to));
            }
        }
        (stalls, quiet)
    }
}

fn locked<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks for gaps in what an instance of the sink gets.
struct Probe {
    log: Arc<Log>,
    records: u32,
    looked_nanos: u64,
    gaps: Vec<(u64, u64)>,
}

impl Probe {
    fn new(log: &Arc<Log>) -> Self {
        Self { looked_nanos: log.stopwatch.nanos(), log: Arc::clone(log), records: 0, gaps: Vec::new() }
    }

    #[inline]
    fn count(&mut self) {
        self.records += 1;
        if self.records == RECORDS_PER_LOOK {
            self.records = 0;
            self.look();
        }
    }

    fn look(&mut self) {
        let now = self.log.stopwatch.nanos();
        if now - self.looked_nanos >= SHORTEST_GAP_NANOS {
            self.gaps.push((self.looked_nanos, now));
        }
        self.looked_nanos = now;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        locked(&self.log.gaps).append(&mut self.gaps);
    }
}
