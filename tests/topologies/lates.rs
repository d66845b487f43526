//! Records that come too late: which ones follows from the input alone, as a watermark goes behind each record.

use serde::{Deserialize, Serialize};
use watershed::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reading {
    nth: u64,
    at: i64,
}

/// Readings that come out of order by up to 90 ms.
fn reading(nth: u64) -> Reading {
    Reading { nth, at: nth as i64 * 10 - (nth * nth % 10) as i64 * 10 }
}

/// The side output for what is late.
fn late() -> SideOutput<u64> {
    SideOutput::new("late")
}

/// Numbers the readings in time of each key.
struct InTime;

impl Process for InTime {
    type Key = u64;
    type In = Reading;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, reading: Reading, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        if reading.at <= context.watermark() {
            context.emit_to(&late(), reading.nth);
        } else {
            *count += 1;
            context.emit((reading.nth, *count));
        }
        Ok(())
    }
}

pub(crate) fn with(lateness: Lateness) -> Topology {
    let topology = Topology::new("lates");
    let in_time = topology
        .source("readings", Generator::bounded(120, reading))
        .parallelism(1)
        .event_time(|reading| reading.at, lateness)
        .flat_map(|reading| vec![reading; 3])
        .key_by(|reading| reading.nth % 7)
        .actor("in-time", InTime);
    in_time.side(&late()).sink_exactly_once("late", Files::jsonl("/out/late"));
    in_time.sink_exactly_once("counts", Files::jsonl("/out/counts"));
    topology
}

/// The readings that are late, each as often as it comes.
pub(crate) fn expected_late(lateness_ms: i64) -> Vec<u64> {
    let mut latest = i64::MIN / 2;
    let late = (0..120).filter(|nth| {
        let at = reading(*nth).at;
        let is_late = at < latest - lateness_ms;
        latest = latest.max(at);
        is_late
    });
    late.flat_map(|nth| [nth; 3]).collect()
}

pub(super) fn topology() -> Topology {
    with(Lateness::up_to(millis(30)).per_record())
}
