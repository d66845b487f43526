//! Timers that set themselves again, at the end of the input.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Collector, End};

use crate::fixture::{now, pause};

/// Sets a timer for each record, which sets the next one, until somebody has had enough.
struct Clockwork {
    enough: Arc<AtomicBool>,
}

/// Of so many timers one is shown.
const SHOWN: i64 = 1_000;

impl Process for Clockwork {
    type Key = u64;
    type In = u64;
    type Out = i64;
    type State = i64;

    fn on_record(&self, _record: u64, _fired: &mut i64, context: &mut Context<'_, Self>) -> UserResult {
        context.timer_at(0);
        Ok(())
    }

    fn on_timer(&self, timer: Timer, fired: &mut i64, context: &mut Context<'_, Self>) -> UserResult {
        if timer.at != *fired {
            return Err(format!("timer {} comes as number {fired}", timer.at).into());
        }
        *fired += 1;
        if timer.at % SHOWN == 0 {
            context.emit(timer.at);
        }
        if !self.enough.load(Ordering::Relaxed) || timer.at % SHOWN != 0 {
            context.timer_at(timer.at + 1);
        }
        Ok(())
    }
}

#[test]
fn a_job_whose_timers_set_themselves_for_ever_has_checkpoints_and_can_be_stopped_and_goes_on() {
    let (folder, shown) = (TempDir::new().unwrap(), Collector::new());
    let enough = Arc::new(AtomicBool::new(false));
    let topology = Topology::new("clockwork");
    topology
        .source("numbers", Items::of([7_u64]))
        .parallelism(1)
        .event_time(|n| *n as i64, Lateness::none())
        .key_by(|n| *n)
        .actor("clockwork", Clockwork { enough: Arc::clone(&enough) })
        .parallelism(1)
        .sink_exactly_once("shown", shown.sink());
    let config = || Config::local().checkpoints(folder.path()).checkpoint_interval(millis(50));
    let job = topology.start(config()).unwrap();
    // Nothing is shown but with a checkpoint, and timers fire at the end of the input alone.
    let begin = now();
    while shown.snapshot().is_empty() {
        assert!(begin.elapsed() < Duration::from_mins(1), "no checkpoint completes");
        pause(Duration::from_millis(5));
    }
    job.stop().unwrap();
    assert_eq!(job.wait().unwrap().end, End::Stopped);

    enough.store(true, Ordering::Relaxed);
    assert_eq!(topology.run(config()).unwrap().end, End::Finished);
    let shown = shown.take();
    assert!(shown.len() > 1 && shown.iter().copied().eq((0..shown.len() as i64).map(|nth| nth * SHOWN)));
}
