//! Timers that set themselves again, at the end of the input.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Collector, End, SavepointReader};

use crate::stuck::wait_until;

/// Sets a timer for each record, which sets the next one, until somebody has had enough.
struct Clockwork {
    enough: Arc<AtomicBool>,
    /// Asks to be told of the end, and says here that it has.
    asked: Option<Arc<AtomicBool>>,
}

/// What it shows at the end of the input.
const AT_THE_END: i64 = -1;

/// Of so many timers one is shown.
const SHOWN: i64 = 1_000;

impl Process for Clockwork {
    type Key = u64;
    type In = u64;
    type Out = i64;
    type State = i64;

    fn on_record(&self, _record: u64, _fired: &mut i64, context: &mut Context<'_, Self>) -> UserResult {
        context.timer_at(0);
        if let Some(asked) = &self.asked {
            context.timer_at_end();
            asked.store(true, Ordering::Relaxed);
        }
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

    fn on_end(&self, _fired: &mut i64, context: &mut Context<'_, Self>) -> UserResult {
        context.emit(AT_THE_END);
        Ok(())
    }
}

/// Nothing is shown but with a checkpoint, and timers fire at the end of the input alone.
fn wait_for_output(shown: &Collector<i64>) {
    wait_until("a checkpoint", || !shown.snapshot().is_empty());
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
        .actor("clockwork", Clockwork { enough: Arc::clone(&enough), asked: None })
        .parallelism(1)
        .sink_exactly_once("shown", shown.sink());
    let config = || Config::local().checkpoints(folder.path()).checkpoint_interval(millis(50));
    let job = topology.start(config()).unwrap();
    wait_for_output(&shown);
    job.stop().unwrap();
    assert_eq!(job.wait().unwrap().end, End::Stopped);

    enough.store(true, Ordering::Relaxed);
    assert_eq!(topology.run(config()).unwrap().end, End::Finished);
    let shown = shown.take();
    assert!(shown.len() > 1 && shown.iter().copied().eq((0..shown.len() as i64).map(|nth| nth * SHOWN)));
}

#[test]
fn a_drain_waits_until_all_timers_have_fired_though_checkpoints_complete_meanwhile() {
    for with_savepoint in [false, true] {
        let (folder, shown) = (TempDir::new().unwrap(), Collector::new());
        let (enough, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let topology = Topology::new("clockwork");
        topology
            .source("numbers", Generator::unbounded(|_| 7_u64))
            .rate(1_000.0)
            .parallelism(1)
            // Its watermark fires no timer.
            .event_time(|_| -1, Lateness::none())
            .key_by(|n| *n)
            .actor("clockwork", Clockwork { enough: Arc::clone(&enough), asked: Some(Arc::clone(&asked)) })
            .parallelism(1)
            .sink_exactly_once("shown", shown.sink());
        let config = Config::local().checkpoints(folder.path().join("checkpoints"));
        let job = topology.start(config.checkpoint_interval(millis(50))).unwrap();
        wait_until("a record", || asked.load(Ordering::Relaxed));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_for_output(&shown);
                // There is a checkpoint, and there are more timers.
                enough.store(true, Ordering::Relaxed);
            });
            if with_savepoint {
                let uri = folder.path().join("savepoint").display().to_string();
                job.stop_with_savepoint(&uri, Drain::Yes).unwrap();
            } else {
                job.drain().unwrap();
            }
            assert_eq!(job.wait().unwrap().end, End::Stopped);
        });
        let shown = shown.take();
        assert_eq!(shown.last(), Some(&AT_THE_END), "with_savepoint={with_savepoint}");
        assert!(shown.len() > 2, "{shown:?}");
        if with_savepoint {
            let uri = folder.path().join("savepoint").display().to_string();
            let savepoint = SavepointReader::open(&uri).unwrap();
            assert_eq!(savepoint.timers::<u64>("clockwork").unwrap().count(), 0, "all have fired before it");
        }
    }
}
